"""Faiss indexes from a codec and codes, and back: the only place that takes Faiss objects apart.

Every layout is a plain Faiss index that takes *unrotated* query embeddings and gives the scores of equation 12, so an
unmodified Pyserini can search it.
"""

import os

import faiss
import numpy as np

from jpq_pyserini.codec import ProductQuantizer, pack_codes, unpack_codes
from jpq_pyserini.errors import JPQError

LAYOUTS = ("pq",)


def build(codec: ProductQuantizer, codes: np.ndarray) -> faiss.Index:
    """Build the ``pq`` layout: OPQ rotation, then exhaustive search over codes (N, M) with inner product.

    Faiss scores with one lookup table a query and float sums: exactly equations 11 and 12.
    """
    index = faiss.IndexPQ(codec.dimension, codec.m, codec.nbits, faiss.METRIC_INNER_PRODUCT)
    index.is_trained = True
    set_centroids(index, codec.centroids)
    faiss.copy_array_to_vector(pack_codes(codes, codec.nbits).ravel(), index.codes)
    index.ntotal = len(codes)
    return index if codec.rotation is None else _behind_rotation(index, codec.rotation)


def set_centroids(index: faiss.IndexPQ, centroids: np.ndarray) -> None:
    """Overwrite the centroids (M, K, D/M) of a built index; its codes stay. Costs one copy of 4·K·D bytes."""
    faiss.copy_array_to_vector(np.ascontiguousarray(centroids, dtype=np.float32).ravel(), index.pq.centroids)


def read(path: str | os.PathLike) -> faiss.Index:
    """Read a Faiss index file.

    Raises:
        JPQError: the file is missing, empty, truncated or no Faiss index.
    """
    path = os.fspath(path)
    if not os.path.isfile(path):
        raise JPQError(f"{path} is missing: name an index directory, which holds the files index and docid")
    if os.path.getsize(path) == 0:
        raise JPQError(f"{path} is empty: the copy or the build was interrupted, make it again")
    try:
        return faiss.read_index(path)
    except RuntimeError as error:
        reason = str(error).split("Error: ")[-1].splitlines()[0]
        raise JPQError(f"{path} is truncated or no Faiss index ({reason}): copy or build it again") from error


def codes_of(index: faiss.Index) -> np.ndarray:
    """Return the codes (N, M) uint8 inside an index that :func:`build` made; a copy."""
    index = without_rotation(index)
    if not isinstance(index, faiss.IndexPQ):
        raise JPQError(f"a Faiss index of type {type(index).__name__} is no layout of ours ({', '.join(LAYOUTS)})")
    packed = faiss.vector_to_array(index.codes).reshape(index.ntotal, index.pq.code_size)
    return unpack_codes(packed, index.pq.M, index.pq.nbits)


def without_rotation(index: faiss.Index) -> faiss.Index:
    """Return what is behind the rotation: the quantized index itself, which takes rotated queries."""
    index = faiss.downcast_index(index)
    return faiss.downcast_index(index.index) if isinstance(index, faiss.IndexPreTransform) else index


def _behind_rotation(index: faiss.Index, rotation: np.ndarray) -> faiss.IndexPreTransform:
    dimension = len(rotation)
    transform = faiss.LinearTransform(dimension, dimension, False)
    faiss.copy_array_to_vector(rotation.ravel(), transform.A)
    transform.is_trained = True
    transform.set_is_orthonormal()  # so that vectors can be rotated back, as PRF wants them
    rotated = faiss.IndexPreTransform(transform, index)
    rotated.own_fields = True
    transform.this.disown()
    index.this.disown()
    return rotated
