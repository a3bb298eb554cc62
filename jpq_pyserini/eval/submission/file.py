"""A run file read as TREC's checkers read it, line by line and to its end, whatever is wrong with it."""

import array
import os
from collections.abc import Iterator
from itertools import groupby

from jpq_pyserini.data.lines import opened
from jpq_pyserini.data.runs import MSMARCO, TREC, BadLineError, Row, row_of
from jpq_pyserini.errors import JPQError
from jpq_pyserini.eval.submission.findings import Findings, shown

_LONGEST_LINE = 1 << 16
_LARGEST = 3.4028235e38  # of single precision
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_FORM = "a run has lines 'qid Q0 docid rank score tag'"


class Scattered(Exception):  # noqa: N818, it is news, not an error
    """The lines of a query are not together."""


def run_queries(path: str, findings: Findings, *, regroup: bool = False) -> Iterator[tuple[str, list[Row]]]:
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
    parsed = (_parsed(number, raw, findings) for number, raw in lines)
    finished: set[str] = set()
    for qid, rows in groupby(filter(None, parsed), lambda row: row.qid):
        if qid in finished:
            raise Scattered
        finished.add(qid)
        yield qid, list(rows)


def _parsed(number: int, raw: bytes, findings: Findings) -> Row | None:
    """Return what is in a line, or None if nothing can be made of it."""
    try:
        cells = [cell.decode("utf-8") for cell in raw.split()]  # at ASCII blanks, as trec_eval does
    except UnicodeDecodeError:
        findings.add("utf8", number, shown(raw))
        return None
    msmarco = len(cells) == MSMARCO and "msmarco" in findings.repairs
    try:
        if not msmarco and len(cells) != TREC:
            raise BadLineError("columns", "")
        row = row_of(cells, number)
    except BadLineError as bad:
        detail = f"{cells[4]} of document {cells[2]}" if bad.kind == "scores" else f"{len(cells)} in {shown(raw)}"
        findings.add("scores" if bad.kind == "scores" else "columns", number, detail)
        return None
    if msmarco:
        findings.add("msmarco", number)
        return row
    if abs(row.score) > _LARGEST:
        findings.add("scores", number, f"{row.text} of document {row.docid}")
        return None
    if cells[1] != "Q0":
        findings.add("q0", number, cells[1])
    if row.rank is None:
        findings.add("ranks", number, cells[3])
    return row


def _lines(path: str, findings: Findings) -> Iterator[tuple[int, bytes]]:
    """Yield (number from 1, line) of what is not blank, and note what concerns line ends, tags and the file's end."""
    if not os.path.isfile(path):
        raise JPQError(f"no such run file: {path}")
    tag, columns = None, None
    with opened(path) as file:
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
            if len(cells) == TREC and cells[5] != tag:
                if tag is None:
                    tag = cells[5]
                else:
                    findings.add(
                        "tags", number, f"{cells[5].decode(errors='replace')}, not {tag.decode(errors='replace')}"
                    )
            yield number, raw
    if columns is None:
        raise JPQError(f"{path} is empty: {_FORM}")


def _is_cut(cells: list[bytes], columns: int, tag: bytes | None) -> bool:
    """Return whether a last line without an end lacks columns or the end of its tag."""
    return len(cells) < columns or (tag is not None and cells[-1] != tag and tag.startswith(cells[-1]))


def _refuse_other_files(path: str, first: bytes) -> None:
    if first.startswith(b"\x1f\x8b"):
        raise JPQError(f"{path} is gzipped: give it a name that ends in .gz")
    if first.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise JPQError(f"{path} is UTF-16 text: save it as UTF-8 without a byte order mark")
    if b"\0" in first:
        raise JPQError(f"{path} is no text file: {_FORM}")


def _refuse_other_formats(path: str, number: int, raw: bytes, columns: int, findings: Findings) -> None:
    if columns == MSMARCO and "msmarco" not in findings.repairs:
        raise JPQError(
            f"{path}:{number}: three columns in {shown(raw)}, as MS MARCO's runs have (qid docid rank); "
            "--repair msmarco makes a TREC run of it, with the score 1 / rank"
        )
    if columns not in (MSMARCO, TREC):
        raise JPQError(f"{path}:{number}: {columns} column{'s' * (columns != 1)} in {shown(raw)}: {_FORM}")


def _regrouped(lines: Iterator[tuple[int, bytes]], findings: Findings) -> Iterator[tuple[int, bytes]]:
    """Yield the lines query by query, in the order of each query's first; costs the file's size and 8 bytes a line."""
    texts: dict[bytes, bytearray] = {}
    numbers: dict[bytes, array.array] = {}
    scattered: dict[bytes, int] = {}
    previous = None
    for number, raw in lines:
        qid = raw.split(None, 1)[0]
        if qid != previous and qid in texts:
            scattered.setdefault(qid, number)
        previous = qid
        texts.setdefault(qid, bytearray()).extend(raw.rstrip(b"\r\n") + b"\n")
        numbers.setdefault(qid, array.array("q")).append(number)
    for qid, number in scattered.items():
        findings.add("scattered", number, f"query {qid.decode(errors='replace')} again")
    for qid in list(texts):
        yield from zip(numbers.pop(qid), bytes(texts.pop(qid)).split(b"\n"), strict=False)
