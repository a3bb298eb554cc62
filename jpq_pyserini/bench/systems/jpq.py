"""The layouts of an index directory of ours, however it was trained: JPQ, DPQ, OPQ; random codes without one."""

import os
from collections.abc import Callable
from functools import partial

import numpy as np

from jpq_pyserini.bench.systems._base import Data, SettingError, System
from jpq_pyserini.bench.systems._faiss import FaissSearcher
from jpq_pyserini.errors import JPQError
from jpq_pyserini.lazy import Later
from jpq_pyserini.names import INDEX

faiss, layouts, quantizer = Later("faiss"), Later("jpq_pyserini.index.layouts"), Later("jpq_pyserini.codec.quantizer")
exact, rescoring = Later("jpq_pyserini.index.exact"), Later("jpq_pyserini.index.rescoring")

_DISTINCT_CODES = 1_000_000  # synthetic codes beyond these are repeated
_PROBES = (1, 2, 4, 8, 16, 32, 64, 128)


class _Layout(FaissSearcher):
    """A layout; its second stage is that of :class:`~jpq_pyserini.plugin.searcher.JPQFaissSearcher`."""

    def __init__(self, index, size: int, in_order: bool):
        super().__init__(exact.ExactIndex(index) if in_order else index, size, partial(_set_nprobe, index))
        self._faiss_index = index

    def rescored(self, vectors, candidates):
        return FaissSearcher(rescoring.RescoringIndex(self._faiss_index, vectors, candidates=candidates), self.bytes)


def _layout(layout: str, nbits: int, in_order: bool = True) -> Callable:
    def build(data: Data):
        if data.index is None:
            index = _random_index(data, layout, nbits)
            size = len(faiss.serialize_index(index)) if data.count <= _DISTINCT_CODES else data.count * data.bytes
        else:
            path = os.path.join(data.index, INDEX)
            index, size = layouts.read(path), os.path.getsize(path)
        return _Layout(index, size, in_order)

    return build


def _set_nprobe(index, nprobe: int) -> None:
    try:
        layouts.set_nprobe(index, nprobe)
    except JPQError as error:
        raise SettingError(str(error)) from None


def _random_index(data: Data, layout: str, nbits: int):
    """Random centroids, a random rotation, random codes: the work of a search is the same as with learnt ones."""
    rng = np.random.default_rng(data.seed)
    m = data.bytes * 8 // nbits
    centroids = rng.standard_normal((m, 1 << nbits, data.dimension // m), dtype=np.float32)
    rotation = np.linalg.qr(rng.standard_normal((data.dimension, data.dimension)))[0]
    codec = quantizer.ProductQuantizer(centroids, centroids, rotation)
    codes = rng.integers(0, 1 << nbits, (min(data.count, _DISTINCT_CODES), m), dtype=np.uint8)
    if data.count > len(codes):
        codes = np.resize(codes, (data.count, m))
    coarse = None
    if layout.startswith("ivf"):
        nlist = max(16, round(data.count**0.5))
        coarse = layouts.Coarse(rng.standard_normal((nlist, data.dimension), dtype=np.float32), max(1, nlist // 32))
    return layouts.build(codec, codes, layout, coarse)


SYSTEMS = tuple(
    System(name, title, "layout", build, takes="codes", setting=setting)
    for name, title, build, setting in (
        ("pq8", "PQ, 8 bits (the paper's)", _layout("pq", 8), None),
        ("fastscan", "JPQ fastscan, 4 bits", _layout("fastscan", 4), None),
        ("fastscan-rounded", "the same, not re-scored", _layout("fastscan", 4, in_order=False), None),
        ("ivf", "JPQ ivf, 8 bits", _layout("ivf", 8), ("nprobe", _PROBES)),
        ("ivf-fastscan", "JPQ ivf-fastscan, 4 bits", _layout("ivf-fastscan", 4), ("nprobe", _PROBES)),
    )
)
