"""What Faiss reads without noticing that it is damaged: sizes, ids and numbers that do not belong together."""

import faiss
import numpy as np


def damage_of(index: faiss.Index) -> str | None:
    """Return what is wrong with an index of one of our layouts, or with a flat one; None when it can be searched.

    Reads the ids of inverted lists, 8 bytes a document, but no codes.
    """
    inner = faiss.downcast_index(index)
    if isinstance(inner, faiss.IndexPreTransform):
        if wrong := _wrong_rotation(inner):
            return wrong
        inner = faiss.downcast_index(inner.index)
    if not (index.is_trained and inner.is_trained):
        return "it says that it was never trained"
    if inner.metric_type != faiss.METRIC_INNER_PRODUCT and not isinstance(inner, faiss.IndexFlat):
        return "its metric is not the inner product"
    if inner.d != index.d or inner.ntotal != index.ntotal:
        return f"{index.ntotal:,} documents of dimension {index.d} outside, {inner.ntotal:,} of {inner.d} inside"
    if isinstance(inner, faiss.IndexFlat):
        return _wrong_size("embeddings", inner.codes.size(), inner.ntotal * inner.d * 4)
    if not hasattr(inner, "pq"):
        return None  # no layout of ours: the caller says so
    if isinstance(inner, faiss.IndexIVF) and (wrong := _wrong_lists(inner)):
        return wrong
    return _wrong_quantizer(inner) or _wrong_codes(inner)


def _wrong_rotation(index: faiss.IndexPreTransform) -> str | None:
    if index.chain.size() != 1:
        return f"{index.chain.size()} transformations before the codes"
    rotation = faiss.downcast_VectorTransform(index.chain.at(0))
    if not isinstance(rotation, faiss.LinearTransform):
        return f"a {type(rotation).__name__} before the codes"
    if not rotation.is_trained or not rotation.d_in == rotation.d_out == index.d or rotation.have_bias:
        return "a rotation of another dimension"
    matrix = faiss.vector_to_array(rotation.A)
    if wrong := _wrong_size("rotation", matrix.size, index.d**2):
        return wrong
    return None if np.isfinite(matrix).all() else "a rotation that is not finite"


def _wrong_codes(index: faiss.Index) -> str | None:
    if isinstance(index, faiss.IndexPQFastScan):
        blocks = -(-index.ntotal // index.bbs)
        return _wrong_size("codes", index.codes.size(), blocks * index.bbs * index.M2 // 2)
    if isinstance(index, faiss.IndexPQ):
        return _wrong_size("codes", index.codes.size(), index.ntotal * index.pq.code_size)
    return None  # in lists: Faiss reads as many as a list has documents


def _wrong_quantizer(index: faiss.Index) -> str | None:
    quantizer = index.pq
    M, sub, K = quantizer.M, quantizer.dsub, quantizer.ksub
    if not (1 <= quantizer.nbits <= 16 and M * sub == quantizer.d == index.d and 1 << quantizer.nbits == K):
        return f"M={M}, {sub} dimensions and {K} centroids a sub-vector, for D={index.d}"
    if quantizer.code_size != (M * quantizer.nbits + 7) // 8:
        return f"codes of {quantizer.code_size} bytes for M={M} of {quantizer.nbits} bits"
    if hasattr(index, "M2") and not (index.M == M and index.M2 == M + M % 2 and index.bbs > 0 and index.bbs % 32 == 0):
        return f"blocks of {index.bbs} documents for M={M}"
    centroids = faiss.vector_to_array(quantizer.centroids)
    if wrong := _wrong_size("centroids", centroids.size, K * index.d):
        return wrong
    return None if np.isfinite(centroids).all() else "centroids that are not finite"


def _wrong_lists(index: faiss.IndexIVF) -> str | None:
    lists, coarse = index.invlists, faiss.downcast_index(index.quantizer)
    if not isinstance(coarse, faiss.IndexFlat) or not lists.nlist == index.nlist == coarse.ntotal > 0:
        return f"{index.nlist:,} lists, {lists.nlist:,} stored, {coarse.ntotal:,} coarse centroids"
    if coarse.d != index.d or coarse.codes.size() != coarse.ntotal * coarse.d * 4:
        return "coarse centroids of another dimension or kind"
    if index.by_residual and index.nlist > 1:  # the authors' files have one list, of which nothing is subtracted
        return "codes of differences from the coarse centroids"
    if not 1 <= index.nprobe <= index.nlist:
        return f"queries that visit {index.nprobe:,} of {index.nlist:,} lists"
    seen = np.zeros(index.ntotal, dtype=bool)
    found = 0
    for number in range(index.nlist):
        size = lists.list_size(number)
        found += size
        if found > index.ntotal:
            break
        if size:
            ids = faiss.rev_swig_ptr(lists.get_ids(number), size)
            if ids.min() < 0 or ids.max() >= index.ntotal:
                return f"document numbers from {ids.min():,} to {ids.max():,} in list {number:,}, of {index.ntotal:,}"
            seen[ids] = True
    if found != index.ntotal or not seen.all():
        return f"lists of {found:,} documents, {int(seen.sum()):,} different ones, of {index.ntotal:,}"
    return None


def _wrong_size(what: str, found: int, wanted: int) -> str | None:
    return None if found == wanted else f"{found:,} numbers of {what}, {wanted:,} expected"
