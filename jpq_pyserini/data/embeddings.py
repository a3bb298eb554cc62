"""Embeddings in whatever form people have them, opened as one (N, D) array with its docids.

What can be mapped (flat Faiss, .npy, .safetensors) is read where it is, float16 as float16. The rest is written once to
temporary files of the same size (in ``TMPDIR``), so that memory never holds a whole collection.
"""

import os
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TextIO

import numpy as np

from jpq_pyserini.data.docids import Docids, is_docid
from jpq_pyserini.data.embedding_files import blocks_of, parts_of
from jpq_pyserini.data.flat import Embeddings, FlatFolder, is_flat
from jpq_pyserini.errors import JPQError
from jpq_pyserini.names import DOCID, INDEX

#: A path, several, or an array (N, D).
Source = str | os.PathLike | Sequence[str | os.PathLike] | np.ndarray
#: Paths of files with a docid a line, or the docids themselves.
DocidSource = str | os.PathLike | Sequence[str] | None


class Rows:
    """Arrays of vectors, one after the other, read as one (N, D) float32 array; what is mapped stays on disk.

    Args:
        parts: arrays (n, D) of float16, float32 or float64.
    """

    dtype, ndim = np.dtype(np.float32), 2

    def __init__(self, parts: Sequence[np.ndarray]):
        self._parts = list(parts)
        self._firsts = np.cumsum([0, *map(len, self._parts)])
        self.shape = (int(self._firsts[-1]), self._parts[0].shape[1])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key) -> np.ndarray:
        rows = np.arange(*key.indices(len(self))) if isinstance(key, slice) else np.asarray(key)
        wanted = rows.reshape(-1)
        values = np.empty((len(wanted), self.shape[1]), np.float32)
        parts = np.searchsorted(self._firsts, wanted, side="right") - 1
        for part in np.unique(parts):
            here = parts == part
            values[here] = self._parts[part][wanted[here] - self._firsts[part]]
        return values.reshape(*rows.shape, self.shape[1])

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return self[:].astype(dtype or np.float32, copy=False)


def as_source(source) -> Source:
    """Return paths as they are, and arrays of any library, or lists of numbers, as NumPy's."""
    if isinstance(source, str | os.PathLike | np.ndarray):
        return source
    if isinstance(source, Sequence) and (not len(source) or isinstance(source[0], str | os.PathLike)):
        return source
    if hasattr(source, "detach"):  # a tensor of PyTorch's
        source = source.detach().cpu().float()
    try:
        return np.asarray(source)
    except ValueError as error:  # rows of different lengths
        raise JPQError(f"the embeddings are no array ({error}): give (N, D) floats") from None


def open_embeddings(source: Source, docids: DocidSource = None) -> Embeddings:
    """Open embeddings.

    Args:
        source: a file or folder of one of the kinds of :mod:`jpq_pyserini.data.embedding_files`, several of them, which
            are taken in that order, a folder of such parts, or an array.
        docids: for kinds without docids: a file with a docid a line, in row order, or the docids.

    Raises:
        JPQError: a file is missing or damaged, or of no such kind; the parts have different dimensions; docids are
            missing, given twice, not as many as the vectors, or would break run files.
    """
    source = as_source(source)
    if isinstance(source, np.ndarray):
        return _in_memory(source, docids)
    paths = [Path(source)] if isinstance(source, str | os.PathLike) else [Path(each) for each in source]
    if not paths:
        raise JPQError("no embeddings: name a file or folder of them, or give an array")
    parts = [part for path in paths for part in parts_of(path)]
    if len(parts) == 1 and docids is None and (parts[0] / INDEX).is_file() and is_flat(parts[0] / INDEX):
        return FlatFolder.open(parts[0])
    return _Opening(paths[0], docids).of(parts)


