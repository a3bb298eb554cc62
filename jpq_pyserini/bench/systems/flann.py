"""FLANN: kd-trees or hierarchical k-means, whichever its own tuning finds best for the collection, as in the paper.

It knows distances, so inner product becomes Euclidean distance (:mod:`~jpq_pyserini.bench.systems._euclidean`). The
library is the one that pyflann-py3 brings, of x86 processors. Tuning tries its algorithms on a tenth of the collection,
which takes longer than all other systems' building together.
"""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from jpq_pyserini.bench.systems._base import Data, Searcher, System, padded
from jpq_pyserini.bench.systems._euclidean import Euclidean

_PRECISION = 0.9
_AT_LEAST = 1000  # documents: with fewer, the tenth that tuning tries is too small


class _Flann(Searcher):
    def __init__(self, data: Data):
        import pyflann

        self._space = Euclidean(data.embeddings())
        self.threads(1)
        self._index = pyflann.FLANN()
        chosen = (
            {"algorithm": "autotuned", "target_precision": _PRECISION}
            if data.count >= _AT_LEAST
            else {"algorithm": "kmeans", "branching": 16}
        )
        self._checks = self._index.build_index(self._space.vectors, random_seed=data.seed, **chosen)["checks"]
        path = f"{data.vectors}.flann"
        self._index.save_index(path.encode())
        self.bytes = os.path.getsize(path) + 4 * data.count * data.dimension  # it writes the tree alone
        os.unlink(path)

    def search(self, queries, k):
        wide = self._space.queries(queries)
        parts = np.array_split(wide, min(self._threads, len(wide)))
        run = map if len(parts) == 1 else self._pool.map
        wanted = min(k, len(self._space.vectors))

        def found(part):
            return self._index.nn_index(part, wanted, checks=self._checks)

        rows, distances = (np.concatenate(each) for each in zip(*run(found, parts), strict=True))
        rows, distances = rows.reshape(len(wide), wanted), distances.reshape(len(wide), wanted)
        return padded(zip(self._space.scores(wide, distances), rows, strict=True), len(wide), k)

    def set(self, value):
        self._checks = value

    def threads(self, count):
        self._threads, self._pool = count, ThreadPoolExecutor(count)


SYSTEMS = (
    System(
        "flann",
        "FLANN",
        "non-exhaustive",
        _Flann,
        module="pyflann",
        package="pyflann-py3",
        parameters=lambda data: f"tuned for precision {_PRECISION}",
        setting=("checks", (128, 512, 2048, 8192)),
        copies=2,
    ),
)
