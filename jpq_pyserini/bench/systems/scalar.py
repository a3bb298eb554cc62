"""Scalar quantization of Faiss: a few bits for each dimension; alone, or in HNSW's graph.

``SQ8`` and ``SQ4`` divide the range of a dimension evenly. The others turn vectors at random first, after which the
best levels are known beforehand: TurboQuant's, for vectors of length one (Zandieh et al., 2025,
https://arxiv.org/abs/2504.19874), and EDEN's with a scale for each document (Vargaftik et al., ICML 2022).
"""

from functools import partial

from jpq_pyserini.bench.systems._base import Data, System
from jpq_pyserini.bench.systems._faiss import TRAINING_ROWS, FaissSearcher, built

_LINKS, _EF = 32, (16, 32, 64, 128, 256, 512)


def _scalar(key: str, data: Data) -> FaissSearcher:
    return FaissSearcher(built(key.format(D=data.dimension), data))


def _hnsw(data: Data) -> FaissSearcher:
    index = built(f"HNSW{_LINKS}_SQ8", data)
    return FaissSearcher(index, set_=lambda ef: setattr(index.hnsw, "efSearch", ef))


def _systems():
    for name, title, key, trained_on in (
        ("sq8", "int8 scalar", "SQ8", TRAINING_ROWS),
        ("sq4", "4-bit scalar", "SQ4", TRAINING_ROWS),
        *((f"turboquant{bits}", f"TurboQuant, {bits}-bit", f"RR{{D}},SQtqmse{bits}", 0) for bits in (1, 2, 4)),
        *((f"eden{bits}", f"EDEN, {bits}-bit", f"RR{{D}},EDEN{bits}", TRAINING_ROWS) for bits in (1, 2, 4)),
    ):
        yield System(name, title, "compressed", partial(_scalar, key), trained_on=trained_on)
    yield System(
        "hnsw-sq8",
        f"HNSW over int8, M={_LINKS}",
        "compressed",
        _hnsw,
        setting=("efSearch", _EF),
        trained_on=TRAINING_ROWS,
    )


SYSTEMS = tuple(_systems())
