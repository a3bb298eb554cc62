"""IMI, the inverted multi-index of Faiss: two halves of a vector, each with 2^12 centroids, as in the paper.

Smaller collections get fewer centroids, so that there are four to sixteen cells a document, as there would be with 12
bits and some millions. Faiss has it for Euclidean distance only, which inner product is turned into
(:mod:`~jpq_pyserini.bench.systems._euclidean`). Documents in the cells are not compressed.
"""

from math import ceil, log2

import numpy as np

from jpq_pyserini.bench.systems._base import Data, System
from jpq_pyserini.bench.systems._euclidean import Euclidean
from jpq_pyserini.bench.systems._faiss import FaissSearcher, set_nprobe, train
from jpq_pyserini.lazy import Later

faiss = Later("faiss")

_TRAINING_ROWS = 1 << 20


def _bits(data: Data) -> int:
    return min(12, ceil((log2(data.count) + 2) / 2))


def _imi(data: Data):
    class Imi(FaissSearcher):
        def search(self, queries, k):
            wide = space.queries(queries)
            distances, rows = self._index.search(wide, k)
            return np.where(rows < 0, np.finfo(np.float32).min, space.scores(wide, distances)), rows

    space = Euclidean(data.embeddings(), multiple_of=2)
    index = faiss.index_factory(space.vectors.shape[1], f"IMI2x{_bits(data)},Flat", faiss.METRIC_L2)
    train(index, space.vectors[:_TRAINING_ROWS])
    index.add(space.vectors)
    del space.vectors
    return Imi(index, set_=lambda nprobe: set_nprobe(index, nprobe))


SYSTEMS = (
    System(
        "imi",
        "IMI",
        "non-exhaustive",
        _imi,
        parameters=lambda data: f"2x{_bits(data)} bits",
        setting=("nprobe", (64, 256, 1024, 4096, 16384)),
        copies=2.5,
        trained_on=_TRAINING_ROWS,
    ),
)
