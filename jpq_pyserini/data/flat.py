"""The flat Faiss folder that ``python -m pyserini.encode … output --to-faiss`` writes, read and written in parts."""

import json
import os
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from jpq_pyserini.data.docids import Docids
from jpq_pyserini.data.lines import refuse_pointer
from jpq_pyserini.errors import JPQError
from jpq_pyserini.json_text import read_json
from jpq_pyserini.names import DOCID, FLAT_ENCODER, INDEX
from jpq_pyserini.storage import check_input

# faiss/impl/index_write.cpp: fourcc, d int32, ntotal int64, two unused int64, is_trained byte, metric int32, then the
# vector of floats with its length before it. The floats start at byte 45, unaligned, hence the copies below.
_HEADER = struct.Struct("<4siqqqBiQ")
_CHUNK = 1 << 23  # floats read at once
_INNER_PRODUCT, _L2 = 0, 1  # faiss/MetricType.h
_ALIKE = 1e-2  # of lengths that differ by rounding
_LARGEST = 1e18  # of which D squares are still far from the end of float32
#: faiss/impl/index_write.cpp, in words.
_KINDS = {
    b"IxMp": "a Faiss index with its own ids (IDMap)",
    b"IxM2": "a Faiss index with its own ids (IDMap2)",
    b"IHNf": "a graph of uncompressed vectors (HNSW-Flat)",
    b"IwFl": "inverted lists of uncompressed vectors (IVF-Flat)",
    b"IwPQ": "inverted lists of product-quantized codes (IVF-PQ)",
    b"IxPq": "a product-quantized Faiss index (PQ)",
    b"IxPT": "a Faiss index behind a rotation (IndexPreTransform, as in OPQ)",
    b"IxSQ": "a Faiss index of scalar codes (SQ)",
    b"IHNs": "a graph of scalar codes (HNSW-SQ)",
    b"IHNp": "a graph of product-quantized codes (HNSW-PQ)",
    b"IwSq": "inverted lists of scalar codes (IVF-SQ)",
    b"IxRF": "a Faiss index with a second stage (IndexRefine)",
    b"IBxF": "a Faiss index of bits (binary)",
    b"IxHe": "a Faiss index of bits (LSH)",
}
_FLAT_KINDS = {b"IxFI": "inner product", b"IxF2": "L2", b"IxFl": "flat"}


