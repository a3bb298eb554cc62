"""The real vectors that belong to an index directory: beside the codes, or in the flat folder they were coded from.

``jpq.json`` says where they are, of which type, and what their file looked like when it was written.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

import numpy as np

from jpq_pyserini.data.docids import RowsByDocid
from jpq_pyserini.data.flat import Embeddings, unusable_row
from jpq_pyserini.errors import JPQError
from jpq_pyserini.index.record import VectorsRecord
from jpq_pyserini.index.vectors import (
    DEFAULT_DTYPE,
    StoredVectors,
    decode_rows,
    encode_rows,
    write_vectors,
)
from jpq_pyserini.names import INDEX, RECORD, VECTORS
from jpq_pyserini.resume import fingerprint
from jpq_pyserini.storage import sha256_of

_ROWS = 1 << 13  # rows held at once
_NEARER = 0.75  # of the documents must be nearer to their own vectors
_WITHOUT = "or search the codes alone with JPQ_RESCORE=0"


class Vectors(Protocol):
    """Vectors of N documents that can be gone through: those of a file, of an array, or several in a row."""

    @property
    def count(self) -> int:
        """N."""

    @property
    def dimension(self) -> int:
        """D."""

    @property
    def dtype(self) -> str:
        """One of :data:`~jpq_pyserini.index.vectors.DTYPES`."""

    def chunks_as(self, dtype: str) -> Iterator[np.ndarray]:
        """Yield all rows in order as :func:`~jpq_pyserini.index.vectors.encode_rows` makes them of this type."""


@dataclass(frozen=True)
class ArrayVectors:
    """Vectors in memory or in a memory map, to be written as ``dtype``.

    Attributes:
        array: (N, D) float32.
        dtype: one of :data:`~jpq_pyserini.index.vectors.DTYPES`.
        rows: (n,) int64, which rows of it, in which order; None: all.
    """

    array: np.ndarray
    dtype: str = DEFAULT_DTYPE
    rows: np.ndarray | None = None

    @property
    def count(self) -> int:
        """How many vectors there are."""
        return len(self.array if self.rows is None else self.rows)

    @property
    def dimension(self) -> int:
        """D."""
        return self.array.shape[1]

    def chunks_as(self, dtype: str) -> Iterator[np.ndarray]:
        """See :class:`Vectors`; :class:`JPQError` if one is not finite, or beyond 1e18."""
        for start in range(0, self.count, _ROWS):
            chosen = slice(start, start + _ROWS) if self.rows is None else self.rows[start : start + _ROWS]
            part = np.array(self.array[chosen], dtype=np.float32)
            unusable = unusable_row(part)
            if unusable is not None:
                row = start + unusable[0]
                raise JPQError(f"the vector of document {row:,} {unusable[1]}: encode that document again")
            yield encode_rows(part, dtype)


@dataclass(frozen=True)
class JoinedVectors:
    """Vectors of several collections, one after the other.

    They are of the type of the first; where that one is a flat folder, which cannot grow, of :data:`DEFAULT_DTYPE`.
    """

    parts: Sequence[Vectors]

    def __post_init__(self):
        dimensions = {part.dimension for part in self.parts}
        if len(dimensions) != 1:
            raise JPQError(f"vectors of {sorted(dimensions)} dimensions cannot be joined: use one encoder for all")

    @property
    def dtype(self) -> str:
        """One of :data:`~jpq_pyserini.index.vectors.DTYPES`."""
        return growing_dtype(self.parts[0])

    @property
    def count(self) -> int:
        """N of all together."""
        return sum(part.count for part in self.parts)

    @property
    def dimension(self) -> int:
        """D."""
        return self.parts[0].dimension

    def chunks_as(self, dtype: str) -> Iterator[np.ndarray]:
        """See :class:`Vectors`."""
        for part in self.parts:
            yield from part.chunks_as(dtype)


@dataclass(frozen=True)
class RawVectors:
    """Rows as :func:`~jpq_pyserini.index.vectors.encode_rows` makes them.

    Attributes:
        raw: (N, bytes a row) uint8, possibly a memory map.
        dtype, dimension: what they are of.
    """

    raw: np.ndarray
    dtype: str
    dimension: int

    @property
    def count(self) -> int:
        """N."""
        return len(self.raw)

    def chunks_as(self, dtype: str) -> Iterator[np.ndarray]:
        """See :class:`Vectors`."""
        for start in range(0, self.count, _ROWS):
            part = np.array(self.raw[start : start + _ROWS])
            yield part if dtype == self.dtype else encode_rows(decode_rows(part, self.dtype), dtype)


def open_vectors(directory: str | os.PathLike, entry: VectorsRecord, count: int, dimension: int) -> StoredVectors:
    """Open the vectors that a record names.

    Args:
        directory: the index directory.
        entry: ``vectors`` of its record.
        count, dimension: N, D of the index.

    Raises:
        JPQError: they are missing, truncated, of another number, dimension or type, or changed since the record was
            written.
    """
    flat = entry.get("flat")
    try:
        stored = StoredVectors.of_flat(flat) if flat else StoredVectors.open(Path(directory) / VECTORS)
    except JPQError as error:
        if not flat:
            raise JPQError(f"{error}, {_WITHOUT}") from error
        raise JPQError(
            f"the vectors of {directory} are those of {flat}, which cannot be read ({error}): put it back, name a "
            f"copy with `python -m jpq_pyserini.index vectors`, {_WITHOUT}"
        ) from error
    found, wanted = (stored.count, stored.dimension, stored.dtype), (count, dimension, entry.get("dtype"))
    if found != wanted:
        raise JPQError(
            f"{stored.path} has {found[0]:,} vectors of {found[1]} {found[2]}, {directory}/{RECORD} says {wanted[0]:,} "
            f"of {wanted[1]} {wanted[2]}: write them again with `python -m jpq_pyserini.index vectors`, {_WITHOUT}"
        )
    if fingerprint(stored.path) != entry.get("digest"):
        raise JPQError(
            f"{stored.path} was changed after {directory}/{RECORD} was written: copy it again, write it again with "
            f"`python -m jpq_pyserini.index vectors`, {_WITHOUT}"
        )
    return stored


def growing_dtype(vectors: Vectors) -> str:
    """Return the type that these vectors are written as when others join them."""
    return DEFAULT_DTYPE if getattr(vectors, "flat", None) else vectors.dtype


def join_vectors(parts: Sequence[tuple[str, Vectors | None]]) -> Vectors | None:
    """Put the vectors of named collections one after the other; None if none has any.

    Raises:
        JPQError: some have vectors and others none.
    """
    lacking = [name for name, vectors in parts if vectors is None]
    if len(lacking) == len(parts):
        return None
    if lacking:
        having = next(name for name, vectors in parts if vectors is not None)
        raise JPQError(
            f"{having} has the documents' vectors and {lacking[0]} has not: write them, or remove them all, with "
            "`python -m jpq_pyserini.index vectors`"
        )
    return JoinedVectors([vectors for _, vectors in parts if vectors is not None])


def check_vectors(vectors: Vectors, count: int, dimension: int) -> None:
    """Raise :class:`JPQError` unless there are (count, dimension) of them."""
    if (vectors.count, vectors.dimension) != (count, dimension):
        raise JPQError(
            f"{vectors.count:,} vectors of {vectors.dimension} dimensions do not fit {count:,} documents of {dimension}"
            ": give one for each document, of the encoder that made the codes"
        )


def save_vectors(vectors: Vectors, directory: Path) -> VectorsRecord:
    """Write vectors into a new index directory; returns what its record says of them.

    Those of a flat folder that is referred to stay there.
    """
    if isinstance(vectors, StoredVectors) and vectors.flat is not None:
        return refer_to(vectors.flat)
    path, dtype = directory / VECTORS, vectors.dtype
    write_vectors(path, dtype, vectors.count, vectors.dimension, vectors.chunks_as(dtype))
    return cast(VectorsRecord, {"dtype": dtype, "digest": str(fingerprint(path))})


def refer_to(flat: Path) -> VectorsRecord:
    """Return what a record says of vectors that stay in a flat folder."""
    folder = flat.resolve()
    index = folder / INDEX
    return {
        "dtype": "float32",
        "flat": str(folder),
        "digest": str(fingerprint(index)),
        "sha256": sha256_of(index),
    }


def rows_of(flat: Embeddings, docids: Sequence[str], name: str) -> np.ndarray | None:
    """Return the rows (N,) int64 of a flat folder that hold the documents of an index; None if they are its own.

    Raises:
        JPQError: it lacks a document of the index called ``name``.
    """
    if flat.docids == docids:
        return None
    rows = RowsByDocid(flat.docids, place=str(flat.path / "docid"))
    try:
        return np.fromiter((rows[docid] for docid in docids), dtype=np.int64, count=len(docids))
    except KeyError as error:
        raise JPQError(
            f"{flat.path} has no embedding of docid {error.args[0]} of {name}: give the folder of that very collection"
        ) from None


def check_fit(decoded: np.ndarray, vectors: np.ndarray, name: str) -> None:
    """Raise :class:`JPQError` unless documents rebuilt from codes, (n, D), are nearer to their own vectors.

    This tells embeddings of another encoder, or in another order, from those that the codes were made of: with those
    it holds for nearly all documents, with others for one in two.
    """
    if unusable := unusable_row(vectors):
        raise JPQError(f"a document vector for {name} {unusable[1]}: encode that document again")
    own = np.square(decoded - vectors).sum(axis=1)
    other = np.square(decoded - np.roll(vectors, 1, axis=0)).sum(axis=1)
    nearer = float((own <= other).mean())
    if nearer < _NEARER:
        raise JPQError(
            f"the embeddings are not those that the codes of {name} were made of ({nearer:.0%} of its documents are "
            "nearer to their own than to another's): give those of the encoder that jpq.json records"
        )
