"""Faiss indexes from a codec and codes, and back: the only place that takes Faiss objects apart.

Every layout is a plain Faiss index that takes *unrotated* query embeddings and gives the scores of equation 12, so an
unmodified Pyserini can search it:

``pq``
    exhaustive, float tables; 4 or 8 bits. The paper's index.
``fastscan``
    exhaustive, 4 bits; tables of 8-bit integers in registers, some ten times faster; scores are rounded.
``ivf``, ``ivf-fastscan``
    the same codes in inverted lists, of which a query visits ``nprobe``; the number is kept in the file.
"""

import os
from dataclasses import replace

import faiss
import numpy as np

from jpq_pyserini.codec.quantizer import ProductQuantizer
from jpq_pyserini.errors import JPQError, reason_of
from jpq_pyserini.index.layouts import exhaustive, inverted
from jpq_pyserini.index.layouts.exhaustive import use_huge_pages
from jpq_pyserini.index.layouts.inverted import Coarse, released, train_coarse
from jpq_pyserini.index.layouts.soundness import damage_of
from jpq_pyserini.names import LAYOUTS
from jpq_pyserini.storage import check_name

__all__ = [
    "LAYOUTS",
    "Coarse",
    "behind_rotation",
    "build",
    "check_layout",
    "coarse_of",
    "codec_inside",
    "codes_of",
    "inner_product_tables",
    "layout_of",
    "lists_of",
    "packed_codes",
    "quantizer_of",
    "read",
    "released",
    "rotation_of",
    "set_centroids",
    "set_nprobe",
    "train_coarse",
    "use_huge_pages",
    "without_rotation",
]

#: Name of a layout → the class that Faiss gives it, behind the rotation.
_CLASSES = dict(
    zip(LAYOUTS, (faiss.IndexPQ, faiss.IndexPQFastScan, faiss.IndexIVFPQ, faiss.IndexIVFPQFastScan), strict=True)
)
#: Each kind of index has its own way of being mapped: flat codes by reference, inverted lists as "on disk" ones.
_MAPPED_FLAGS = {None: 0, "flat": faiss.IO_FLAG_MMAP_IFC, "pq": faiss.IO_FLAG_MMAP_IFC, "ivf": faiss.IO_FLAG_MMAP}


def build(
    codec: ProductQuantizer,
    codes: np.ndarray,
    layout: str = "pq",
    coarse: Coarse | None = None,
    progress: bool = False,
    lists: np.ndarray | None = None,
) -> faiss.Index:
    """Build a layout from codes (N, M) uint8: OPQ rotation, then search with inner product.

    Args:
        codec: scores with its trained centroids.
        codes: (N, M) uint8.
        layout: one of :data:`LAYOUTS`.
        coarse: the coarse centroids; needed for ``ivf`` and ``ivf-fastscan``.
        progress: show a bar while documents are assigned to lists.
        lists: (n,) int64, the lists of the first n documents where they are known (:func:`lists_of`); only the others
            are assigned.

    Raises:
        JPQError: the layout is unknown, or the codec's bits do not fit it.
    """
    check_layout(layout, codec.nbits)
    if layout in ("pq", "fastscan"):
        index = exhaustive.build_pq(codec, codes)
        if layout == "fastscan":
            index = exhaustive.to_fastscan(index)
    else:
        if coarse is None:
            raise JPQError(f"the layout {layout} needs coarse centroids: make them with layouts.train_coarse")
        index = inverted.build_ivf(codec, codes, coarse, progress, lists)
        if layout == "ivf-fastscan":
            index = inverted.to_fastscan(index)
    return index if codec.rotation is None else behind_rotation(index, codec.rotation)


def check_layout(layout: str, nbits: int) -> None:
    """Raise :class:`JPQError` if there is no such layout or codes of ``nbits`` cannot be laid out so."""
    if layout not in LAYOUTS:
        raise JPQError(f"the layout {layout!r} is unknown: choose one of {', '.join(LAYOUTS)}")
    if layout.endswith("fastscan") and nbits != 4:
        raise JPQError(
            f"the layout {layout} needs 4-bit codes and these have {nbits} bits, which no conversion changes: train "
            "with --nbits 4 and twice the --m, which is as many bytes a document"
        )


def set_centroids(index: faiss.IndexPQ, centroids: np.ndarray) -> None:
    """Overwrite the centroids (M, K, D/M) of a built index; its codes stay. Costs one copy of 4·K·D bytes."""
    exhaustive.copy_centroids(centroids, index.pq)


def read(path: str | os.PathLike, mapped: str | None = None) -> faiss.Index:
    """Read a Faiss index file.

    Args:
        path: the file.
        mapped: the layout in it, to leave the codes on disk, where the system reads what is searched; only ``pq`` and
            ``ivf`` can be mapped, Faiss copies the blocks of the fast-scan layouts.

    Raises:
        JPQError: the file is missing, empty, truncated, damaged or no Faiss index, or its layout cannot be mapped.
    """
    path = os.fspath(path)
    check_name(path)
    if not os.path.isfile(path):
        raise JPQError(f"{path} is missing: name an index directory, which holds the files index and docid")
    if os.path.getsize(path) == 0:
        raise JPQError(f"{path} is empty: the copy or the build was interrupted, make it again")
    if mapped not in _MAPPED_FLAGS:
        raise JPQError(
            f"{path} has the layout {mapped}, which Faiss cannot memory-map: open it without mmap, or convert it to pq "
            "or ivf with `python -m jpq_pyserini.index convert`"
        )
    try:
        index = faiss.read_index(path, _MAPPED_FLAGS[mapped])
        if wrong := damage_of(index):
            raise RuntimeError(wrong)
    except (RuntimeError, MemoryError, ValueError, OverflowError) as error:  # a size that cannot be is bad_alloc
        reason = reason_of(error).split("Error: ")[-1]
        raise JPQError(f"{path} is truncated or no Faiss index ({reason}): copy or build it again") from error
    return index


