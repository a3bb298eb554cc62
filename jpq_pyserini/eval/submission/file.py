"""A run file read as TREC's checkers read it, line by line and to its end, whatever is wrong with it."""

import array
import gzip
import os
import re
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from jpq_pyserini.errors import JPQError
from jpq_pyserini.eval.submission.findings import Findings, shown

_LONGEST_LINE = 1 << 16
_LARGEST = 3.4028235e38  # of single precision
_RANK = re.compile(rb"[0-9]{1,9}")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Row(NamedTuple):
    """One line; ``rank`` is None if it is no whole number, ``text`` the score as written."""

    line: int
    docid: bytes
    rank: int | None
    score: float
    text: bytes


class Scattered(Exception):  # noqa: N818, it is news, not an error
    """The lines of a query are not together."""


def run_queries(path: str, findings: Findings, *, regroup: bool = False) -> Iterator[tuple[bytes, list[Row]]]:
    """Yield (qid, rows) in the file's order, one query in memory at a time; sound lines only, the rest is in findings.

    Args:
        path: TREC run, gunzipped if named .gz. An MS MARCO run (three columns) is read if ``msmarco`` is among the
            repairs, with the score 1 / rank.
        findings: gets what is wrong with lines by themselves.
        regroup: hold the whole file in memory as text, and bring the lines of each query together.

    Raises:
        Scattered: they are not together, and ``regroup`` is False.
        JPQError: no such file, an empty one, no text at all, a damaged .gz.
    """
    lines = _lines(path, findings)
    if regroup:
        lines = _regrouped(lines, findings)
    finished: set[bytes] = set()
    query, rows = None, []
    for number, raw in lines:
        if (parsed := _parsed(number, raw, findings)) is None:
            continue
        qid, row = parsed
        if qid != query:
            if query is not None:
                yield query, rows
                finished.add(query)
            if qid in finished:
                raise Scattered
            query, rows = qid, []
        rows.append(row)
    if query is not None:
        yield query, rows


def _parsed(number: int, raw: bytes, findings: Findings) -> tuple[bytes, Row] | None:
    """Return what is in a line, or None if nothing can be made of it."""
    cells = raw.split()  # at ASCII blanks, as trec_eval does
    if len(cells) == 3 and "msmarco" in findings.repairs and _RANK.fullmatch(cells[2]) and int(cells[2]):
        rank = int(cells[2])
        findings.add("msmarco", number)
        return cells[0], Row(number, cells[1], rank, 1 / rank, b"%.9g" % (1 / rank))
    if len(cells) != 6:
        findings.add("columns", number, f"{len(cells)} in {shown(raw)}")
        return None
    qid, q0, docid, rank, text, _ = cells
    if not raw.isascii():
        try:
            raw.decode("utf-8")
        except UnicodeDecodeError:
            findings.add("utf8", number, shown(raw))
            return None
    if q0 != b"Q0":
        findings.add("q0", number, q0)
    try:
        score = float(text)
    except ValueError:
        score = float("nan")
    if not abs(score) <= _LARGEST or b"_" in text:  # Python alone takes 1_0
        findings.add("scores", number, b"%b of document %b" % (text, docid))
        return None
    whole = int(rank) if _RANK.fullmatch(rank) else None
    if whole is None:
        findings.add("ranks", number, rank)
    return qid, Row(number, docid, whole, score, text)


def _lines(path: str, findings: Findings) -> Iterator[tuple[int, bytes]]:
    """Yield (number from 1, line) of what is not blank, and note what concerns line ends, tags and the file's end."""
    if not os.path.isfile(path):
        raise JPQError(f"no such run file: {path}")
    tag, columns = None, None
    try:
        with gzip.open(path) if path.endswith(".gz") else open(path, "rb") as file:
            for number, raw in enumerate(iter(lambda: file.readline(_LONGEST_LINE), b""), 1):
                if len(raw) == _LONGEST_LINE and not raw.endswith(b"\n"):
                    raise JPQError(f"{path}:{number}: longer than {_LONGEST_LINE:,} bytes: this is no run file")
                if number == 1:
                    _refuse_other_files(path, raw)
                    if raw.startswith(_BYTE_ORDER_MARK):
                        findings.add("line-ends", 1, "a byte order mark")
                        raw = raw[len(_BYTE_ORDER_MARK) :]
                if raw.endswith(b"\r\n"):
                    findings.add("line-ends", number)
                cells = raw.split()
                if not cells:
                    findings.add("blank", number)
                    continue
                if cells[0].startswith(b"#"):
                    findings.add("comments", number, shown(raw))
                    continue
                if columns is None:
                    columns = len(cells)
                    _refuse_other_formats(path, number, raw, columns, findings)
                if not raw.endswith(b"\n") and _is_cut(cells, columns, tag):
                    findings.add("truncated", number, shown(raw))
                    continue
                if len(cells) == 6 and cells[5] != tag:
                    if tag is None:
                        tag = cells[5]
                    else:
                        findings.add("tags", number, b"%b, not %b" % (cells[5], tag))
                yield number, raw
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise JPQError(f"{path}: damaged gzip file ({error}): fetch or write it again") from None
    if columns is None:
        raise JPQError(f"{path} is empty: a run has lines 'qid Q0 docid rank score tag'")


def _is_cut(cells: list[bytes], columns: int, tag: bytes | None) -> bool:
    """Return whether a last line without an end lacks columns or the end of its tag."""
    return len(cells) < columns or (tag is not None and cells[-1] != tag and tag.startswith(cells[-1]))


def _refuse_other_files(path: str, first: bytes) -> None:
    if first.startswith(b"\x1f\x8b"):
        raise JPQError(f"{path} is gzipped: give it a name that ends in .gz")
    if first.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise JPQError(f"{path} is UTF-16 text: save it as UTF-8 without a byte order mark")
    if b"\0" in first:
        raise JPQError(f"{path} is no text file: a run has lines 'qid Q0 docid rank score tag'")


def _refuse_other_formats(path: str, number: int, raw: bytes, columns: int, findings: Findings) -> None:
    if columns == 3 and "msmarco" not in findings.repairs:
        raise JPQError(
            f"{path}:{number}: three columns in {shown(raw)}, as MS MARCO's runs have (qid docid rank); "
            "--repair msmarco makes a TREC run of it, with the score 1 / rank"
        )
    if columns not in (3, 6):
        raise JPQError(
            f"{path}:{number}: {columns} column{'s' * (columns != 1)} in {shown(raw)}: a run has lines "
            "'qid Q0 docid rank score tag'"
        )


def _regrouped(lines: Iterator[tuple[int, bytes]], findings: Findings) -> Iterator[tuple[int, bytes]]:
    """Yield the lines query by query, in the order of each query's first; costs the file's size and 8 bytes a line."""
    texts: dict[bytes, bytearray] = {}
    numbers: dict[bytes, array.array] = {}
    scattered, previous = {}, None
    for number, raw in lines:
        qid = raw.split(None, 1)[0]
        if qid != previous and qid in texts:
            scattered.setdefault(qid, number)
        previous = qid
        texts.setdefault(qid, bytearray()).extend(raw.rstrip(b"\r\n") + b"\n")
        numbers.setdefault(qid, array.array("q")).append(number)
    for qid, number in scattered.items():
        findings.add("scattered", number, b"query %b again" % qid)
    for qid in list(texts):
        yield from zip(numbers.pop(qid), bytes(texts.pop(qid)).split(b"\n"), strict=False)
