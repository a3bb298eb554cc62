"""The authors' Faiss files, ``OPQ{M},IVF1,PQ{M}x8.index``, taken apart into a codec and codes."""

import os

import faiss
import numpy as np

from jpq_pyserini.codec.quantizer import ProductQuantizer
from jpq_pyserini.errors import JPQError
from jpq_pyserini.index import layouts
from jpq_pyserini.index.release.encoder import ReleasedEncoder

#: How such files begin: IndexPreTransform, or IndexIVFPQ without the rotation.
FAISS_FILES = (b"IxPT", b"IwPQ")


def read_index(
    path: str | os.PathLike, queries: ReleasedEncoder | None = None, documents: ReleasedEncoder | None = None
) -> tuple[ProductQuantizer, np.ndarray]:
    """Read ``OPQ{M},IVF1,PQ{M}x8.index``; returns the codec and the codes (N, M) uint8 in the order of the ids.

    Faiss codes the difference to the one coarse centroid: score = ⟨q, coarse⟩ + Σ τ. Adding that centroid to those of
    the sub-vectors gives the same codes and the same scores without it.

    Args:
        path: the file.
        queries: the :class:`.ReleasedEncoder` whose rotation counts when the file has none.
        documents: the one whose centroids the documents were assigned with; without it the trained ones stand in, which
            is right for searching, and new documents cannot be added.

    Raises:
        JPQError: it is another kind of index.
    """
    index = layouts.read(path)
    rotation = _rotation_of(index, path)
    ivf = layouts.without_rotation(index)
    if not isinstance(ivf, faiss.IndexIVFPQ) or ivf.nlist != 1 or ivf.metric_type != faiss.METRIC_INNER_PRODUCT:
        raise JPQError(
            f"{path} is a {type(ivf).__name__}, not an OPQ{{M}},IVF1,PQ{{M}}x8 index for inner product: "
            "name an index file of the authors' release"
        )
    centroids, codes = _contents(ivf, path)
    if rotation is None and queries is not None:
        rotation = queries.rotation
    if queries is not None and queries.dimension != index.d:
        raise JPQError(
            f"{path} has dimension {index.d}, the encoder {queries.path} {queries.dimension}: "
            "take both from one release"
        )
    assignment = centroids
    if documents is not None and documents.centroids is not None:
        if documents.centroids.shape != centroids.shape:
            raise JPQError(
                f"{documents.path} has centroids of shape {documents.centroids.shape}, {path} of {centroids.shape}: "
                "take the index and the encoders with the same M"
            )
        assignment = documents.centroids
    return ProductQuantizer(centroids, assignment, rotation), codes


def _contents(ivf: faiss.IndexIVFPQ, path) -> tuple[np.ndarray, np.ndarray]:
    """Return the centroids (M, K, D/M), with the coarse one added, and the codes (N, M) in the order of the ids."""
    pq, count = ivf.pq, ivf.ntotal
    if pq.nbits != 8:
        raise JPQError(f"{path} has {pq.nbits} bits a code, the authors' have 8: name an index file of their release")
    centroids = faiss.vector_to_array(pq.centroids).reshape(pq.M, pq.ksub, pq.dsub)
    coarse = np.zeros((pq.M, 1, pq.dsub), dtype=np.float32)
    if ivf.by_residual:
        coarse = ivf.quantizer.reconstruct(0).reshape(pq.M, 1, pq.dsub)
    ids = faiss.rev_swig_ptr(ivf.invlists.get_ids(0), count)
    order = np.argsort(ids, kind="stable")
    if not np.array_equal(ids[order], np.arange(count)):
        raise JPQError(
            f"{path}: the ids are not 0 to {count - 1:,}, so rows of the collection are unknown: fetch it again"
        )
    packed = faiss.rev_swig_ptr(ivf.invlists.get_codes(0), count * ivf.code_size).reshape(count, ivf.code_size)
    return centroids + coarse, packed[order]


def has_own_centroids(documents: ReleasedEncoder | None) -> bool:
    """Tell whether the document encoder is a dual encoder's, with the centroids that documents are assigned to."""
    return documents is not None and documents.centroids is not None


def _rotation_of(index: faiss.Index, path) -> np.ndarray | None:
    index = faiss.downcast_index(index)
    if not isinstance(index, faiss.IndexPreTransform):
        return None
    transform = faiss.downcast_VectorTransform(index.chain.at(0)) if index.chain.size() == 1 else None
    if not isinstance(transform, faiss.LinearTransform) or transform.have_bias or transform.d_in != transform.d_out:
        raise JPQError(f"{path} transforms vectors by more than one rotation: name an index of the authors' release")
    return faiss.vector_to_array(transform.A).reshape(transform.d_out, transform.d_in)
