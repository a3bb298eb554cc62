"""External ids by row without a Python string for each: the file mapped, and where its lines start."""

import mmap
import os
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from jpq_pyserini.errors import JPQError

_CHUNK = 1 << 24


class Docids(Sequence):
    """The lines of a ``docid`` file: ``docids[row]``, stripped at the end as Pyserini does.

    Costs 4 bytes a document (8 when the file passes 4 GB), and the pages of the file that were looked at; Pyserini's
    list of strings costs about 64.

    Raises:
        JPQError: the file is missing or no UTF-8 text.
    """

    def __init__(self, path: str | os.PathLike):
        try:
            with open(path, "rb") as file:
                size = os.fstat(file.fileno()).st_size
                self._text = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b""
        except FileNotFoundError:
            raise JPQError(f"{path} is missing: an index folder holds the files index and docid") from None
        ends, kind = [], np.uint32 if size < 1 << 32 else np.int64
        for start in range(0, size, _CHUNK):
            chunk = np.frombuffer(self._text, np.uint8, min(_CHUNK, size - start), start)
            ends.append((np.flatnonzero(chunk == ord("\n")) + start).astype(kind))
        self._ends = np.concatenate([*ends, np.empty(0, kind)])
        if size and self._text[-1:] != b"\n":
            self._ends = np.append(self._ends, kind(size))
        self._path = path

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, row):
        if isinstance(row, slice):
            return [self[each] for each in range(*row.indices(len(self)))]
        if row < 0:
            row += len(self)
        if not 0 <= row < len(self):
            raise IndexError(f"row {row} of {len(self):,} docids")
        start = int(self._ends[row - 1]) + 1 if row else 0
        line = self._text[start : int(self._ends[row])]
        try:
            return line.decode("utf-8").rstrip()
        except UnicodeDecodeError as error:
            raise JPQError(f"{self._path} is not UTF-8 text ({error.reason} in line {row + 1})") from None

    def __iter__(self) -> Iterator[str]:
        return (self[row] for row in range(len(self)))


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
        hashes = np.fromiter((hash(docid) for docid in docids), dtype=np.int64, count=len(docids))
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

    def _at(self, i: int) -> str:
        return self._docids[int(self._order[i])]
