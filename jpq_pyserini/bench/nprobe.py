"""How many inverted lists a query must visit, and how that grows: ``python -m jpq_pyserini.bench.nprobe --help``."""

import argparse
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from jpq_pyserini import cli, tables
from jpq_pyserini.bench.records import check_record, write_record
from jpq_pyserini.data.topics import read_qrels, read_topics
from jpq_pyserini.encoders.text_encoder import embed_topics, load_text_encoder
from jpq_pyserini.errors import JPQError
from jpq_pyserini.lazy import Later
from jpq_pyserini.timing import measure_in_turns, summary

if TYPE_CHECKING:
    from jpq_pyserini.index import JPQIndex
    from jpq_pyserini.index.exact import ExactIndex

collection, layouts = Later("jpq_pyserini.index.collection"), Later("jpq_pyserini.index.layouts")
exact = Later("jpq_pyserini.index.exact")

_MODULE = "jpq_pyserini.bench.nprobe"
_HITS = 100
_TIMED = 100


@dataclass(frozen=True)
class Sweep:
    """The smallest nprobe that keeps R@100, for one size of the collection.

    Attributes:
        documents, queries, nlist: how many there are; queries whose relevant documents are all in the part.
        nprobe: lists that a query visits.
        visited: share of the documents that lie in them, on average.
        recall, recall_of_all: R@100 with ``nprobe`` lists, and of a search through all documents.
        ms, ms_of_all: median milliseconds of both for one query, on one thread.
    """

    documents: int
    queries: int
    nlist: int
    nprobe: int
    visited: float
    recall: float
    recall_of_all: float
    ms: float
    ms_of_all: float

    def record(self) -> dict[str, float]:
        """Return it as the JSON file has it."""
        names = {"recall": "R@100", "recall_of_all": "R@100 of all", "ms_of_all": "ms of all"}
        return {names.get(name, name): value for name, value in vars(self).items()}


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line, measure each size, print a table."""
    args = _parser().parse_args(argv)
    check_record(args)
    index = collection.JPQIndex.open(args.index)
    for size in args.sizes or ():
        if size > len(index):
            raise JPQError(f"--sizes {size}: the index has {len(index):,} documents")
    qrels = read_qrels(args.qrels)
    topics = {qid: text for qid, text in read_topics(args.topics).items() if qid in qrels}
    encoder = args.encoder or str(index.query_encoder_path)
    vectors = embed_topics(load_text_encoder(encoder), list(topics.values()))
    rows = {docid: row for row, docid in enumerate(index.docids)}
    relevant = [{rows[docid] for docid, grade in qrels[qid].items() if grade > 0 and docid in rows} for qid in topics]
    results = []
    for size in args.sizes or [len(index)]:
        results.append(sweep(index, vectors, relevant, size, args.target, args.seed))
        cli.progress(str(results[-1]))
    if args.output:
        write_record(args.output, _MODULE, argv, target=args.target, sizes=[each.record() for each in results])
    cli.say(as_markdown(results))


def sweep(
    index: "JPQIndex", vectors: np.ndarray, relevant: Sequence[set[int]], size: int, target: float, seed: int
) -> Sweep:
    """Find the smallest nprobe with R@100 of at least ``target`` times that of a search through all documents.

    Args:
        index: the collection; a random part of it, with its own lists, is searched.
        vectors: (Q, D) float32 queries.
        relevant: rows of the relevant documents of each query; a query counts if all are in the part.
        size: documents in the part.
        target: 0.99, cli.say.
        seed: of the choice and of the lists.

    Returns:
        What was found; nprobe is that of a search through all lists when nothing less will do.

    Raises:
        JPQError: no query counts.
    """
    part = np.sort(np.random.default_rng(seed).permutation(len(index))[:size])
    place = {int(row): at for at, row in enumerate(part)}
    chosen = [q for q, rows in enumerate(relevant) if rows and all(row in place for row in rows)]
    if not chosen:
        raise JPQError(f"--sizes {size}: no query has all its relevant documents in so small a part")
    queries, wanted = vectors[chosen], [{place[row] for row in relevant[q]} for q in chosen]
    codes, kind = index.codes[part], "fastscan" if index.codec.nbits == 4 else "pq"
    everything = exact.ExactIndex(layouts.build(index.codec, codes, kind))
    coarse = layouts.train_coarse(index.codec, codes, seed=seed)
    inverted = layouts.build(index.codec, codes, "ivf-fastscan" if kind == "fastscan" else "ivf", coarse)
    lists = exact.ExactIndex(inverted)
    best = _recall(everything, queries, wanted)
    low, high = 1, len(coarse.centroids)
    while low < high:  # recall grows with nprobe
        middle = (low + high) // 2
        layouts.set_nprobe(inverted, middle)
        low, high = (low, middle) if _recall(lists, queries, wanted) >= target * best else (middle + 1, high)
    layouts.set_nprobe(inverted, low)
    ms, ms_of_all = _milliseconds([lists, everything], queries)
    return Sweep(
        documents=size,
        queries=len(chosen),
        nlist=len(coarse.centroids),
        nprobe=low,
        visited=_visited(inverted, queries, low),
        recall=_recall(lists, queries, wanted),
        recall_of_all=best,
        ms=ms,
        ms_of_all=ms_of_all,
    )


def as_markdown(results: Sequence[Sweep]) -> str:
    """Return the results as a table."""
    rows: list[tuple[str, ...]] = [
        ("documents", "queries", "lists", "nprobe", "visited", "R@100", "of all", "ms", "of all")
    ]
    for each in results:
        counts = [f"{count:,}" for count in (each.documents, each.queries, each.nlist, each.nprobe)]
        recalls = [f"{recall:.4f}" for recall in (each.recall, each.recall_of_all)]
        rows.append((*counts, f"{each.visited:.1%}", *recalls, f"{each.ms:.3f}", f"{each.ms_of_all:.3f}"))
    return tables.as_markdown(rows, "r")


def _recall(index: "ExactIndex", queries: np.ndarray, wanted: Sequence[set[int]]) -> float:
    _, rows = index.search(queries, _HITS)
    found = [
        len(relevant.intersection(row)) / len(relevant) for relevant, row in zip(wanted, rows.tolist(), strict=True)
    ]
    return float(np.mean(found))


def _visited(inverted, queries: np.ndarray, nprobe: int) -> float:
    """Return the mean share of the documents in the lists that queries visit."""
    inner = layouts.without_rotation(inverted)
    rotated = queries if inner is inverted else inverted.chain.at(0).apply(queries)
    _, lists = inner.quantizer.search(rotated, nprobe)
    sizes = np.array([inner.invlists.list_size(number) for number in range(inner.nlist)])
    return float(sizes[lists].sum(1).mean() / inner.ntotal)


def _milliseconds(indexes: Sequence["ExactIndex"], queries: np.ndarray) -> list[float]:
    """Return the median time of one query, one thread, of each index."""
    search: dict[Hashable, Callable] = {
        number: (lambda query, index=index: index.search(query, _HITS)) for number, index in enumerate(indexes)
    }
    asked = [queries[number % len(queries)][None] for number in range(_TIMED + 5)]
    taken = measure_in_turns(search, asked, warm_up=5, threads=1)
    return [summary(taken[number]).median_ms for number in search]


def _parser() -> argparse.ArgumentParser:
    parser = cli.new_parser(
        _MODULE,
        "Find the smallest nprobe (inverted lists that a query visits) that keeps R@100 close to that of exhaustive "
        "search, for random parts of a collection.",
    )
    cli.add_index(parser, "JPQ index directory, any layout")
    cli.add_topics(parser)
    cli.add_qrels(parser)
    add = parser.add_argument
    add("--encoder", metavar="NAME", help="query encoder (default: the index's own)")
    add("--sizes", type=cli.positive_int, nargs="+", metavar="N", help="documents drawn at random (default: all)")
    add("--target", type=cli.fraction, default=0.99, metavar="X", help="fraction of the exhaustive R@100 to keep")
    cli.add_seed(parser, "random seed of the draw and of the coarse centroids")
    cli.add_output(parser, "JSON file for all figures", required=False)
    return parser


if __name__ == "__main__":
    cli.run_main(main)
