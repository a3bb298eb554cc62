"""Run files, one reader and one writer: TREC (``qid Q0 docid rank score tag``), MS MARCO (``qid docid rank``), .gz too.

:func:`rows` streams a run line by line, :func:`read_run` holds it in memory, :func:`write_run` writes one.
"""

import contextlib
import gzip
import math
import os
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

import numpy as np

from jpq_pyserini.data.lines import columns_of, quoted, text_lines
from jpq_pyserini.errors import JPQError
from jpq_pyserini.storage import new_file

TREC, MSMARCO = 6, 3  # columns
_FORMS = "a run has lines 'qid Q0 docid rank score tag' (TREC) or 'qid docid rank' (MS MARCO)"
_SCORE = ".9g"  # how scores are written
_LONGEST_RANK = 9  # digits, so that it fits int32
_GREATEST_RANK = np.iinfo(np.int32).max


class Row(NamedTuple):
    """One line of a run.

    Attributes:
        line: its number, from 1.
        qid, docid: ids as written.
        rank: the rank column; None where a TREC run has no whole number of at most nine digits there.
        score: the score column; 1 / rank in an MS MARCO run, as Pyserini reads it.
        text: the score as written.
    """

    line: int
    qid: str
    docid: str
    rank: int | None
    score: float
    text: str


class BadLineError(ValueError):
    """A line that is no line of a run; ``kind`` is columns, scores or ranks."""

    def __init__(self, kind: str, message: str):
        super().__init__(message)
        self.kind = kind


def row_of(cells: Sequence[str], line: int) -> Row:
    """Return the row that the columns of a line make, by their number TREC's or MS MARCO's.

    Raises:
        BadLineError: another number of columns, a score that is no finite number, an MS MARCO rank that is no positive
            integer.
    """
    if len(cells) == TREC:
        qid, _, docid, rank, text, _ = cells
        try:
            score = float(text)
        except ValueError:
            score = None
        if score is None or "_" in text or not text.isascii():  # Python alone takes 1_0
            raise BadLineError("scores", f"score {text!r} is no number: {_FORMS}")
        if not math.isfinite(score):
            raise BadLineError("scores", f"score {text!r} of document {docid!r} is not finite: make the run again")
        whole = len(rank) <= _LONGEST_RANK and rank.isdecimal() and rank.isascii()
        return Row(line, qid, docid, int(rank) if whole else None, score, text)
    if len(cells) == MSMARCO:
        qid, docid, text = cells
        if not (text.isdecimal() and len(text) <= 2 * _LONGEST_RANK and int(text)):
            raise BadLineError("ranks", f"rank {quoted(text)} is no positive integer, or too large: {_FORMS}")
        return Row(line, qid, docid, int(text), 1 / int(text), f"{1 / int(text):{_SCORE}}")
    raise BadLineError("columns", f"{len(cells)} columns")


def rows(path: str | os.PathLike) -> Iterator[Row]:
    """Yield the lines of a run file, one in memory at a time; the first one tells which format it is.

    Lines may end as on Windows. Blank lines are skipped, and lines that start with "#": comments, as in today's
    trec_eval (ir_metadata's header, for one).

    Raises:
        JPQError: no such file, an empty file, a wrong number of columns, a score that is no finite number, an MS MARCO
            rank that is no positive integer, not UTF-8, a damaged .gz.
    """
    path = os.fspath(path)
    if not os.path.isfile(path):
        raise JPQError(f"no such run file: {path}")
    with open(path, "rb") as file:
        if file.read(2) == b"\x1f\x8b" and not path.endswith(".gz"):
            raise JPQError(f"{path}: gzip data without the ending .gz: name it {path}.gz")
    columns = None
    for number, line in text_lines(path):
        cells = columns_of(line)
        if not cells or cells[0].startswith("#"):
            continue
        if columns is None and len(cells) in (TREC, MSMARCO):
            columns = len(cells)
        if len(cells) != columns:
            as_before = f", not {columns} as before" if columns else ""
            raise JPQError(f"{path}:{number}: {len(cells)} columns in {quoted(line)}{as_before}: {_FORMS}")
        try:
            yield row_of(cells, number)
        except BadLineError as error:
            raise JPQError(f"{path}:{number}: {error}") from None
    if columns is None:
        raise JPQError(f"{path} is empty: {_FORMS}")


class Run(Mapping):
    """One run: qid to {docid: score}, the inner dicts made on demand, so that ten million lines fit in memory.

    Attributes:
        name: What tables call the run.
        path: The file it came from.
    """

    def __init__(self, name: str, path: str, queries: Mapping[str, tuple[list[str], array, array]]):
        """``queries`` has docids, scores (float64) and ranks (int32; 0: no positive integer) in the file's order."""
        self.name, self.path, self._queries = name, path, queries

    def __getitem__(self, qid: str) -> dict[str, float]:
        docids, scores, _ = self._queries[qid]
        return dict(zip(docids, scores, strict=True))

    def at_ranks(self, qid: str, depth: int) -> list[str | None]:
        """Return the documents that the file puts at ranks 1 to ``depth``, whatever their scores; None for a gap.

        Raises:
            JPQError: a rank that is no positive integer.
        """
        docids, _, ranks = self._queries[qid]
        if 0 in ranks:
            raise JPQError(
                f"the rank of document {docids[ranks.index(0)]!r} for query {qid!r} is no positive integer, but the "
                "official MRR of MS MARCO goes by ranks: write them from 1 on, or take RR, which goes by scores"
            )
        found: list[str | None] = [None] * depth
        for docid, rank in zip(docids, ranks, strict=True):
            if rank <= depth:
                found[rank - 1] = docid
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._queries)

    def __len__(self) -> int:
        return len(self._queries)

    def __contains__(self, qid: object) -> bool:
        return qid in self._queries


