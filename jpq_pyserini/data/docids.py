"""External ids by row without a Python string for each: the file mapped, and where its lines start."""

import codecs
import mmap
import operator
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain

import numpy as np

from jpq_pyserini.data.lines import refuse_pointer
from jpq_pyserini.errors import JPQError
from jpq_pyserini.storage import check_input

_CHUNK = 1 << 24
_BREAKS = re.compile("[\x00-\x20\x7f\x85\u2028\u2029\ud800-\udfff]")  # what no column of a run file may hold
_ROWS = 1 << 12  # decoded at once by a loop over all


def is_docid(text: str) -> bool:
    """Tell whether a text can stand in a run file and in a file of docids.

    It is not empty, has neither blanks nor control characters nor halves of surrogate pairs, and no blank of any
    alphabet at either end.
    """
    return bool(text) and not _BREAKS.search(text) and text == text.strip()


class _ByRow(Sequence):
    """What a list of docids can do, for a class with ``__len__`` and ``_at(row)``."""

    __hash__ = None  # type: ignore[assignment]

    def __getitem__(self, row):
        if isinstance(row, slice):
            return [self._at(each) for each in range(*row.indices(len(self)))]
        if row < 0:
            row += len(self)
        if not 0 <= row < len(self):
            raise IndexError(f"row {row} of {len(self):,} docids")
        return self._at(row)

    def __eq__(self, other) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str):
            return NotImplemented
        return len(self) == len(other) and all(map(operator.eq, self, other))


class Docids(_ByRow):
    """The lines of a ``docid`` file: ``docids[row]``, stripped at the end as Pyserini does.

    A byte order mark is passed over. Costs 4 bytes a document (8 when the file passes 4 GB), and the pages of the file
    that were looked at; Pyserini's list of strings costs about 64. Equal to any sequence of the same docids.

    Raises:
        JPQError: the file is missing or no UTF-8 text.
    """

    def __init__(self, path: str | os.PathLike):
        self._path = os.path.abspath(path)
        check_input(path)
        try:
            with open(path, "rb") as file:
                size = os.fstat(file.fileno()).st_size
                self._text = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b""
        except FileNotFoundError:
            raise JPQError(
                f"{path} is missing: name a file with a docid a line, as `docid` in an index folder"
            ) from None
        ends, kind = [], np.uint32 if size < 1 << 32 else np.int64
        for start in range(0, size, _CHUNK):
            chunk = np.frombuffer(self._text, np.uint8, min(_CHUNK, size - start), start)
            ends.append((np.flatnonzero(chunk == ord("\n")) + start).astype(kind))
        refuse_pointer(path, self._text[:64])
        self._begin = len(codecs.BOM_UTF8) if self._text[:3] == codecs.BOM_UTF8 else 0
        self._ends = np.concatenate([*ends, np.empty(0, kind)])
        if size and self._text[-1:] != b"\n":
            self._ends = np.append(self._ends, kind(size))
        self._check_text(path, size)

    def __reduce__(self):
        return Docids, (self._path,)  # pickles and copies open the file again

    def __len__(self) -> int:
        return len(self._ends)

    def __iter__(self) -> Iterator[str]:
        for first in range(0, len(self), _ROWS):
            last = min(first + _ROWS, len(self)) - 1
            lines = self._text[self._start(first) : int(self._ends[last])].decode("utf-8").split("\n")
            yield from map(str.rstrip, lines)

    def check(self) -> "Docids":
        """Return this; :class:`JPQError` if a docid is empty or has a blank or control character, as no run can."""
        lengths = np.diff(self._ends.astype(np.int64), prepend=self._begin - 1) - 1
        odd = [np.flatnonzero(lengths == 0)[:1]]  # the first empty line
        for start in range(0, len(self._text), _CHUNK):
            chunk = np.frombuffer(self._text, np.uint8, min(_CHUNK, len(self._text) - start), start)
            places = np.flatnonzero(((chunk <= 32) & (chunk != ord("\n"))) | (chunk >= 127)) + start
            odd.append(np.unique(np.searchsorted(self._ends, places)))
        for row in np.concatenate(odd).tolist():
            if not is_docid(self._at(row)):  # else letters beyond ASCII, or only what is stripped from its end
                raise JPQError(
                    f"{self._path}: the docid {self._at(row)!r} in line {row + 1:,} would break run files: give each "
                    "document a docid without blanks and control characters"
                )
        return self

    def _at(self, row: int) -> str:
        return self._text[self._start(row) : int(self._ends[row])].decode("utf-8").rstrip()

    def _start(self, row: int) -> int:
        return int(self._ends[row - 1]) + 1 if row else self._begin

    def _check_text(self, path: str | os.PathLike, size: int) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")()
        for start in range(0, size, _CHUNK):
            stop = min(start + _CHUNK, size)
            try:
                decoder.decode(self._text[start:stop], final=stop == size)
            except UnicodeDecodeError as error:
                row = int(np.searchsorted(self._ends, stop - len(error.object) + error.start))
                raise JPQError(
                    f"{path} is not UTF-8 text ({error.reason} in line {row + 1}): copy it again, or convert it"
                ) from None


