"""Vectors that a Faiss index still holds, whatever it is for: read back in the order of their ids."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jpq_pyserini.data.flat import check_l2, kind_in_words
from jpq_pyserini.errors import JPQError

logger = logging.getLogger(__name__)

_BLOCK = 1 << 23  # floats read back at once
_KINDS = "flat, IDMap, IDMap2, HNSW-Flat, IVF-Flat, RFlat, SQfp16, SQbf16 and SQ8 can be read"


class _Stored(NamedTuple):
    """What an index holds: (N,) ids in rising order, and what gives the vectors (n, D) of a part of them."""

    ids: np.ndarray
    vectors: Callable[[np.ndarray], np.ndarray]
    dtype: type = np.float32


def faiss_vectors(path: Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield ids (n,) int64, rising, and vectors (n, D), a block at a time; float16 if the index keeps no more.

    What a scalar quantizer has rounded away is told in a warning.

    Raises:
        RuntimeError: Faiss cannot read the file.
        JPQError: its vectors are gone (PQ) or transformed (OPQ); it is for L2 distance and
            the vectors differ in length.
    """
    import faiss

    index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP)  # owns what is in it
    stored = _stored(index, path)
    block = max(1, _BLOCK // index.d)
    l2 = index.metric_type == faiss.METRIC_L2
    if l2 and len(stored.ids):
        some = stored.ids[np.linspace(0, len(stored.ids) - 1, min(len(stored.ids), 1000)).astype(np.int64)]
        check_l2(path, stored.vectors(some))
    for start in range(0, len(stored.ids), block):
        ids = stored.ids[start : start + block]
        yield ids, stored.vectors(ids).astype(stored.dtype)


def _stored(index, path: Path) -> _Stored:
    import faiss

    if isinstance(index, faiss.IndexIDMap | faiss.IndexIDMap2):
        ids = faiss.vector_to_array(index.id_map)
        order = np.argsort(ids, kind="stable")
        inner = _stored(faiss.downcast_index(index.index), path)
        rows_of = ids[order]
        return _Stored(rows_of, lambda some: inner.vectors(order[np.searchsorted(rows_of, some)]), inner.dtype)
    if isinstance(index, faiss.IndexHNSW):
        return _stored(faiss.downcast_index(index.storage), path)
    if isinstance(index, faiss.IndexRefine):
        return _stored(faiss.downcast_index(index.refine_index), path)
    if isinstance(index, faiss.IndexIVFFlat | faiss.IndexIVFScalarQuantizer):
        lists = index.invlists
        parts = [faiss.rev_swig_ptr(lists.get_ids(i), lists.list_size(i)).copy() for i in range(index.nlist)]
        ids = np.sort(np.concatenate(parts)) if parts else np.empty(0, np.int64)
        index.set_direct_map_type(faiss.DirectMap.Hashtable)
    elif isinstance(index, faiss.IndexFlat | faiss.IndexScalarQuantizer):
        ids = np.arange(index.ntotal)
    else:
        with open(path, "rb") as file:
            kind = kind_in_words(file.read(4))
        raise JPQError(f"{path} is {kind}, whose vectors cannot be read back: {_KINDS}")
    return _Stored(ids, index.reconstruct_batch, _told_loss(index, path))


def _told_loss(index, path: Path) -> type:
    """Return the type of number that holds what a scalar quantizer left, which is said; float32 without one."""
    import faiss

    scalar = getattr(index, "sq", None)
    if scalar is None:
        return np.float32
    if scalar.qtype == faiss.ScalarQuantizer.QT_fp16:
        logger.warning("%s keeps float16 (SQfp16): the 11 leading bits of each number are left, which is enough", path)
        return np.float16
    if scalar.qtype == faiss.ScalarQuantizer.QT_bf16:
        logger.warning("%s keeps bfloat16 (SQbf16): the 8 leading bits of each number are left", path)
        return np.float32
    if scalar.qtype in (faiss.ScalarQuantizer.QT_8bit, faiss.ScalarQuantizer.QT_8bit_uniform):
        logger.warning(
            "%s keeps 8 bits a number (SQ8): training starts from vectors that are rounded to 256 steps a dimension",
            path,
        )
        return np.float32
    raise JPQError(f"{path} is a Faiss index of scalar codes of few bits, whose vectors are gone: {_KINDS}")