def read_run(path: str | os.PathLike, name: str | None = None) -> Run:
    """Read a whole run; the lines of a query need not be together.

    The rank column of a TREC run is kept but does not order it, as in trec_eval.

    Args:
        path: The file.
        name: What to call the run; the file's name without its last ending by default.

    Raises:
        JPQError: a bad file, see :func:`rows`; a document listed twice for a query.
    """
    path = os.fspath(path)
    queries: dict[str, tuple[list[str], array, array]] = {}
    docids: dict[str, str] = {}  # one string for each document, however many queries it is listed for
    last = None
    for _, qid, docid, rank, score, _ in rows(path):
        if qid != last:
            found, scores, ranks = queries.setdefault(qid, ([], array("d"), array("i")))
            last = qid
        found.append(docids.setdefault(docid, docid))
        scores.append(score)
        ranks.append(min(rank, _GREATEST_RANK) if rank else 0)
    _check_once(path, {qid: found for qid, (found, _, _) in queries.items()})
    return Run(name or run_name(path), path, queries)


def _check_once(path: str, found: Mapping[str, list[str]]) -> None:
    """Refuse a document that is listed twice for a query."""
    repetitions = {qid: len(docids) - len(set(docids)) for qid, docids in found.items()}
    for qid in filter(repetitions.get, found):
        seen: set[str] = set()
        for row in rows(path):
            if row.qid == qid and row.docid in seen:
                raise JPQError(
                    f"{path}:{row.line}: document {row.docid!r} is listed twice for query {qid!r} "
                    f"({sum(repetitions.values())} repetitions in all): keep one line for each query and document"
                )
            if row.qid == qid:
                seen.add(row.docid)


def write_run(path: str | os.PathLike, rankings: Iterable[tuple[str, Mapping[str, float]]], tag: str) -> int:
    """Write a TREC run, gzipped if named .gz, scores with nine digits, which tell all single-precision scores apart.

    Args:
        path: the file.
        rankings: what was found for each query: (qid, {docid: score}), best first.
        tag: the last column.

    Returns:
        the number of lines.
    """
    lines = 0
    with new_run_file(path) as file:
        for qid, hits in rankings:
            for rank, (docid, score) in enumerate(hits.items(), 1):
                file.write(f"{qid} Q0 {docid} {rank} {score:{_SCORE}} {tag}\n".encode())
            lines += len(hits)
    return lines


@contextlib.contextmanager
def new_run_file(path: str | os.PathLike) -> Iterator[BinaryIO]:
    """Yield a binary file that takes the place of ``path`` when the block ends well, gzipped if named .gz."""
    with new_file(path, "wb") as raw:
        if not os.fspath(path).endswith(".gz"):
            yield raw
            return
        # Neither name nor time goes into it: the same lines, the same bytes.
        with gzip.GzipFile("", "wb", 6, raw, mtime=0) as packed:
            yield cast(BinaryIO, packed)


def run_name(path: str | os.PathLike) -> str:
    """Return the file's name without .gz and its last ending: ``runs/bm25.txt.gz`` is ``bm25``."""
    name = Path(path).name.removesuffix(".gz")
    return Path(name).stem or name


def named_paths(
    arguments: Sequence[str],
    flag: str = "--run",
    form: str = "RUN",
    called: Callable[[str], str] = run_name,
) -> dict[str, str]:
    """Return name to path of what ``flag`` was given; a path may hold "=" if it exists as it stands.

    Args:
        arguments: words of the form ``[NAME=]path``.
        flag, form: how the command line calls them, for messages.
        called: names a path that comes without a name.

    Raises:
        JPQError: an argument is not ``[NAME=]form``, or a name comes twice.
    """
    named: dict[str, str] = {}
    for argument in arguments:
        name, equals, path = argument.partition("=")
        if not equals or Path(argument).exists():
            name, path = called(argument), argument
        if not name or not path or not name.isprintable() or name[0] in "=@":  # a formula, to spreadsheets
            raise JPQError(
                f"{flag} {argument!r}: give NAME={form}, NAME without control characters, and no = or @ at its start"
            )
        if name in named:
            raise JPQError(
                f"two runs are called {name!r} ({named[name]} and {path}): name them with {flag} NAME={form}"
            )
        named[name] = path
    return named


def ends_abruptly(path: str | os.PathLike) -> bool:
    """Whether the last line has no end, as when a file was cut short in copying; a .gz tells that by itself."""
    path = Path(path)
    if path.name.endswith(".gz") or not path.stat().st_size:
        return False
    with open(path, "rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read() not in (b"\n", b"\r")
