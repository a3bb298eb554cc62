"""Milliseconds a query, one query at a time on one thread: ``python -m jpq_pyserini.quickstart.timing --help``."""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from jpq_pyserini.cli import run_main
from jpq_pyserini.errors import JPQError
from jpq_pyserini.names import INDEX
from jpq_pyserini.quickstart.commands import HITS
from jpq_pyserini.storage import new_file

QUERIES, WARM_UP = 400, 20


def main() -> None:
    """Time each index and the query encoder on the same queries; write the medians as JSON."""
    parser = argparse.ArgumentParser(prog="python -m jpq_pyserini.quickstart.timing", description=__doc__)
    parser.add_argument("--topics", required=True, metavar="T", help="queries, as qid TAB text")
    parser.add_argument("--encoder", required=True, metavar="DIR", help="query encoder folder")
    parser.add_argument("--bm25", required=True, metavar="DIR", help="Lucene index")
    parser.add_argument(
        "--faiss", action="append", default=[], metavar="NAME=DIR", help="Faiss index folder; repeatable"
    )
    parser.add_argument("--output", required=True, metavar="F", help="JSON file to write")
    args = parser.parse_args()
    with open(args.topics, encoding="utf-8") as file:
        texts = [line.rstrip("\n").split("\t", 1)[1] for line in file]
    texts = texts[: QUERIES + WARM_UP]
    medians = {"BM25": _bm25(args.bm25, texts)}
    medians["encoding"], vectors = _encoding(args.encoder, texts)
    for entry in args.faiss:
        name, _, folder = entry.partition("=")
        medians[name] = _faiss(folder, vectors)
    record = {"milliseconds": medians, "queries": max(0, len(texts) - WARM_UP) or len(texts), "hits": HITS}
    with new_file(args.output) as file:
        json.dump(record, file, indent=1)
    json.dump(record, sys.stdout, indent=1)


def median_milliseconds(function: Callable, arguments: Iterable) -> float:
    """Return the median time of ``function(argument)``; the first calls do not count."""
    times = []
    for argument in arguments:
        started = time.perf_counter()
        function(argument)
        times.append(time.perf_counter() - started)
    return 1000 * statistics.median(times[WARM_UP:] or times)


def _bm25(folder: str, texts: list[str]) -> float:
    from pyserini.search.lucene import LuceneSearcher

    searcher = LuceneSearcher(folder)
    searcher.set_bm25()
    return median_milliseconds(lambda text: searcher.search(text, HITS), texts)


def _encoding(folder: str, texts: list[str]):
    """Return the median time and the query vectors, a list of (1, D) float32."""
    import torch

    from jpq_pyserini.encoders.text_encoder import embed_queries, load_text_encoder

    torch.set_num_threads(1)
    model = load_text_encoder(folder)
    vectors = []
    return median_milliseconds(lambda text: vectors.append(embed_queries(model, [text])), texts), vectors


def _faiss(folder: str, vectors: list) -> float:
    import faiss

    faiss.omp_set_num_threads(1)
    try:
        index = faiss.read_index(str(Path(folder) / INDEX))
    except RuntimeError as error:
        raise JPQError(f"cannot read {folder}/{INDEX}: {str(error).splitlines()[0]}") from None
    return median_milliseconds(lambda vector: index.search(vector, HITS), vectors)


if __name__ == "__main__":
    run_main(main)
