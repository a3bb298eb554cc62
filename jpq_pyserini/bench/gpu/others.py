"""What our search over codes is compared with: flat search with torch, faiss-gpu and cuVS, where they are installed.

Each function returns makers by name. A maker builds an index of random vectors on the GPU and returns how it is
searched: a function of queries (B, D) float32 on the device, which gives its hits.
"""

import importlib
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch
from torch import Tensor

from jpq_pyserini.index.torch_search import best_in_tiles, tile_rows

Searcher = Callable[[Tensor], object]
Maker = Callable[[], Searcher]

LISTS, PROBES = 4096, 32
_BLOCK = 160_000  # vectors added at once, the same ones again and again; inverted indexes are trained on them


def torch_makers(device: str, documents: int, m: int, dimension: int, k: int) -> dict[str, Maker]:
    """Flat search with torch: float16 vectors multiplied with the queries tile by tile (float32 on a CPU)."""
    dtype = torch.float16 if device.startswith("cuda") else torch.float32

    def make() -> Searcher:
        vectors = torch.empty((documents, dimension), device=device, dtype=dtype)
        for start, block in _blocks(documents, dimension):
            vectors[start : start + len(block)] = torch.from_numpy(block).to(device, dtype)
        rows = tile_rows(dimension, vectors.element_size())
        starts = range(0, documents, rows)
        return lambda queries: best_in_tiles(queries.to(dtype), zip(starts, vectors.split(rows), strict=True), k)

    return {f"flat {str(dtype).rpartition('.')[2]}": make}


def faiss_makers(device: str, documents: int, m: int, dimension: int, k: int) -> dict[str, Maker]:
    """faiss-gpu's flat index and its IVF-PQ; raises :class:`ImportError` where this Faiss has no GPU support."""
    import faiss

    if not getattr(faiss, "get_num_gpus", int)():
        raise ImportError("the Faiss that is installed sees no GPU: pip install faiss-gpu in place of faiss-cpu")
    importlib.import_module("faiss.contrib.torch_utils")  # from now on indexes take tensors
    resources = faiss.StandardGpuResources()

    def flat(half: bool) -> Searcher:
        config = faiss.GpuIndexFlatConfig()
        config.useFloat16 = half
        index = faiss.GpuIndexFlatIP(resources, dimension, config)
        for _, block in _blocks(documents, dimension):
            index.add(block)
        return lambda queries: index.search(queries, k)

    def ivfpq() -> Searcher:
        config = faiss.GpuIndexIVFPQConfig()
        config.useFloat16LookupTables = True
        index = faiss.GpuIndexIVFPQ(resources, dimension, LISTS, m, 8, faiss.METRIC_INNER_PRODUCT, config)
        index.train(next(_blocks(_BLOCK, dimension))[1])
        for _, block in _blocks(documents, dimension):
            index.add(block)
        index.nprobe = PROBES
        return lambda queries: index.search(queries, k)

    return {
        "flat float32": partial(flat, False),
        "flat float16": partial(flat, True),
        f"IVF-PQ, {LISTS} lists, nprobe {PROBES}": ivfpq,
    }


def cuvs_makers(device: str, documents: int, m: int, dimension: int, k: int) -> dict[str, Maker]:
    """cuVS's brute force in float16 and its IVF-PQ; raises :class:`ImportError` where it is not installed."""
    brute_force = importlib.import_module("cuvs.neighbors.brute_force")
    ivf_pq = importlib.import_module("cuvs.neighbors.ivf_pq")

    def flat() -> Searcher:
        vectors = torch.empty((documents, dimension), device=device, dtype=torch.float16)
        for start, block in _blocks(documents, dimension):
            vectors[start : start + len(block)] = torch.from_numpy(block).to(device)
        index = brute_force.build(vectors, metric="inner_product")
        return lambda queries: (brute_force.search(index, queries.half(), k), vectors)[
            0
        ]  # it reads them where they are

    def ivfpq() -> Searcher:
        settings = {"metric": "inner_product", "pq_bits": 8, "pq_dim": m, "add_data_on_build": False}
        first = torch.from_numpy(next(_blocks(_BLOCK, dimension))[1]).to(device)
        index = ivf_pq.build(ivf_pq.IndexParams(n_lists=LISTS, kmeans_trainset_fraction=1.0, **settings), first)
        for start, block in _blocks(documents, dimension):
            rows = torch.arange(start, start + len(block), device=device)
            index = ivf_pq.extend(index, torch.from_numpy(block).to(device), rows)
        probes = ivf_pq.SearchParams(n_probes=PROBES, lut_dtype=np.float16)
        return lambda queries: ivf_pq.search(probes, index, queries, k)

    return {"flat float16": flat, f"IVF-PQ, {LISTS} lists, nprobe {PROBES}": ivfpq}


#: Name of a library -> its makers.
SYSTEMS = {"torch": torch_makers, "faiss-gpu": faiss_makers, "cuVS": cuvs_makers}


def _blocks(documents: int, dimension: int) -> Iterator[tuple[int, np.ndarray]]:
    """Yield ``(first_row, (n, D) float32)``."""
    size = min(_BLOCK, documents)
    block = np.random.default_rng(2).standard_normal((size, dimension), dtype=np.float32)
    for start in range(0, documents, size):
        yield start, block[: documents - start]
