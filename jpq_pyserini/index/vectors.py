"""The documents' real vectors on disk, a row a document, of which a search reads the few rows it wants.

An index directory may hold them beside the codes in ``vectors.safetensors``, one tensor ``rows``:

``float32``, ``float16``
    F32 or F16 of shape (N, D).
``int8``
    U8 of shape (N, 4 + D): the row's scale s, a little-endian float32, then D signed integers v. The vector is s·v with
    s = max|x| / 127. Scale and integers stand together so that one read of the disk brings both.

Or they stay in the flat Faiss folder that they were coded from, whose rows are float32.

How rows are read. One after the other while they come from the page cache; as soon as some had to wait for the disk,
all the others are asked for together, so that the disk works on all of them. Reading (and not mapping) the file makes a
disk error or a file cut short while it is searched an exception; a mapped one would end the process. The file is told
to be read at random, so that a row brings no neighbours into the page cache.
"""

import json
import os
import weakref
from collections.abc import Iterable, Iterator
from pathlib import Path
from time import perf_counter

import numpy as np

from jpq_pyserini.data.flat import map_embeddings
from jpq_pyserini.errors import JPQError, reason_of
from jpq_pyserini.json_text import safetensors_header
from jpq_pyserini.names import INDEX
from jpq_pyserini.storage import check_input, new_file

#: How a number is kept. int8 costs a quarter of float32 and, measured on three collections, no effectiveness.
DTYPES = ("int8", "float16", "float32")
DEFAULT_DTYPE = "int8"

_ROWS = "rows"
_LARGEST = 127
_BEYOND_FLOAT16 = 65520  # rounds to infinity
_CHUNK_BYTES = 1 << 25  # of rows held at once when all are gone through
_AT_ONCE = 8  # rows read between two looks at the clock
_FROM_DISK = 100e-6  # seconds: more than so many rows of the page cache take
_REMEDY = "copy it again, or write it again with `python -m jpq_pyserini.index vectors`"