def layout_of(index: faiss.Index) -> str:
    """Return which of :data:`LAYOUTS` an index has, or ``"flat"``; :class:`JPQError` when it is something else."""
    inner = without_rotation(index)
    if isinstance(inner, faiss.IndexFlat):
        return "flat"  # an index directory without codes, as training's flat method writes it
    for layout, kind in _CLASSES.items():
        if type(inner) is kind:
            return layout
    raise JPQError(f"a Faiss index of type {type(inner).__name__} is no layout of ours ({', '.join(LAYOUTS)})")


def packed_codes(index: faiss.Index):
    """Return a reader of the codes inside ``index`` that copies nothing: ``reader[rows]`` → (n, M) uint8.

    It is valid as long as ``index`` lives, and keeps it alive.
    """
    inner = without_rotation(index)
    return {
        "pq": exhaustive.PlainCodes,
        "fastscan": exhaustive.BlockCodes,
        "ivf": inverted.ListCodes,
        "ivf-fastscan": inverted.BlockListCodes,
    }[layout_of(index)](inner)


def codes_of(index: faiss.Index) -> np.ndarray:
    """Return the codes (N, M) uint8 inside an index that :func:`build` made; a copy."""
    reader = packed_codes(index)
    codes = np.empty((index.ntotal, quantizer_of(index).M), dtype=np.uint8)
    for start in range(0, len(codes), 1 << 16):
        rows = np.arange(start, min(start + (1 << 16), len(codes)))
        codes[rows] = reader[rows]
    return codes


def coarse_of(index: faiss.Index) -> Coarse | None:
    """Return the coarse centroids and nprobe inside an index; None when its layout has none."""
    return inverted.coarse_inside(without_rotation(index)) if layout_of(index).startswith("ivf") else None


def lists_of(index: faiss.Index) -> np.ndarray | None:
    """Return the list of each document, (N,) int64; None when the layout has none."""
    return inverted.lists_inside(without_rotation(index)) if layout_of(index).startswith("ivf") else None


def set_nprobe(index: faiss.Index, nprobe: int) -> None:
    """Let queries visit ``nprobe`` lists; :class:`JPQError` if there are not so many, or none."""
    coarse = coarse_of(index)
    if coarse is None:
        raise JPQError(f"nprobe {nprobe} was given, but the layout {layout_of(index)} has no lists: leave it out")
    without_rotation(index).nprobe = replace(coarse, nprobe=nprobe).nprobe


def quantizer_of(index: faiss.Index) -> faiss.ProductQuantizer:
    """Return Faiss's own product quantizer inside an index; it lives as long as the index."""
    return without_rotation(index).pq


def codec_inside(index: faiss.Index) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the centroids (M, K, D/M) that documents are scored with, and the rotation (D, D) or None: no copies."""
    quantizer, rotation = quantizer_of(index), rotation_of(index)
    centroids = _view(index, quantizer.centroids).reshape(quantizer.M, quantizer.ksub, quantizer.dsub)
    if rotation is None:
        return centroids, None
    return centroids, _view(index, rotation.A).reshape(rotation.d_out, rotation.d_in)


def rotation_of(index: faiss.Index) -> faiss.LinearTransform | None:
    """Return Faiss's own rotation before an index, None if there is none; it lives as long as the index.

    Raises:
        JPQError: what is before the index is more than one rotation.
    """
    outer = faiss.downcast_index(index)
    if not isinstance(outer, faiss.IndexPreTransform):
        return None
    transform = faiss.downcast_VectorTransform(outer.chain.at(0)) if outer.chain.size() == 1 else None
    if not isinstance(transform, faiss.LinearTransform) or transform.have_bias or transform.d_in != transform.d_out:
        raise JPQError("the index transforms vectors by more than one rotation: name a JPQ index")
    return transform


def inner_product_tables(index: faiss.Index, rotated: np.ndarray) -> np.ndarray:
    """Return τ of equation 11, (B, M, K) float32, for rotated queries (B, D) float32: the tables that Faiss makes."""
    quantizer = quantizer_of(index)
    tables = np.empty((len(rotated), quantizer.M, quantizer.ksub), dtype=np.float32)
    quantizer.compute_inner_prod_tables(len(rotated), faiss.swig_ptr(rotated), faiss.swig_ptr(tables))
    return tables


class _Owned:
    """What numpy makes an array of that keeps the memory's owner alive."""

    def __init__(self, view: np.ndarray, owner: faiss.Index):
        self.__array_interface__, self.owner = view.__array_interface__, owner


def _view(index: faiss.Index, vector) -> np.ndarray:
    return np.asarray(_Owned(faiss.rev_swig_ptr(vector.data(), vector.size()), index))


def without_rotation(index: faiss.Index) -> faiss.Index:
    """Return what is behind the rotation: the quantized index itself, which takes rotated queries."""
    index = faiss.downcast_index(index)
    return faiss.downcast_index(index.index) if isinstance(index, faiss.IndexPreTransform) else index


def behind_rotation(index: faiss.Index, rotation: np.ndarray) -> faiss.IndexPreTransform:
    """Put a rotation (D, D) before an index, which from now on belongs to the returned one."""
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
