"""Writing TREC runs: all commands here that rank write them with this."""

import contextlib
import gzip
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import BinaryIO

from jpq_pyserini.storage import new_file

#: How scores are written. Nine digits tell all single-precision scores apart, those of fusion and re-ranking say;
#: six decimals are what Pyserini writes, for runs that must equal its own.
EXACT, PYSERINI = ".9g", ".6f"


def write_run(
    path: str | os.PathLike, rankings: Iterable[tuple[str, Mapping[str, float]]], tag: str, scores: str = EXACT
) -> int:
    """Write (qid, {docid: score}) pairs, documents best first, as a TREC run, gzipped if named .gz.

    Args:
        path: the file.
        rankings: what was found, a pair a query.
        tag: the last column.
        scores: :data:`EXACT` or :data:`PYSERINI`.

    Returns:
        the number of lines.
    """
    lines = 0
    with new_run_file(path) as file:
        for qid, hits in rankings:
            file.writelines(line.encode() for line in run_lines(qid, hits.items(), tag, scores))
            lines += len(hits)
    return lines


def run_lines(qid: str, hits: Iterable[tuple[str, float]], tag: str, scores: str = EXACT) -> Iterator[str]:
    """Yield TREC lines of (docid, score) pairs, best first."""
    for rank, (docid, score) in enumerate(hits, 1):
        yield f"{qid} Q0 {docid} {rank} {score:{scores}} {tag}\n"


@contextlib.contextmanager
def new_run_file(path: str | os.PathLike) -> Iterator[BinaryIO]:
    """Yield a binary file that takes the place of ``path`` when the block ends well, gzipped if named .gz."""
    with new_file(path, "wb") as raw:
        if not os.fspath(path).endswith(".gz"):
            yield raw
            return
        # Neither name nor time goes into it: the same lines, the same bytes.
        with gzip.GzipFile("", "wb", 6, raw, mtime=0) as packed:
            yield packed
