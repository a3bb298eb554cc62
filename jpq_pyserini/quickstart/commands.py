"""The commands of a quickstart: Pyserini's own and ours, as lists of words."""

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

#: Hits a query in every run: R@100 needs no more.
HITS = 100
#: Queries that Pyserini encodes and searches together, and the threads it does that with.
BATCH, THREADS = 64, os.cpu_count() or 1


def shown(command: Sequence[str | os.PathLike]) -> str:
    """Return a command as one line to copy; the interpreter is called ``python``."""
    return shlex.join(["python", *map(str, command)])


def index_bm25(corpus: Path, output: Path, threads: int) -> list:
    return [
        *(
            "-m",
            "pyserini.index.lucene",
            "--collection",
            "JsonCollection",
            "--generator",
            "DefaultLuceneDocumentGenerator",
        ),
        *("--input", corpus, "--index", output, "--threads", threads, "--optimize"),
    ]


def search_bm25(index: Path, topics: Path, output: Path) -> list:
    return ["-m", "pyserini.search.lucene", "--bm25", "--index", index, *_run(topics, output)]


def search_dense(index: Path, encoder: Sequence[str | os.PathLike], topics: Path, output: Path) -> list:
    """``encoder`` is what follows ``--encoder``: a name or path, and the options that it needs."""
    return ["-m", "pyserini.search.faiss", "--index", index, "--encoder", *encoder, *_run(topics, output)]


def search_hybrid(index: Path, bm25: Path, alpha: float, topics: Path, output: Path) -> list:
    return [
        *("-m", "pyserini.search.hybrid", "dense", "--index", index, "--encoder", "jpq"),
        *("sparse", "--index", bm25, "fusion", "--alpha", f"{alpha:g}", "--hits", HITS, "run", *_run(topics, output)),
    ]


def train(flat: Path, encoder: Path, collection, output: Path, options: Sequence) -> list:
    return [
        *("-m", "jpq_pyserini.train", "--embeddings", flat, "--encoder", encoder),
        *("--topics", collection.topics("train"), "--qrels", collection.qrels("train")),
        *("--dev-topics", collection.topics("dev"), "--dev-qrels", collection.qrels("dev")),
        *(*options, "--output", output),
    ]


def _run(topics: Path, output: Path) -> list:
    return ["--topics", topics, "--output", output, "--hits", HITS, "--batch-size", BATCH, "--threads", THREADS]
