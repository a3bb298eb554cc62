"""The searchers that ``eval.latency`` compares, each behind one small interface.

A system is built in its own process from :class:`Data` and then has ``search(queries, k) -> rows``, ``set(setting)``
(nprobe, efSearch, …), ``threads(n)`` and ``bytes``, the size of what it keeps on disk.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

_ADD_ROWS = 1 << 16
_DISTINCT_CODES = 1_000_000  # synthetic codes beyond these are repeated


@dataclass(frozen=True)
class Data:
    """What a system is built from.

    Attributes:
        count, dimension: N, D.
        bytes: bytes a document of the compressed systems.
        vectors: file of (N, D) float32 (``numpy.save``), or None for systems that need none.
        index: JPQ index directory, or None: random codes.
        seed: of everything random.
    """

    count: int
    dimension: int
    bytes: int
    vectors: str | None = None
    index: str | None = None
    seed: int = 42


class _Faiss:
    """Any Faiss index, or our :class:`~jpq_pyserini.exact.ExactIndex` over one."""

    def __init__(self, index, bytes_: int, set_=None):
        self._index, self.bytes, self._set = index, bytes_, set_

    def search(self, queries: np.ndarray, k: int) -> np.ndarray:
        return self._index.search(queries, k)[1]

    def set(self, setting) -> None:
        self._set(setting)

    def threads(self, count: int) -> None:
        import faiss

        faiss.omp_set_num_threads(count)


class _Scann:
    def __init__(self, searcher, bytes_: int):
        self._searcher, self.bytes, self._threads, self._leaves = searcher, bytes_, 1, None

    def search(self, queries: np.ndarray, k: int) -> np.ndarray:
        if len(queries) == 1:
            leaves = -1 if self._leaves is None else self._leaves
            return self._searcher.search(queries[0], final_num_neighbors=k, leaves_to_search=leaves)[0][None]
        run = self._searcher.search_batched if self._threads == 1 else self._searcher.search_batched_parallel
        return run(queries, final_num_neighbors=k, leaves_to_search=self._leaves)[0]

    def set(self, setting) -> None:
        self._leaves = setting

    def threads(self, count: int) -> None:
        self._threads = count
        self._searcher.set_num_threads(count)


class _Annoy:
    def __init__(self, index, bytes_: int):
        self._index, self.bytes, self._search_k, self._pool = index, bytes_, -1, None

    def search(self, queries: np.ndarray, k: int) -> np.ndarray:
        def one(query):
            rows = self._index.get_nns_by_vector(query, k, search_k=self._search_k)
            return rows + [-1] * (k - len(rows))

        run = map if self._pool is None or len(queries) == 1 else self._pool.map
        return np.array(list(run(one, queries)))

    def set(self, setting) -> None:
        self._search_k = setting

    def threads(self, count: int) -> None:
        self._pool = ThreadPoolExecutor(count) if count > 1 else None


def _flat(data: Data) -> _Faiss:
    import faiss

    index = faiss.IndexFlatIP(data.dimension)
    _add(index, data)
    return _Faiss(index, 4 * data.count * data.dimension)


def _hnsw(data: Data) -> _Faiss:
    import faiss

    index = faiss.IndexHNSWFlat(data.dimension, 32, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = 100
    _add(index, data)
    size = len(faiss.serialize_index(index))
    return _Faiss(index, size, lambda ef: setattr(index.hnsw, "efSearch", ef))


def _scann(data: Data) -> _Scann:
    import scann

    vectors = np.load(data.vectors, mmap_mode="r")
    builder = scann.scann_ops_pybind.builder(np.ascontiguousarray(vectors), 100, "dot_product")
    # 4 bits a block: as many blocks as two a byte; no re-ordering by the vectors themselves, which costs 4·D bytes each
    builder = builder.score_ah(data.dimension // (2 * data.bytes), anisotropic_quantization_threshold=0.2)
    return _Scann(builder.build(), data.count * data.bytes)


def _annoy(data: Data) -> _Annoy:
    import annoy

    index = annoy.AnnoyIndex(data.dimension, "dot")
    index.set_seed(data.seed)
    for row, vector in enumerate(np.load(data.vectors, mmap_mode="r")):
        index.add_item(row, vector)
    index.build(50, n_jobs=1)
    path = Path(f"{data.vectors}.annoy")
    index.save(str(path))
    size = path.stat().st_size
    path.unlink()  # it stays mapped
    return _Annoy(index, size)


def _jpq(layout: str, nbits: int, exact: bool = True) -> Callable[[Data], _Faiss]:
    def build(data: Data) -> _Faiss:
        import faiss

        from jpq_pyserini import layouts
        from jpq_pyserini.exact import ExactIndex
        from jpq_pyserini.names import INDEX

        if data.index is None:
            index = _random_index(data, layout, nbits)
            size = len(faiss.serialize_index(index)) if data.count <= _DISTINCT_CODES else data.count * data.bytes
        else:
            path = os.path.join(data.index, INDEX)
            index, size = layouts.read(path), os.path.getsize(path)
        return _Faiss(ExactIndex(index) if exact else index, size, lambda nprobe: layouts.set_nprobe(index, nprobe))

    return build


def _random_index(data: Data, layout: str, nbits: int):
    """Random centroids, a random rotation, random codes: the work of a search is the same as with learnt ones."""
    from jpq_pyserini import layouts
    from jpq_pyserini.codec import ProductQuantizer

    rng = np.random.default_rng(data.seed)
    m = data.bytes * 8 // nbits
    centroids = rng.standard_normal((m, 1 << nbits, data.dimension // m), dtype=np.float32)
    rotation = np.linalg.qr(rng.standard_normal((data.dimension, data.dimension)))[0]
    codec = ProductQuantizer(centroids, centroids, rotation)
    codes = rng.integers(0, 1 << nbits, (min(data.count, _DISTINCT_CODES), m), dtype=np.uint8)
    if data.count > len(codes):
        codes = np.resize(codes, (data.count, m))
    coarse = None
    if layout.startswith("ivf"):
        nlist = max(16, round(data.count**0.5))
        coarse = layouts.Coarse(rng.standard_normal((nlist, data.dimension), dtype=np.float32), max(1, nlist // 32))
    return layouts.build(codec, codes, layout, coarse)


def _add(index, data: Data) -> None:
    vectors = np.load(data.vectors, mmap_mode="r")
    for start in range(0, len(vectors), _ADD_ROWS):
        index.add(np.ascontiguousarray(vectors[start : start + _ADD_ROWS]))


@dataclass(frozen=True)
class System:
    """One line of the comparison.

    Attributes:
        name: what ``--systems`` calls it.
        title: what tables call it.
        build: makes it from :class:`Data`.
        module: what must be importable, with the name to install it by.
        needs_vectors: built from embeddings, rather than codes.
        setting: what is varied, and its values for real data; None when nothing is.
    """

    name: str
    title: str
    build: Callable[[Data], object]
    module: str = "faiss"
    needs_vectors: bool = False
    setting: tuple[str, tuple] | None = None

    def memory(self, count: int, dimension: int, bytes_: int) -> int:
        """Estimate the bytes of memory that building takes."""
        if not self.needs_vectors:
            return count * bytes_ * 5
        return count * (4 * dimension * (2 if self.name in ("scann", "annoy") else 1) + 300)


_PROBES = (1, 2, 4, 8, 16, 32, 64, 128)
_EF = (16, 32, 64, 128, 256, 512)
SYSTEMS = {
    each.name: each
    for each in (
        System("flat", "flat, float32", _flat, needs_vectors=True),
        System("pq8", "PQ, 8 bits (the paper's)", _jpq("pq", 8)),
        System("fastscan", "JPQ fastscan, 4 bits", _jpq("fastscan", 4)),
        System("fastscan-rounded", "the same, not re-scored", _jpq("fastscan", 4, exact=False)),
        System("ivf", "JPQ ivf, 8 bits", _jpq("ivf", 8), setting=("nprobe", _PROBES)),
        System("ivf-fastscan", "JPQ ivf-fastscan, 4 bits", _jpq("ivf-fastscan", 4), setting=("nprobe", _PROBES)),
        System("hnsw", "HNSW, M=32", _hnsw, needs_vectors=True, setting=("efSearch", _EF)),
        System("scann", "ScaNN, 4 bits", _scann, module="scann", needs_vectors=True),
        System(
            "annoy",
            "Annoy, 50 trees",
            _annoy,
            module="annoy",
            needs_vectors=True,
            setting=("search_k", (1000, 5000, 20000, 80000)),
        ),
    )
}
