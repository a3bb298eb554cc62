"""End-to-end negative sampling (section 3.4): the batch searches the whole corpus with the current centroids."""

from collections.abc import Sequence
from dataclasses import dataclass

import faiss
import numpy as np

from jpq_pyserini import layouts
from jpq_pyserini.codec import ProductQuantizer
from jpq_pyserini.flat import FlatFolder


@dataclass(frozen=True)
class Candidates:
    """Documents of a batch, padded; row numbers of padding are 0 and masked out.

    Attributes:
        positives: (B, P) int64 rows, the relevant documents, with ``positive_mask`` (B, P) bool.
        negatives: (B, n) int64 rows, best first, with ``negative_mask`` (B, n) bool.
    """

    positives: np.ndarray
    positive_mask: np.ndarray
    negatives: np.ndarray
    negative_mask: np.ndarray


class QuantizedSearch:
    """Exhaustive search over the codes with the centroids being trained; nothing is rebuilt between two steps.

    Args:
        codec: gives M, K and the first centroids; its rotation is not used here, queries come rotated.
        codes: (N, M) uint8.
    """

    def __init__(self, codec: ProductQuantizer, codes: np.ndarray):
        self._index = layouts.build(ProductQuantizer(codec.centroids, codec.assignment_centroids), codes)

    def set_centroids(self, centroids: np.ndarray) -> None:
        """Search with these centroids (M, K, D/M) from now on."""
        layouts.set_centroids(self._index, centroids)

    def search(self, rotated_queries: np.ndarray, hits: int) -> np.ndarray:
        """Return the rows (B, hits) int64 of the best documents by equation 12, best first; -1 for none."""
        return self._index.search(np.ascontiguousarray(rotated_queries, dtype=np.float32), hits)[1]


class FlatSearch:
    """The same over uncompressed embeddings: the 'BF negatives' of figure 3, and ADORE.

    Args:
        flat: the folder; it stays on disk, and is read through once a search.
    """

    def __init__(self, flat: FlatFolder):
        self._flat = flat

    def search(self, queries: np.ndarray, hits: int) -> np.ndarray:
        """Return the rows (B, hits) int64 of the best documents for (B, D) *unrotated* queries, best first."""
        queries = np.ascontiguousarray(queries, dtype=np.float32)
        best = faiss.ResultHeap(len(queries), hits, keep_max=True)
        for start, chunk in self._flat.chunks():
            scores, rows = faiss.knn(queries, chunk, min(hits, len(chunk)), metric=faiss.METRIC_INNER_PRODUCT)
            best.add_result(scores, rows + start)
        best.finalize()
        return best.I


def take_negatives(found: np.ndarray, relevant: Sequence[Sequence[int]], count: int) -> Candidates:
    """Split what a search found into negatives and give the relevant documents their place (equation 20).

    Args:
        found: (B, ≥ count + P) int64 rows, best first, -1 for none, where P is the most relevant documents of a query.
        relevant: the relevant rows of each query; none at all when there are no judgements.
        count: n̂, negatives wanted.
    """
    width = max(map(len, relevant), default=0)
    positives = np.zeros((len(found), width), dtype=np.int64)
    positive_mask = np.zeros((len(found), width), dtype=bool)
    for i, rows in enumerate(relevant):
        positives[i, : len(rows)] = rows
        positive_mask[i, : len(rows)] = True
    is_relevant = ((found[:, :, None] == positives[:, None, :]) & positive_mask[:, None, :]).any(2)
    usable = ~is_relevant & (found >= 0)
    order = np.argsort(~usable, axis=1, kind="stable")[:, :count]  # usable ones first, still best first
    negative_mask = np.take_along_axis(usable, order, 1)
    negatives = np.where(negative_mask, np.take_along_axis(found, order, 1), 0)
    return Candidates(positives, positive_mask, negatives, negative_mask)
