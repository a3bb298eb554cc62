"""A second stage for any system: its best documents scored again with their vectors, read from disk."""

import numpy as np

from jpq_pyserini.bench.systems._base import Data, Searcher, padded
from jpq_pyserini.index.vectors import StoredVectors


class Rescored(Searcher):
    """A system whose best ``candidates`` documents, or k if that is more, are put in the order of inner product.

    Args:
        searcher: proposes them.
        data: where the embeddings are; rows of them are read for each query, nothing of them stays in memory.
        candidates: how many documents are read for a query.

    Attributes:
        disk_bytes: size of the embeddings' file.
    """

    def __init__(self, searcher: Searcher, data: Data, candidates: int):
        self._searcher, self._candidates, self.bytes = searcher, candidates, searcher.bytes
        offset = data.embeddings().offset  # of the array in the file
        self._vectors = StoredVectors(str(data.vectors), "float32", data.count, data.dimension, offset)
        self.disk_bytes = 4 * data.count * data.dimension

    def search(self, queries, k):
        _, proposed = self._searcher.search(queries, max(k, self._candidates))
        return padded((self._best(*each, k) for each in zip(queries, proposed, strict=True)), len(queries), k)

    def _best(self, query: np.ndarray, rows: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        rows = np.sort(rows[rows >= 0])  # as they lie on disk
        scores = self._vectors.read(rows) @ query
        order = np.argsort(-scores, kind="stable")[:k]
        return scores[order], rows[order]
