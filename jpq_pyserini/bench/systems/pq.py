"""Product quantization of Faiss, untrained on queries, all with 8 bits a code and inner product.

PQ; OPQ, which rotates first; and HNSW+OPQ, whose codes lie in 4·√N inverted lists that an HNSW finds for a query.
"""

from jpq_pyserini.bench.systems._base import Data, System
from jpq_pyserini.bench.systems._faiss import (
    TRAINING_ROWS,
    FaissSearcher,
    add,
    built,
    check_divides,
    opq,
    set_nprobe,
    train,
    training_sample,
)
from jpq_pyserini.lazy import Later

faiss, layouts = Later("faiss"), Later("jpq_pyserini.index.layouts")


def _pq(data: Data):
    return FaissSearcher(built(f"PQ{check_divides(data)}x8", data))


def _behind_opq(key: str, data: Data, set_=None):
    rotation, seconds = opq(data)
    inner = faiss.index_factory(data.dimension, key, faiss.METRIC_INNER_PRODUCT)
    train(inner, rotation.apply(training_sample(data)))
    index = layouts.behind_rotation(inner, faiss.vector_to_array(rotation.A).reshape(2 * (data.dimension,)))
    add(index, data)
    searcher = FaissSearcher(index, set_=set_ and (lambda value: set_(index, value)))
    searcher.earlier_seconds = seconds
    return searcher


def _opq(data: Data):
    return _behind_opq(f"PQ{data.bytes}x8", data)


def _hnsw_opq(data: Data):
    return _behind_opq(f"IVF{_lists(data)}_HNSW32,PQ{data.bytes}x8", data, set_nprobe)


def _lists(data: Data) -> int:
    return max(4, round(4 * data.count**0.5))


def _shape(data: Data) -> str:
    return f"{data.bytes}x8"


SYSTEMS = (
    System("pq", "PQ", "compressed", _pq, parameters=_shape, trained_on=TRAINING_ROWS),
    System("opq", "OPQ", "compressed", _opq, parameters=_shape, trained_on=TRAINING_ROWS),
    System(
        "hnsw-opq",
        "HNSW+OPQ",
        "compressed",
        _hnsw_opq,
        parameters=lambda data: f"{_shape(data)}, {_lists(data)} lists",
        setting=("nprobe", (4, 8, 16, 32, 64, 128)),
        trained_on=TRAINING_ROWS,
    ),
)
