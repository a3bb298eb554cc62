"""HNSW of Faiss, a hierarchy of proximity graphs, by inner product: 8 links as in the paper, and Faiss's own 32."""

from functools import partial

from jpq_pyserini.bench.systems._base import Data, System
from jpq_pyserini.bench.systems._faiss import FaissSearcher, add
from jpq_pyserini.lazy import Later

faiss = Later("faiss")

_CONSTRUCTION = 100
_EF = (16, 32, 64, 128, 256, 512)


def _hnsw(links: int, data: Data):
    index = faiss.IndexHNSWFlat(data.dimension, links, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = _CONSTRUCTION
    add(index, data)
    return FaissSearcher(index, set_=lambda ef: setattr(index.hnsw, "efSearch", ef))


SYSTEMS = tuple(
    System(
        name,
        f"HNSW, M={links}",
        "non-exhaustive",
        partial(_hnsw, links),
        setting=("efSearch", _EF),
        copies=2,
    )
    for name, links in (("hnsw", 8), ("hnsw32", 32))
)
