"""Corpora expanded or weighted by doc2query, docT5query, DeepCT and HDCT, as collections for Pyserini's Lucene.

``python -m jpq_pyserini.eval.expansion --help``
"""

import argparse
import itertools
import json
import os
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from jpq_pyserini.cli import (
    add_command,
    add_corpus,
    add_dataclass_arguments,
    add_device,
    add_new_directory,
    add_output,
    add_resume,
    bounded,
    dataclass_from_arguments,
    new_parser,
    positive_int,
    run_main,
    say,
)
from jpq_pyserini.data.corpus import Corpus
from jpq_pyserini.errors import JPQError
from jpq_pyserini.eval.expansion.predicted_queries import with_queries
from jpq_pyserini.eval.expansion.prediction import Sampling, predict_queries
from jpq_pyserini.eval.expansion.term_weights import AGGREGATES, repeated, weighted_documents, weighted_passages
from jpq_pyserini.storage import new_directory

_DOCUMENTS_A_FILE = 1_000_000  # files are what the indexer's threads share
_EXAMPLE = """\
examples:
  jpq expansion predict --model castorini/doc2query-t5-base-msmarco --corpus corpus.jsonl --output predicted.jsonl
  jpq expansion queries --corpus corpus.jsonl --predictions predicted.jsonl --output expanded
  jpq expansion queries --corpus collection.tsv --output d2q \\
      --predictions predicted_queries_topk_sample0[0-3]?.txt???-1004000
  jpq expansion deepct --corpus collection.tsv --weights test_results.tsv --output deepct
  jpq expansion hdct --passages passages.jsonl --weights test_results.tsv --output hdct

The first makes what the second takes, the others take what was published. All but the first print the commands that
index and search what they wrote. Not needed where the result itself is published: Pyserini has the prebuilt indexes
msmarco-v1-passage.d2q-t5, msmarco-v1-doc.d2q-t5 and msmarco-v1-doc-segmented.d2q-t5, and DeepCT's
sample_100_jsonl.zip is a collection to index as it is.
"""
#: k1, b and where they come from.
_BM25 = {
    "queries": (0.82, 0.68, "tuned on MS MARCO passages (castorini/anserini); 4.68 and 0.87 for MS MARCO documents"),
    "deepct": (10, 0.9, "recommended by DeepCT's authors for MS MARCO passages and --scale 100"),
    "deepct --sqrt": (18, 0.7, "recommended by DeepCT's authors for MS MARCO passages and --scale 100"),
    "hdct": (None, None, "none published for HDCT: add --k1 and --b, tuned on queries that you do not test on"),
}


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line, write the collection, print how to index and search it."""
    args = _parser().parse_args(argv)
    if args.command == "predict":
        _predict(args)
        return
    if not getattr(args, "scale", 1) > 0:
        raise JPQError(f"--scale {args.scale}: must be more than 0")
    counts: Counter[str] = Counter()
    write_collection(args.output, _records(args, counts))
    bare = "without a prediction" if args.command == "queries" else "without a term left out"
    say(f"wrote {counts['written']:,} documents to {args.output} ({counts['bare']:,} {bare})\n{_commands(args)}")


def write_collection(output: str | os.PathLike, records: Iterable[dict], part_size: int = _DOCUMENTS_A_FILE) -> None:
    """Write ``records`` as a JsonCollection: the new folder ``output`` of docs00.jsonl, docs01.jsonl, …

    Raises:
        JPQError: ``output`` exists, or there are no records.
    """
    records = iter(records)
    with new_directory(output) as folder:
        for number in itertools.count():
            part = itertools.islice(records, part_size)
            first = next(part, None)
            if first is None:
                break
            with open(folder / f"docs{number:02d}.jsonl", "w", encoding="utf-8") as file:
                for record in itertools.chain([first], part):
                    file.write(json.dumps(record, ensure_ascii=False) + "\n")
        if number == 0:
            raise JPQError(f"nothing to write to {output}, no document has a term: are these the right files?")


def _predict(args) -> None:
    sampling = dataclass_from_arguments(Sampling, args)
    count = predict_queries(args.corpus, args.model, args.output, sampling, device=args.device, resume=args.resume)
    corpus, predictions = shlex.quote(args.corpus), shlex.quote(args.output)
    say(
        f"wrote {sampling.samples:,} queries for each of {count:,} passages to {args.output}; now expand them with\n"
        f"  jpq expansion queries --corpus {corpus} --predictions {predictions} --output DIR"
    )


def _records(args, counts: Counter) -> Iterator[dict]:
    """Yield the documents to index, and count them as "written", those that no prediction is for as "bare"."""
    from tqdm import tqdm

    for record, found in tqdm(_predicted(args), args.command, unit="doc", delay=2, leave=False, disable=None):
        counts["bare"] += not found
        if found or args.command == "queries":
            counts["written"] += 1
            yield record


def _predicted(args) -> Iterator[tuple[dict, bool]]:
    """Yield every document, and whether the predictions give it anything."""
    if args.command == "queries":
        for docid, text, queries in with_queries(Corpus(args.corpus), args.predictions, stride=args.stride):
            added = " ".join(filter(None, queries[: args.num_queries]))
            parts = [text] * args.original_copies + [added] * bool(added)
            yield {"id": docid, "contents": "\n".join(parts)}, bool(added)
    elif args.command == "deepct":
        docids = (docid for docid, _ in Corpus(args.corpus))
        for docid, counts in weighted_passages(docids, args.weights, args.scale, square_root=args.sqrt):
            yield {"id": docid, "contents": repeated(counts)}, bool(counts)
    else:
        for document, counts in weighted_documents(args.passages, args.weights, args.scale, args.aggregate):
            yield document | {"contents": repeated(counts)}, bool(counts)


def _commands(args) -> str:
    k1, b, source = _BM25[args.command + " --sqrt" * getattr(args, "sqrt", False)]
    output = os.path.normpath(args.output)
    folder, index = shlex.quote(output), shlex.quote(f"{output}.lucene")
    bm25 = "" if k1 is None else f" --k1 {k1} --b {b}"
    return (
        f"index and search them with\n"
        f"  python -m pyserini.index.lucene --collection JsonCollection --input {folder} --index {index} "
        f"--generator DefaultLuceneDocumentGenerator --threads 4\n"
        f"  python -m pyserini.search.lucene --index {index} --topics T --hits 1000 --bm25{bm25} --output run.txt\n"
        f"k1 and b: {source}"
    )


def _parser() -> argparse.ArgumentParser:
    parser = new_parser(
        "jpq_pyserini.eval.expansion",
        "Turn a corpus and published expansions or term weights into a collection for Pyserini's Lucene indexer.",
        _EXAMPLE,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    predict = add_command(commands, "predict", "predict queries for each passage with a model, as docT5query does")
    queries = add_command(commands, "queries", "doc2query, docT5query: append predicted queries to each document")
    deepct = add_command(commands, "deepct", "DeepCT: replace each passage by its predicted term weights")
    hdct = add_command(commands, "hdct", "HDCT: combine the term weights of passages into those of documents")
    for each in (predict, queries, deepct):
        add_corpus(each)
    predict.add_argument(
        "--model",
        required=True,
        metavar="NAME",
        help="sequence-to-sequence model, name or folder, say castorini/doc2query-t5-base-msmarco",
    )
    add_output(predict, "predictions to write, JSON lines")
    add_dataclass_arguments(predict, Sampling)
    add_device(predict)
    add_resume(predict)
    add = queries.add_argument
    add(
        "--predictions",
        required=True,
        nargs="+",
        metavar="FILE",
        help="predicted queries: text files with a line per document, in the order of the corpus (several samples side "
        'by side, chunks .txt000, .txt001 in sequence), or JSON lines {"id": …, "predicted_queries": […]}; .gz too',
    )
    add("--num-queries", type=positive_int, metavar="N", help="predicted queries used per document (default: all)")
    add("--stride", type=positive_int, default=1, metavar="N", help="lines per document in each text file")
    add("--original-copies", type=positive_int, default=1, metavar="N", help="copies of the document's own text")
    hdct.add_argument(
        "--passages", required=True, metavar="FILE", help='passages: JSON lines {"id": "D12_0", "title", "url"}'
    )
    for each in (deepct, hdct):
        add = each.add_argument
        add(
            "--weights",
            required=True,
            nargs="+",
            metavar="FILE",
            help="term weights, lines of 'piece weight' tab-separated",
        )
        add(
            "--scale",
            type=bounded(float, 0, 1e6),
            default=100,
            metavar="X",
            help="term frequency that a weight of 1 becomes",
        )
    deepct.add_argument("--sqrt", action="store_true", help="take the square root of weights first")
    hdct.add_argument(
        "--aggregate", choices=list(AGGREGATES), default="avg", help="how passage weights become document weights"
    )
    for each in (queries, deepct, hdct):
        add_new_directory(each, "collection folder")
    return parser


if __name__ == "__main__":
    run_main(main)