class JoinedDocids(_ByRow):
    """The docids of several collections, one after the other, as one sequence; nothing is copied."""

    def __init__(self, parts: Sequence[Sequence[str]]):
        self._parts = list(parts)
        self._firsts = np.cumsum([0, *map(len, self._parts)])  # of each part, and the length of all

    def __len__(self) -> int:
        return int(self._firsts[-1])

    def __iter__(self) -> Iterator[str]:
        return chain.from_iterable(self._parts)

    def _at(self, row: int) -> str:
        part = int(np.searchsorted(self._firsts, row, side="right")) - 1
        return self._parts[part][row - int(self._firsts[part])]


class RowsByDocid(Mapping):
    """Row numbers by docid, ``rows[docid]``: a hash and a row for each docid, 16 bytes, where a dict takes some 150.

    Args:
        docids: external ids, in row order.
        place: what they come from, for the message.

    Raises:
        JPQError: a docid comes twice.
    """

    def __init__(self, docids: Sequence[str], place: str):
        self._docids = docids
        hashes = _hashes(docids)
        self._order = np.argsort(hashes, kind="stable")
        hashes.sort()
        self._hashes = hashes
        alike = np.flatnonzero(hashes[1:] == hashes[:-1])
        repeated = [self._at(i) for i in alike if self._at(i) == self._at(i + 1)]
        if repeated:
            raise JPQError(
                f"{place}: {len(repeated):,} docids occur twice, {repeated[0]} for one: encode each document once"
            )

    def __len__(self) -> int:
        return len(self._docids)

    def __iter__(self) -> Iterator[str]:
        return iter(self._docids)

    def __getitem__(self, docid: str) -> int:
        first, last = np.searchsorted(self._hashes, hash(docid), side="left"), len(self._hashes)
        while first < last and self._hashes[first] == hash(docid):
            if self._at(first) == docid:
                return int(self._order[first])
            first += 1
        raise KeyError(docid)

    def _at(self, i: int | np.integer) -> str:
        return self._docids[int(self._order[i])]


def first_repeated(docids: Sequence[str]) -> tuple[int, int] | None:
    """Return the rows of the first docid that was there before, earlier one first; None when all differ.

    Takes 8 bytes a docid, or 24 when two hashes are equal, where a set of strings takes some 100.
    """
    hashes = _hashes(docids)
    hashes.sort()
    if (hashes[1:] != hashes[:-1]).all():
        return None
    hashes = _hashes(docids)
    order = np.argsort(hashes, kind="stable")
    again = order[1:][hashes[order[1:]] == hashes[order[:-1]]]  # the rows whose hash was there before
    for row in np.sort(again).tolist():  # different docids of one hash are next to impossible
        docid = docids[row]
        for earlier in np.flatnonzero(hashes[:row] == hashes[row]).tolist():
            if docids[earlier] == docid:
                return earlier, row
    return None


def _hashes(docids: Sequence[str]) -> np.ndarray:
    return np.fromiter(map(hash, docids), dtype=np.int64, count=len(docids))
