"""Codes that keep a document apart from its neighbours: errors towards them cost more.

A query that finds a document often points towards the documents beside it too (the other passages of an article, say),
and with those the document competes: along these directions its score must be right. With n_1 … n_J the J nearest
documents, unit length, each less its part along the document, and residual r, a code costs

    g/J · Σ_j (n_j·r)²

on top of what :mod:`jpq_pyserini.codec.score_aware` lets it cost. The terms tie the M sub-vectors together, and are
taken into account one sub-vector at a time, as there.

Neighbours are looked for among the documents that are coded together, and among 65,536 of them, drawn at random, if
there are more; a document that is added to an index later has its neighbours there. So codes depend on the company in
which a document is coded. What the terms give was measured where all documents were looked at, on 21,000.
"""

import faiss
import numpy as np

WEIGHT = 60.0  # g; at 16 to 48 bytes 30 gives nearly as much
#: Documents, drawn at random from a larger collection, among which neighbours are looked for.
REFERENCE = 1 << 16
_SAME = 1 - 1e-6  # the cosine from which on a document is itself
_TINY = 1e-12


class Neighbourhood:
    """What documents are compared with.

    Args:
        reference: (n, D) embeddings, n > 0; norms do not matter.
        count: J.
    """

    def __init__(self, reference: np.ndarray, count: int):
        self._reference, self.count = _units(reference), count

    def across(self, embeddings: np.ndarray) -> np.ndarray:
        """Return √(g/J)·n_j of (B, D) embeddings: (B, J + 1, D) float32; rows that are not needed are zero.

        A document that is in the reference is no neighbour of its own.
        """
        units = _units(embeddings)
        wanted = min(self.count + 1, len(self._reference))
        cosines, rows = faiss.knn(units, self._reference, wanted, metric=faiss.METRIC_INNER_PRODUCT)
        found = self._reference[rows]
        found -= (found @ units[:, :, None]) * units[:, None]
        found[cosines >= _SAME] = 0
        found[cosines[:, 0] < _SAME, self.count :] = 0  # not in the reference: one too many
        found *= np.sqrt(WEIGHT / self.count)
        return found


def neighbourhood_of(codec, codes: np.ndarray) -> Neighbourhood | None:
    """Return what new documents of an index are compared with: its own, as their codes (N, M) have them.

    None if the codec (a :class:`~jpq_pyserini.codec.ProductQuantizer`) wants no neighbours, or there are none.
    """
    if not codec.assignment.neighbours or not len(codes):
        return None
    rows = np.random.default_rng(0).choice(len(codes), min(REFERENCE, len(codes)), replace=False)
    return Neighbourhood(codec.decode(codes[np.sort(rows)]), codec.assignment.neighbours)


def _units(embeddings: np.ndarray) -> np.ndarray:
    embeddings = np.ascontiguousarray(embeddings, dtype=np.float32)
    return embeddings / np.maximum(np.linalg.norm(embeddings, axis=1, keepdims=True), _TINY)
