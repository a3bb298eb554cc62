"""Documents and queries for libraries that know only Euclidean distance, see :mod:`jpq_pyserini.codec.euclidean`."""

import numpy as np

from jpq_pyserini.lazy import Later

euclidean = Later("jpq_pyserini.codec.euclidean")

_ALIKE = 1e-5


class Euclidean:
    """Documents and queries in the space where distance orders them by inner product.

    Args:
        vectors: (N, D) float32.
        multiple_of: zeros are put behind until the dimension is one.

    Attributes:
        vectors: (N, D') float32. D' is D when all norms are alike, as they are after normalisation, else D + 1; plus
            what ``multiple_of`` needs.
    """

    def __init__(self, vectors: np.ndarray, multiple_of: int = 1):
        self._square, missing = euclidean.missing_lengths(vectors)
        count, dimension = vectors.shape
        more = int((missing**2).max() > self._square * _ALIKE)
        self._width = -(-(dimension + more) // multiple_of) * multiple_of
        self.vectors = np.zeros((count, self._width), np.float32)
        self.vectors[:, :dimension] = vectors
        if more:
            self.vectors[:, dimension] = missing

    def queries(self, queries: np.ndarray) -> np.ndarray:
        """Return queries (B, D) as (B, D') float32."""
        wide = np.zeros((len(queries), self._width), np.float32)
        wide[:, : queries.shape[1]] = queries
        return wide

    def scores(self, queries: np.ndarray, distances: np.ndarray) -> np.ndarray:
        """Return the inner products (B, k) that belong to squared distances (B, k)."""
        squares = np.einsum("bd,bd->b", queries, queries)[:, None]
        return (squares + self._square - distances) / 2
