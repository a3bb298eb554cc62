"""Annoy: a forest of random projection trees; 100 trees, as in the paper. Its ``dot`` metric is inner product."""

import os

from jpq_pyserini.bench.systems._base import Data, OneByOne, System

_TREES = 100


class _Annoy(OneByOne):
    def __init__(self, data: Data):
        import annoy

        self._index, self._search_k = annoy.AnnoyIndex(data.dimension, "dot"), -1
        self._index.set_seed(data.seed)
        for row, vector in enumerate(data.embeddings()):
            self._index.add_item(row, vector)
        self._index.build(_TREES, n_jobs=1)
        path = f"{data.vectors}.annoy"
        self._index.save(path)
        self.bytes = os.path.getsize(path)
        os.unlink(path)  # it stays mapped

    def one(self, query, k):
        rows, scores = self._index.get_nns_by_vector(query, k, search_k=self._search_k, include_distances=True)
        return scores, rows

    def set(self, value):
        self._search_k = value


SYSTEMS = (
    System(
        "annoy",
        "Annoy",
        "non-exhaustive",
        _Annoy,
        module="annoy",
        parameters=lambda data: f"{_TREES} trees",
        setting=("search_k", (1000, 5000, 20000, 80000)),
        copies=3,
    ),
)
