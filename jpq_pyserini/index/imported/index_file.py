"""The authors' Faiss files, ``OPQ{M},IVF1,PQ{M}x8.index``, taken apart into a codec and codes."""

import os

import faiss
import numpy as np

from jpq_pyserini.codec.quantizer import ProductQuantizer
from jpq_pyserini.errors import JPQError
from jpq_pyserini.index import layouts
from jpq_pyserini.index.imported.encoder import ReleasedEncoder

#: How such files begin: IndexPreTransform, or IndexIVFPQ without the rotation.
FAISS_FILES = (b"IxPT", b"IwPQ")


def read_index(
    path: str | os.PathLike, queries: ReleasedEncoder | None = None, documents: ReleasedEncoder | None = None
) -> tuple[ProductQuantizer, np.ndarray]:
    """Read ``OPQ{M},IVF1,PQ{M}x8.index``; returns the codec and the codes (N, M) uint8 in the order of the ids.

    The one coarse centroid of the file becomes part of the others: :func:`jpq_pyserini.index.layouts.released`.

    Args:
        path: the file.
        queries: the :class:`.ReleasedEncoder` whose rotation counts when the file has none.
        documents: the one whose centroids the documents were assigned with; without it the trained ones stand in, which
            is right for searching, and new documents cannot be added.

    Raises:
        JPQError: it is another kind of index.
    """
    index = layouts.read(path)
    ivf = layouts.without_rotation(index)
    if not isinstance(ivf, faiss.IndexIVFPQ) or ivf.nlist != 1 or ivf.metric_type != faiss.METRIC_INNER_PRODUCT:
        raise JPQError(
            f"{path} is a {type(ivf).__name__}, not an OPQ{{M}},IVF1,PQ{{M}}x8 index for inner product: "
            "name an index file of the authors' release"
        )
    if ivf.pq.nbits != 8:
        raise JPQError(
            f"{path} has {ivf.pq.nbits} bits a code, the authors' have 8: name an index file of their release"
        )
    try:
        rotation = layouts.codec_inside(index)[1]
        centroids, codes = layouts.released(ivf)
    except JPQError as error:
        raise JPQError(f"{path}: {error}") from error
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


def has_own_centroids(documents: ReleasedEncoder | None) -> bool:
    """Tell whether the document encoder is a dual encoder's, with the centroids that documents are assigned to."""
    return documents is not None and documents.centroids is not None