@dataclass(frozen=True)
class Embeddings:
    """Embeddings of a collection, with its docids.

    Attributes:
        path: The file or folder, for messages.
        embeddings: (N, D) float32, an array or what is read like one; slices are read from disk when they are used.
        docids: N external ids, in row order.
        holds: What must live as long as this: a folder of temporary files.
    """

    path: Path
    embeddings: np.ndarray
    docids: Sequence[str]
    holds: object = field(default=None, repr=False)

    @property
    def encoder(self) -> dict:
        """How the embeddings were made, as far as that is recorded."""
        return {}

    @property
    def folder(self) -> Path:
        """The flat Faiss folder, which other indexes may refer to; :class:`JPQError` if they are in another form."""
        raise JPQError(
            f"{self.path} is no flat Faiss folder, to which an index could refer: store copies of its vectors"
        )

    @property
    def chunk_rows(self) -> int:
        """Rows that :meth:`chunks` yields at once, 32 MB of them."""
        return max(1, _CHUNK // self.embeddings.shape[1])

    def chunks(
        self, rows: int | None = None, first: int = 0, stop: int | None = None
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Yield ``(first_row, (n, D) float32)`` copies of at most ``rows`` rows, checked to be finite.

        Args:
            rows: None: :attr:`chunk_rows`.
            first: row to begin with.
            stop: row to end before; None: all the rest.

        Raises:
            JPQError: an embedding holds NaN, infinity or a value beyond 1e18; the message names its row and docid.
        """
        rows = rows or self.chunk_rows
        stop = len(self.embeddings) if stop is None else stop
        for start in range(first, stop, rows):
            chunk = np.array(self.embeddings[start : min(start + rows, stop)])
            unusable = unusable_row(chunk)
            if unusable is not None:
                row = start + unusable[0]
                raise JPQError(
                    f"{self.path}: the embedding of docid {self.docids[row]} (row {row}) {unusable[1]}: encode that "
                    "document again"
                )
            yield start, chunk

    def check_finite(self) -> None:
        """Read every embedding and raise :class:`JPQError` at the first that is not finite."""
        for _ in self.chunks():
            pass

    def sample(self, count: int, seed: int) -> np.ndarray:
        """Return (n, D) float32 copies of ``count`` rows drawn without replacement, or of all when there are fewer."""
        if count >= len(self.embeddings):
            return np.array(self.embeddings)
        rows = np.sort(np.random.default_rng(seed).choice(len(self.embeddings), count, replace=False))
        sample = np.empty((count, self.embeddings.shape[1]), dtype=np.float32)
        for place, row in enumerate(rows):
            sample[place] = self.embeddings[row]
        return sample


class FlatFolder(Embeddings):
    """Embeddings in a flat Faiss folder, of which neither they nor the docids are held in memory."""

    @property
    def folder(self) -> Path:
        """See :attr:`Embeddings.folder`."""
        return self.path

    @classmethod
    def open(cls, path: str | os.PathLike) -> "FlatFolder":
        """Open a folder with ``index`` (IndexFlat, float32) and ``docid``.

        Raises:
            JPQError: a file is missing, empty or truncated, the index is not flat, the counts differ, or it is one for
                L2 distance whose embeddings rank otherwise by inner product.
        """
        path = Path(path)
        embeddings = map_embeddings(path / INDEX)
        if is_l2(path / INDEX):
            check_l2(path, embeddings)
        docids = Docids(path / DOCID).check()
        if len(docids) != len(embeddings):
            raise JPQError(
                f"{path}: docid has {len(docids):,} lines but index has {len(embeddings):,} embeddings: "
                "encode the collection again, an interrupted run leaves such a pair"
            )
        return cls(path, embeddings, docids)

    @classmethod
    def write(
        cls, path: str | os.PathLike, docids: Iterable[str], chunks: Iterable[np.ndarray], encoder: dict | None = None
    ) -> "FlatFolder":
        """Write a folder, byte for byte as Faiss writes an ``IndexFlatIP``, without holding the embeddings in memory.

        Args:
            path: the folder; made if need be. Not atomic: see :func:`jpq_pyserini.storage.new_directory`.
            docids: N external ids.
            chunks: arrays (n, D) float32, N rows in all.
            encoder: how the embeddings were made, for :attr:`encoder`.

        Raises:
            JPQError: no embeddings, or another number of docids.
        """
        path = Path(path)
        path.mkdir(parents=True, exist_ok=True)
        count = dimension = 0
        with open(path / INDEX, "wb") as file:
            file.write(bytes(_HEADER.size))
            for chunk in chunks:
                file.write(np.ascontiguousarray(chunk, "<f4").data)
                count, dimension = count + len(chunk), chunk.shape[1]
            file.seek(0)
            unused = 1 << 20
            file.write(_HEADER.pack(b"IxFI", dimension, count, unused, unused, 1, 0, count * dimension))
        with open(path / DOCID, "w", encoding="utf-8") as file:
            file.writelines(f"{docid}\n" for docid in docids)
        if encoder is not None:
            (path / FLAT_ENCODER).write_text(json.dumps(encoder, indent=2) + "\n", encoding="utf-8")
        return cls.open(path)

    @property
    def encoder(self) -> dict:
        """How the embeddings were made, as ``index embed`` records it beside them; empty when nothing is recorded."""
        try:
            return read_json(self.path / FLAT_ENCODER, "encode again, or remove it")
        except FileNotFoundError:
            return {}


def unusable_row(embeddings: np.ndarray) -> tuple[int, str] | None:
    """Return the first row of (n, D) float32 embeddings that cannot be searched, and why; None when there is none."""
    usable = np.abs(embeddings).max(axis=1, initial=0) < _LARGEST  # NaN is not
    if usable.all():
        return None
    row = int(np.argmin(usable))
    if not np.isfinite(embeddings[row]).all():
        return row, "holds NaN or infinity"
    return row, f"holds a value of {np.abs(embeddings[row]).max():.0e}, whose square is beyond float32"


def kind_in_words(fourcc: bytes) -> str:
    """Say what the first four bytes of a Faiss index mean."""
    return _KINDS.get(fourcc, f"a Faiss index of another kind ({ascii(fourcc.decode('latin-1'))[1:-1]})")


def is_flat(path: Path) -> bool:
    """Whether a file begins as a flat Faiss index does."""
    with open(path, "rb") as file:
        return file.read(4) in _FLAT_KINDS


def is_l2(path: Path) -> bool:
    """Whether a flat Faiss index is for L2 distance."""
    with open(path, "rb") as file:
        return _HEADER.unpack(file.read(_HEADER.size))[6] == _L2


def check_l2(path: Path, embeddings: np.ndarray) -> None:
    """Raise :class:`JPQError` if embeddings (N, D) rank otherwise by L2 distance than by inner product.

    They rank alike if all have one length; 1,000 of them are looked at.
    """
    rows = np.linspace(0, len(embeddings) - 1, min(len(embeddings), 1000)).astype(np.int64)
    lengths = np.linalg.norm(np.asarray(embeddings[rows], np.float32), axis=1)
    if lengths.max() - lengths.min() > _ALIKE * lengths.max():
        raise JPQError(
            f"{path} is an index for L2 distance, and its embeddings have lengths from {lengths.min():.3g} to "
            f"{lengths.max():.3g}: by inner product, which JPQ learns, they rank otherwise; encode with an encoder "
            "trained for inner product, or normalise the embeddings"
        )


def map_embeddings(path: Path) -> np.memmap:
    """Map the floats of a flat Faiss index, (N, D) float32; :class:`JPQError` if it is missing or truncated."""
    check_input(path)
    try:
        size = path.stat().st_size
        with open(path, "rb") as file:
            head = file.read(_HEADER.size)
    except FileNotFoundError:
        raise JPQError(
            f"{path} is missing: a flat folder is what `python -m pyserini.encode … --to-faiss` writes"
        ) from None
    refuse_pointer(path, head)
    if size < _HEADER.size:
        raise JPQError(f"{path} has {size} bytes, too few for a Faiss index: encode the collection again")
    kind, dimension, count, _, _, _, metric, values = _HEADER.unpack(head)
    if kind not in _FLAT_KINDS:
        raise JPQError(
            f"{path} is {kind_in_words(kind)}, not a flat one: JPQ learns from "
            "uncompressed embeddings, "
            "as `python -m pyserini.encode … output --to-faiss` writes them"
        )
    if metric not in (_INNER_PRODUCT, _L2):
        raise JPQError(f"{path} is for another metric than inner product (Faiss's number {metric}): encode for that")
    # Older Faiss counts floats here, newer bytes; either way the data is count·dimension floats to the end of the file.
    wanted = _HEADER.size + 4 * count * dimension
    if values not in (count * dimension, 4 * count * dimension) or size < wanted:
        raise JPQError(
            f"{path} is truncated: {size:,} bytes, {wanted:,} expected for {count:,} × {dimension}; copy it again"
        )
    if count == 0:
        raise JPQError(f"{path} holds no embeddings: encode a collection that has documents")
    return np.memmap(path, dtype="<f4", mode="r", offset=_HEADER.size, shape=(count, dimension))
