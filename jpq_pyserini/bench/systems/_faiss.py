"""What the systems of Faiss share."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from jpq_pyserini.bench.systems._base import Data, Searcher, SettingError
from jpq_pyserini.errors import JPQError
from jpq_pyserini.lazy import Later
from jpq_pyserini.timing import timed

faiss = Later("faiss")

_ROWS = 1 << 16
#: Embeddings that training gets; of them Faiss draws 256 a centroid.
TRAINING_ROWS = 1 << 17


class FaissSearcher(Searcher):
    """Any Faiss index, or what behaves like one.

    Args:
        index: with ``search(queries, k)``.
        bytes_: its size; None: as it would be written.
        set_: what :meth:`set` calls.
    """

    def __init__(self, index, bytes_: int | None = None, set_: Callable | None = None):
        self._index, self._set = index, set_
        self.bytes = len(faiss.serialize_index(index)) if bytes_ is None else bytes_

    def search(self, queries, k):
        return self._index.search(queries, k)

    def set(self, value):
        (self._set or super().set)(value)

    def threads(self, count):
        faiss.omp_set_num_threads(count)


def built(key: str, data: Data, metric: int | None = None):
    """Build what Faiss's index factory calls ``key`` from the embeddings, by inner product unless told otherwise."""
    index = faiss.index_factory(data.dimension, key, faiss.METRIC_INNER_PRODUCT if metric is None else metric)
    if not index.is_trained:
        train(index, training_sample(data))
    add(index, data)
    return index


def training_sample(data: Data) -> np.ndarray:
    """Return the embeddings that Faiss trains on, (n, D) float32."""
    return data.sample(TRAINING_ROWS)


def train(index, vectors: np.ndarray) -> None:
    """Train an index, without the warnings that Faiss prints for small collections."""
    inner = index
    if isinstance(index, faiss.IndexPreTransform | faiss.IndexRefine):
        inner = faiss.downcast_index(getattr(index, "index", None) or index.base_index)
    for owner in (inner, getattr(inner, "pq", None), getattr(getattr(inner, "quantizer", None), "pq", None)):
        with contextlib.suppress(AttributeError):
            owner.cp.min_points_per_centroid = 1  # type: ignore[union-attr]
    if isinstance(inner, faiss.IndexPQ | faiss.IndexIVFPQ):
        inner.do_polysemous_training = False  # takes long, and is for Hamming distances alone
    index.train(vectors)


def add(index, data: Data) -> None:
    """Add the embeddings, a part at a time."""
    vectors = data.embeddings()
    for start in range(0, len(vectors), _ROWS):
        index.add(np.ascontiguousarray(vectors[start : start + _ROWS]))


def set_nprobe(index, nprobe: int) -> None:
    """Let queries visit ``nprobe`` lists; the HNSW over the lists, if there is one, looks for twice as many.

    Raises:
        SettingError: there are not so many.
    """
    inverted = faiss.extract_index_ivf(index)
    if not 1 <= nprobe <= inverted.nlist:
        raise SettingError(f"nprobe {nprobe}: must be from 1 to {inverted.nlist}, the number of lists")
    inverted.nprobe = nprobe
    quantizer = faiss.downcast_index(inverted.quantizer)
    if isinstance(quantizer, faiss.IndexHNSW):
        quantizer.hnsw.efSearch = max(16, 2 * nprobe)


def opq(data: Data) -> tuple[Any, float]:
    """Return Faiss's OPQ rotation for ``data.bytes`` sub-vectors, and the seconds saved by finding it made.

    It is kept beside the embeddings, so that the systems that start with it share one.
    """
    rotation = faiss.OPQMatrix(data.dimension, check_divides(data))
    path = Path(f"{data.vectors}.opq{data.bytes}.npz")
    if path.is_file():
        with np.load(path, allow_pickle=False) as kept:
            faiss.copy_array_to_vector(kept["rotation"].ravel(), rotation.A)
            seconds = float(kept["seconds"])
        rotation.is_trained = True
        rotation.set_is_orthonormal()
        return rotation, seconds
    quantizer = faiss.ProductQuantizer(data.dimension, data.bytes, 8)
    quantizer.cp.min_points_per_centroid = 1  # or it prints a warning a sub-vector and iteration
    rotation.pq = quantizer
    _, seconds = timed(lambda: rotation.train(training_sample(data)))
    rotation.pq = None
    np.savez(path, rotation=faiss.vector_to_array(rotation.A), seconds=seconds)
    return rotation, 0.0


def check_divides(data: Data) -> int:
    """Return the sub-vectors of a product quantizer of 8 bits: one a byte; :class:`JPQError` if D has no such parts."""
    if data.dimension % data.bytes:
        raise JPQError(f"{data.bytes} bytes do not divide dimension {data.dimension}: choose --bytes that do")
    return data.bytes