class StoredVectors:
    """Vectors of N documents in a file; only rows that are asked for are read.

    Attributes:
        path: the file.
        dtype: one of :data:`DTYPES`.
        count, dimension: N, D.
        flat: the flat Faiss folder that the file belongs to; None for a file of our own.
    """

    flat: Path | None = None

    def __init__(self, path: str | os.PathLike, dtype: str, count: int, dimension: int, offset: int):
        self.path, self.dtype, self.count, self.dimension = Path(path), dtype, count, dimension
        self._offset, self._stride = offset, row_bytes(dtype, dimension)
        self._handle = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._handle)
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(self._handle, 0, 0, os.POSIX_FADV_RANDOM)

    @classmethod
    def open(cls, path: str | os.PathLike) -> "StoredVectors":
        """Open a file that :func:`write_vectors` wrote.

        Raises:
            JPQError: it is missing, truncated, longer than it says, or something else.
        """
        path = Path(path)
        check_input(path)
        try:
            size = path.stat().st_size
            header, offset = safetensors_header(path)
            dtype, dimension = header["__metadata__"]["dtype"], int(header["__metadata__"]["dimension"])
            count, width = header[_ROWS]["shape"]
            if dtype not in DTYPES or width != _width(dtype, dimension) or header[_ROWS]["dtype"] != _KINDS[dtype]:
                raise JPQError(f"{path} holds rows of {width} {header[_ROWS]['dtype']}, no vectors of ours: {_REMEDY}")
        except FileNotFoundError:
            raise JPQError(f"{path} is missing: {_REMEDY}") from None
        except (OSError, KeyError, TypeError, ValueError) as error:
            if isinstance(error, JPQError):
                raise
            raise JPQError(f"{path} is no readable vectors file ({reason_of(error)}): {_REMEDY}") from error
        wanted = offset + count * row_bytes(dtype, dimension)
        if size != wanted:
            raise JPQError(
                f"{path} has {size:,} bytes, {wanted:,} expected for {count:,} × {dimension} {dtype}: {_REMEDY}"
            )
        return cls(path, dtype, count, dimension, offset)

    @classmethod
    def of_flat(cls, folder: str | os.PathLike) -> "StoredVectors":
        """Read the embeddings of a flat Faiss folder where they are; :class:`JPQError` as for a flat folder."""
        embeddings = map_embeddings(Path(folder) / INDEX)
        count, dimension = embeddings.shape
        stored = cls(Path(folder) / INDEX, "float32", count, dimension, embeddings.offset)
        stored.flat = Path(folder)
        return stored

    def __len__(self) -> int:
        return self.count

    def __reduce__(self):
        """Pickles and copies open the file again: the handle is closed with this object."""
        return type(self), (self.path, self.dtype, self.count, self.dimension, self._offset), {"flat": self.flat}

    def read(self, rows: np.ndarray) -> np.ndarray:
        """Read the vectors of rows (n,) int64, fastest in rising order: (n, D) float32; errors as :meth:`read_raw`."""
        return decode_rows(self.read_raw(rows), self.dtype)

    def read_raw(self, rows: np.ndarray) -> np.ndarray:
        """Read rows as they are in the file: (n,) int64 give (n, bytes a row) uint8, for :func:`decode_rows`.

        Raises:
            JPQError: the disk failed, or the file was cut short since it was opened.
        """
        read, handle, stride = os.pread, self._handle, self._stride
        places = (self._offset + rows * stride).tolist()
        found: list[bytes] = []
        ask = hasattr(os, "posix_fadvise")
        try:
            for at in range(0, len(places), _AT_ONCE):
                begun = perf_counter()
                found += [read(handle, stride, place) for place in places[at : at + _AT_ONCE]]
                if ask and perf_counter() - begun > _FROM_DISK:
                    for place in places[at + _AT_ONCE :]:
                        os.posix_fadvise(handle, place, stride, os.POSIX_FADV_WILLNEED)
                    ask = False
        except OSError as error:
            raise JPQError(f"{self.path} cannot be read ({reason_of(error)}): {_REMEDY}") from error
        raw = b"".join(found)
        if len(raw) != len(rows) * stride:
            raise JPQError(f"{self.path} was cut short after it was opened: {_REMEDY}")
        return np.frombuffer(raw, dtype=np.uint8).reshape(-1, stride)

    def drop_from_cache(self) -> None:
        """Let the system forget the pages of the file, so that the next search has to wait for the disk.

        Pages that are not on disk yet, or that another process maps, stay.
        """
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(self._handle, 0, 0, os.POSIX_FADV_DONTNEED)

    def chunks(self) -> Iterator[np.ndarray]:
        """Yield all rows in order as they are in the file, some 32 MB at once: (n, bytes a row) uint8."""
        rows = max(1, _CHUNK_BYTES // self._stride)
        for start in range(0, self.count, rows):
            wanted = min(rows, self.count - start) * self._stride
            try:
                data = os.pread(self._handle, wanted, self._offset + start * self._stride)
            except OSError as error:
                raise JPQError(f"{self.path} cannot be read ({reason_of(error)}): {_REMEDY}") from error
            if len(data) != wanted:
                raise JPQError(f"{self.path} was cut short after it was opened: {_REMEDY}")
            yield np.frombuffer(data, dtype=np.uint8).reshape(-1, self._stride)

    def chunks_as(self, dtype: str) -> Iterator[np.ndarray]:
        """As :meth:`chunks`, in another type of number; rows of the same type stay what they are, bit by bit."""
        for raw in self.chunks():
            yield raw if dtype == self.dtype else encode_rows(decode_rows(raw, self.dtype), dtype)


def write_vectors(
    path: str | os.PathLike, dtype: str, count: int, dimension: int, chunks: Iterable[np.ndarray]
) -> None:
    """Write a vectors file in one pass; it appears whole or not at all.

    Args:
        path: the file.
        dtype: one of :data:`DTYPES`.
        count, dimension: N, D.
        chunks: rows in order as :func:`encode_rows` makes them, N in all.

    Raises:
        JPQError: there are not N rows of that width.
    """
    shape, width = [count, _width(dtype, dimension)], row_bytes(dtype, dimension)
    header = json.dumps(
        {
            "__metadata__": {"dtype": dtype, "dimension": str(dimension)},
            _ROWS: {"dtype": _KINDS[dtype], "shape": shape, "data_offsets": [0, count * width]},
        }
    ).encode()
    header += b" " * (-len(header) % 64)
    with new_file(path, "wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        written = 0
        for raw in chunks:
            if raw.shape[1] != width:
                raise JPQError(f"rows of {raw.shape[1]} bytes, {width} expected for {dimension} {dtype}")
            file.write(np.ascontiguousarray(raw))
            written += len(raw)
        if written != count:
            raise JPQError(f"{written:,} vectors for {count:,} documents: give one for each document, in their order")


def encode_rows(vectors: np.ndarray, dtype: str) -> np.ndarray:
    """Turn (n, D) float32 into rows of a file: (n, bytes a row) uint8. Values must be finite.

    Raises:
        JPQError: a value is beyond float16.
    """
    largest = np.abs(vectors).max(initial=0) if dtype == "float16" else 0
    if largest >= _BEYOND_FLOAT16:
        raise JPQError(f"a document vector holds a value of {largest:.3g}, beyond float16: store int8 or float32")
    if dtype != "int8":
        return np.ascontiguousarray(vectors, dtype=_NUMPY[dtype]).view(np.uint8).reshape(len(vectors), -1)
    scales = (np.abs(vectors).max(axis=1, keepdims=True) / _LARGEST).astype("<f4")
    integers = np.rint(np.divide(vectors, scales, out=np.zeros(vectors.shape, np.float32), where=scales > 0))
    return np.hstack([scales.view(np.uint8), integers.clip(-_LARGEST, _LARGEST).astype(np.int8).view(np.uint8)])


def decode_rows(raw: np.ndarray, dtype: str) -> np.ndarray:
    """Turn rows of a file, (n, bytes a row) uint8, into vectors: (n, D) float32."""
    if dtype != "int8":
        return raw.view(_NUMPY[dtype]).astype(np.float32, copy=False)
    scales = np.ascontiguousarray(raw[:, :4]).view("<f4")
    return raw[:, 4:].view(np.int8) * scales.astype(np.float32)


def row_bytes(dtype: str, dimension: int) -> int:
    """Return what a document costs on disk."""
    return _width(dtype, dimension) * {"int8": 1, "float16": 2, "float32": 4}[dtype]


def _width(dtype: str, dimension: int) -> int:
    return dimension + 4 if dtype == "int8" else dimension


_NUMPY = {"float16": "<f2", "float32": "<f4"}
_KINDS = {"int8": "U8", "float16": "F16", "float32": "F32"}