class _Opening:
    """Parts as they are read: a memory map or a temporary file of each, and one of docids."""

    def __init__(self, path: Path, docids: DocidSource):
        self._path = path
        self._given = _listed(docids)
        self._folder = tempfile.TemporaryDirectory(prefix="jpq-embeddings-")
        self._arrays: list[np.ndarray] = []
        self._lines: dict[Path, Docids] = {}  # files of docids beside the parts …
        self._taken: dict[Path, int] = {}  # … and how many were

    def of(self, parts: list[Path]) -> Embeddings:
        with open(Path(self._folder.name, DOCID), "w", encoding="utf-8") as file:
            for part in parts:
                array = self._array(part, file)
                if array.ndim != 2 or array.dtype.kind != "f" or array.dtype.itemsize > 8:
                    raise JPQError(f"{part} holds {array.dtype} of shape {array.shape}: save (N, D) float16 or float32")
                if self._arrays and array.shape[1] != self._arrays[0].shape[1]:
                    raise JPQError(
                        f"{part} has vectors of dimension {array.shape[1]}, {parts[0]} of {self._arrays[0].shape[1]}: "
                        "name parts of one collection"
                    )
                self._arrays.append(array)
        count = sum(map(len, self._arrays))
        if count == 0:
            raise JPQError(f"{self._path} holds no embeddings: encode a collection that has documents")
        for beside, taken in self._taken.items():
            if taken != len(self._lines[beside]):
                raise JPQError(
                    f"{beside} has {len(self._lines[beside]):,} lines for {taken:,} embeddings: copy both again"
                )
        docids = Docids(file.name) if self._given is None else self._given
        if len(docids) != count:
            raise JPQError(f"{self._path}: {len(docids):,} docids for {count:,} embeddings: give one for each")
        return Embeddings(self._path, _one(self._arrays), docids, holds=self._folder)

    def _array(self, part: Path, file: TextIO) -> np.ndarray:
        """Return the vectors of one part, and write its docids, if it has any."""
        spool, dtype = Path(self._folder.name, f"rows-{len(self._arrays)}"), "<f4"
        count, dimension = 0, 0
        for ids, vectors in blocks_of(part):
            self._write_docids(part, ids, len(vectors), file)
            if isinstance(vectors, np.memmap):
                return vectors
            if not count:
                dtype, dimension = "<f2" if vectors.dtype == np.float16 else "<f4", vectors.shape[1]
            elif vectors.shape[1] != dimension:
                raise JPQError(f"{part}: a vector has {vectors.shape[1]} numbers, those before it {dimension}")
            with open(spool, "ab") as out, np.errstate(over="ignore"):  # infinity is refused when it is read
                out.write(np.ascontiguousarray(vectors, dtype).data)
            count += len(vectors)
        return np.memmap(spool, dtype, "r", shape=(count, dimension)) if count else np.empty((0, dimension), dtype)

    def _write_docids(self, part: Path, ids, count: int, file: TextIO) -> None:
        numbered = isinstance(ids, np.ndarray)  # Faiss's ids, which are lines of the docid file, if there is one
        if self._given is not None:
            if ids is not None and not (numbered and np.array_equal(ids, np.arange(ids[0], ids[0] + count))):
                raise JPQError(f"{part} has docids of its own: leave --docids out")
            return
        beside = part / DOCID if part.is_dir() else part.parent / DOCID
        names: Iterable = ids
        if (ids is None or numbered) and beside.is_file():
            if beside not in self._lines:
                self._lines[beside] = Docids(beside).check()
            lines, first = self._lines[beside], self._taken.get(beside, 0)
            rows = ids if numbered else np.arange(first, first + count)
            if len(rows) and not 0 <= rows[0] <= rows[-1] < len(lines):
                raise JPQError(
                    f"{beside} has {len(lines):,} lines, {part} wants line {rows[-1] + 1:,}: copy both again"
                )
            self._taken[beside] = first + count
            names = (lines[row] for row in rows.tolist())
        elif ids is None:
            raise JPQError(f"{part} has no docids: give a file with one a line, in row order, as --docids")
        file.writelines(f"{_checked(name, part)}\n" for name in names)


def _in_memory(array: np.ndarray, docids: DocidSource) -> Embeddings:
    listed = _listed(docids)
    if array.ndim != 2 or array.dtype.kind != "f" or not array.size:
        raise JPQError(f"embeddings of type {array.dtype} and shape {array.shape}: give an array (N, D) of floats")
    if listed is None or len(listed) != len(array):
        count = "no" if listed is None else f"{len(listed):,}"
        raise JPQError(f"{len(array):,} embeddings and {count} docids: give docids=, one for each row")
    return Embeddings(Path("the array"), _one([array]), listed)


def _listed(docids: DocidSource) -> Sequence[str] | None:
    """Return the docids of a file or of several, or those given themselves, checked."""
    if docids is None or isinstance(docids, str | os.PathLike):
        return None if docids is None else Docids(docids).check()
    return [_checked(docid, "docids") for docid in docids]


def _checked(docid: object, place: object) -> str:
    name = str(docid)
    if not isinstance(docid, str | int | np.integer) or isinstance(docid, bool) or not is_docid(name):
        raise JPQError(f"{place}: the docid {docid!r} would break run files: give a text without blanks, or an integer")
    return name


def _one(parts: list[np.ndarray]):
    plain = len(parts) == 1 and parts[0].dtype == np.float32 and parts[0].flags.c_contiguous
    return parts[0] if plain else Rows(parts)
