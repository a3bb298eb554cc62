"""How many inverted lists a query must visit, and how that grows: ``python -m jpq_pyserini.bench.nprobe --help``."""

import argparse
import json
from collections.abc import Sequence

import numpy as np

from jpq_pyserini import JPQIndex
from jpq_pyserini.cli import command_line, progress, run_main
from jpq_pyserini.data.topics import read_qrels, read_topics
from jpq_pyserini.encoders.text_encoder import embed_queries, load_text_encoder
from jpq_pyserini.errors import JPQError
from jpq_pyserini.index import layouts, library_versions
from jpq_pyserini.index.exact import ExactIndex
from jpq_pyserini.storage import new_file
from jpq_pyserini.tables import as_markdown as markdown_table
from jpq_pyserini.timing import measure_in_turns, summary

_HITS = 100
_TIMED = 100


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line, measure each size, print a table."""
    args = _parser().parse_args(argv)
    index = JPQIndex.open(args.index)
    qrels = read_qrels(args.qrels)
    topics = {qid: text for qid, text in read_topics(args.topics).items() if qid in qrels}
    encoder = args.encoder or str(index.query_encoder_path)
    vectors = embed_queries(load_text_encoder(encoder), list(topics.values()))
    rows = {docid: row for row, docid in enumerate(index.docids)}
    relevant = [{rows[docid] for docid, grade in qrels[qid].items() if grade > 0 and docid in rows} for qid in topics]
    results = []
    for size in args.sizes or [len(index)]:
        if not 1 <= size <= len(index):
            raise JPQError(f"--sizes {size}: the index has {len(index):,} documents")
        results.append(measure(index, vectors, relevant, size, args.target, args.seed))
        progress(str(results[-1]))
    if args.output:
        command = command_line("jpq_pyserini.bench.nprobe", argv)
        record = {"command": command, "target": args.target, "versions": library_versions(), "sizes": results}
        with new_file(args.output) as file:
            file.write(json.dumps(record, indent=2) + "\n")
    print(as_markdown(results))


def measure(
    index: JPQIndex, vectors: np.ndarray, relevant: Sequence[set[int]], size: int, target: float, seed: int
) -> dict:
    """Find the smallest nprobe with R@100 of at least ``target`` times that of a search through all documents.

    Args:
        index: the collection; a random part of it, with its own lists, is searched.
        vectors: (Q, D) float32 queries.
        relevant: rows of the relevant documents of each query; a query counts if all are in the part.
        size: documents in the part.
        target: 0.99, say.
        seed: of the choice and of the lists.

    Returns:
        documents, queries, nlist, nprobe, share of the documents visited, R@100 of both, and the milliseconds a query
        of both, one thread, one by one. nprobe is that of a search through all lists when nothing less will do.
    """
    part = np.sort(np.random.default_rng(seed).permutation(len(index))[:size])
    place = {int(row): at for at, row in enumerate(part)}
    chosen = [q for q, rows in enumerate(relevant) if rows and all(row in place for row in rows)]
    if not chosen:
        raise JPQError(f"--sizes {size}: no query has all its relevant documents in so small a part")
    queries, wanted = vectors[chosen], [{place[row] for row in relevant[q]} for q in chosen]
    codes, kind = index.codes[part], "fastscan" if index.codec.nbits == 4 else "pq"
    everything = ExactIndex(layouts.build(index.codec, codes, kind))
    coarse = layouts.train_coarse(index.codec, codes, seed=seed)
    inverted = layouts.build(index.codec, codes, "ivf-fastscan" if kind == "fastscan" else "ivf", coarse)
    lists = ExactIndex(inverted)
    best = _recall(everything, queries, wanted)
    low, high = 1, len(coarse.centroids)
    while low < high:  # recall grows with nprobe
        middle = (low + high) // 2
        layouts.set_nprobe(inverted, middle)
        low, high = (low, middle) if _recall(lists, queries, wanted) >= target * best else (middle + 1, high)
    layouts.set_nprobe(inverted, low)
    milliseconds = _milliseconds(lists, everything, queries)
    return {
        "documents": size,
        "queries": len(chosen),
        "nlist": len(coarse.centroids),
        "nprobe": low,
        "visited": _visited(inverted, queries, low),
        "R@100": _recall(lists, queries, wanted),
        "R@100 of all": best,
        "ms": milliseconds[0],
        "ms of all": milliseconds[1],
    }


def as_markdown(results: Sequence[dict]) -> str:
    """Return the results as a table."""
    rows = [("documents", "queries", "lists", "nprobe", "visited", "R@100", "of all", "ms", "of all")]
    for each in results:
        rows.append(
            (
                f"{each['documents']:,}",
                f"{each['queries']:,}",
                f"{each['nlist']}",
                f"{each['nprobe']}",
                f"{each['visited']:.1%}",
                f"{each['R@100']:.4f}",
                f"{each['R@100 of all']:.4f}",
                f"{each['ms']:.3f}",
                f"{each['ms of all']:.3f}",
            )
        )
    return markdown_table(rows, "r")


def _recall(index: ExactIndex, queries: np.ndarray, wanted: Sequence[set[int]]) -> float:
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


def _milliseconds(first: ExactIndex, second: ExactIndex, queries: np.ndarray) -> tuple[float, float]:
    search = {0: lambda query: first.search(query, _HITS), 1: lambda query: second.search(query, _HITS)}
    asked = [queries[number % len(queries)][None] for number in range(_TIMED + 5)]
    seconds = measure_in_turns(search, asked, warm_up=5, threads=1)
    return summary(seconds[0]).median_ms, summary(seconds[1]).median_ms


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m jpq_pyserini.bench.nprobe",
        description="Say how many inverted lists a query must visit to keep R@100, for parts of a collection.",
    )
    add = parser.add_argument
    add("--index", required=True, metavar="DIR", help="JPQ index directory, any layout")
    add("--topics", required=True, metavar="T", help="queries, as Pyserini takes them")
    add("--qrels", required=True, metavar="Q", help="judgements")
    add("--encoder", metavar="E", help="query encoder (default: the index's own)")
    add("--sizes", type=int, nargs="+", metavar="N", help="documents drawn at random (default: all)")
    add("--target", type=float, default=0.99, metavar="X", help="share of R@100 to keep (default: 0.99)")
    add("--seed", type=int, default=42, metavar="N", help="seed of the draw and of the lists (default: 42)")
    add("--output", metavar="FILE", help="write everything measured as JSON")
    return parser


if __name__ == "__main__":
    run_main(main)
