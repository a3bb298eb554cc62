"""Exact scores and one fixed order over any layout.

The fast-scan layouts round their lookup tables to 8 bits, so their scores tie and drift. Here Faiss only proposes
candidates: they are scored again from their own codes by equation 12, in double precision, and put in one order that
is the same in every layout, in the run file, and for trec_eval.

The order. Pyserini writes scores with 6 decimals; trec_eval ignores the ranks, reads the scores as 32-bit floats and
sorts by score, then docid, both descending. So a score is rounded here to what trec_eval will read, and equal ones are
ordered by docid, descending. Pyserini's own tie breaker (docid ascending) would disagree with trec_eval.
"""

from collections.abc import Iterator, Sequence

import faiss
import numpy as np

from jpq_pyserini.errors import JPQError
from jpq_pyserini.index import layouts

PART = 1 << 14  # candidates whose codes or vectors are held at once
_TOGETHER = 1 << 22  # candidates, of as many queries as that is, that are held at once


def default_margin(layout: str, k: int) -> int:
    """Candidates taken beyond k, so that the best k are among them.

    With 8-bit tables the share of documents misplaced near rank k is about constant, so the margin grows with k. This
    one made the top k of 1,500 real queries (21k passages, 96 × 4 bits) and of 32 random ones (1M, 192 × 4 bits) equal
    to an exhaustive float search's for k = 10, 100 and 1000; half of it failed for one query in 50 at k = 1000. Float
    tables need it only for scores that tie in 6 decimals.
    """
    return 10 + k // 4 if layout.endswith("fastscan") else 10


class ExactIndex:
    """A Faiss index of one of our layouts with exact scores; takes the place of a ``faiss.Index`` in a searcher.

    Attributes that are not here are those of the Faiss index. Opening makes no copy of the codes.

    Args:
        index: takes unrotated queries.
        docids: external ids by row, to order ties; None: ties are in row order.
        margin: candidates taken beyond k; None: :func:`default_margin`.
        proposer: what proposes candidates in place of Faiss: ``search(rotated queries, k)`` → scores, rows.
    """

    def __init__(
        self, index: faiss.Index, docids: Sequence[str] | None = None, margin: int | None = None, proposer=None
    ):
        self.faiss_index, self.docids = index, docids
        self.layout = layouts.layout_of(index)
        if margin is not None and margin < 0:
            raise JPQError(f"margin {margin}: the number of candidates beyond k cannot be negative")
        self.margin = margin
        self._inner = layouts.without_rotation(index)
        self._proposer = proposer or self._inner
        self._rotation = layouts.rotation_of(index)
        self._centroids = layouts.codec_inside(index)[0]
        self._codes = layouts.packed_codes(index)
        if self.layout == "fastscan":
            layouts.use_huge_pages(self._inner)

    def __reduce__(self):
        return ExactIndex, (self.faiss_index, self.docids, self.margin)  # the proposer, on a GPU, stays here

    def __getattr__(self, name):
        if name.startswith("__") or name == "faiss_index":
            raise AttributeError(name)
        return getattr(self.faiss_index, name)

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Search with queries (B, D) float32; returns scores (B, k) float32 and rows (B, k) int64, -1 for none.

        Of an index of N < k documents, (B, N).
        """
        scores, rows, _ = self._search(queries, k)
        return scores, rows

    def search_and_reconstruct(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Search, and rebuild what was found: scores, rows, and unrotated vectors (B, k, D) float32."""
        scores, rows, codes = self._search(queries, k, keep=True)
        vectors = np.zeros((*rows.shape, self._inner.d), dtype=np.float32)
        for b in range(len(rows)):
            found = rows[b] >= 0
            vectors[b, found] = self.decode(codes[b])
        if self._rotation is not None:
            flat = vectors.reshape(-1, self._inner.d)
            vectors = self._rotation.reverse_transform(flat).reshape(vectors.shape) if len(flat) else vectors
        return scores, rows, vectors

    def reconstruct(self, row: int) -> np.ndarray:
        """Rebuild one document: (D,) float32, unrotated."""
        return self.vectors_of(np.array([row]))[0]

    def vectors_of(self, rows: np.ndarray) -> np.ndarray:
        """Rebuild documents: rows (n,) int64 give (n, D) float32, unrotated."""
        if not len(rows):
            return np.empty((0, self._inner.d), dtype=np.float32)
        vectors = self.decode(self._codes[rows])
        return vectors if self._rotation is None else self._rotation.reverse_transform(vectors)

    def propose(self, queries: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return what the scan alone finds: scores (B, n) float32 and rows (B, n) int64, -1 for none."""
        return self._proposer.search(self._rotated(queries)[1], min(count, self._inner.ntotal))

    def scores_of(self, queries: np.ndarray, candidates: list[np.ndarray]) -> list[np.ndarray]:
        """Return, by query, the scores (n,) float32 of some rows (n,) int64, as :meth:`search` gives them."""
        queries, rotated = self._rotated(queries)
        return [as_trec_eval_reads(scores) for scores in self._scored(queries, rotated, candidates)]

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Rebuild documents from codes (n, M): (n, D) float32, in rotated space."""
        return self._centroids[np.arange(len(self._centroids)), codes].reshape(len(codes), self._inner.d)

    def _search(
        self, queries: np.ndarray, k: int, *, keep: bool = False
    ) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
        """Return scores, rows and, only where they are to be kept, what is stored of the documents found."""
        if k < 1:
            raise JPQError(f"{k} hits: ask for at least 1")
        queries, rotated = self._rotated(queries)
        k = min(k, self._inner.ntotal)
        wanted = min(self._candidate_count(k), self._inner.ntotal)
        scores = np.full((len(queries), k), np.finfo(np.float32).min, dtype=np.float32)
        rows = np.full((len(queries), k), -1, dtype=np.int64)
        stored, together = [], max(1, _TOGETHER // max(1, wanted))
        for start in range(0, len(queries), together):
            part = slice(start, start + together)
            candidates = [proposed[proposed >= 0] for proposed in self._candidates(rotated[part], wanted)]
            scored = self._scored(queries[part], rotated[part], candidates)
            for b, (proposed, score) in enumerate(zip(candidates, scored, strict=True), start):
                exact = as_trec_eval_reads(score)
                order = best_first(exact, proposed, self.docids, k)
                while self._may_tie_beyond(exact, order, k):
                    before = len(proposed)
                    proposed, exact = self._more(queries[b : b + 1], rotated[b : b + 1], 2 * before)
                    order = best_first(exact, proposed, self.docids, k)
                    if len(proposed) == before:
                        break  # all of the lists visited
                scores[b, : len(order)], rows[b, : len(order)] = exact[order], proposed[order]
                if keep:
                    stored.append(self._stored(proposed[order]))
        return scores, rows, stored

    def _may_tie_beyond(self, scores: np.ndarray, order: np.ndarray, k: int) -> bool:
        """Tell whether all candidates beyond the k-th tie with it, so that others may as well."""
        return k < len(scores) < self._inner.ntotal and scores[order[-1]] == scores.min()

    def _more(self, query: np.ndarray, rotated: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return, for one query, the rows of so many candidates and their scores."""
        (found,) = self._candidates(rotated, min(count, self._inner.ntotal))
        proposed = found[found >= 0]
        (scores,) = self._scored(query, rotated, [proposed])
        return proposed, as_trec_eval_reads(scores)

    def _stored(self, rows: np.ndarray) -> np.ndarray:
        """Return what is stored of documents: codes (n, M) uint8."""
        return self._codes[rows]

    def _rotated(self, queries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return queries (B, D), checked, as they are and rotated."""
        queries = finite(np.ascontiguousarray(queries, dtype=np.float32))
        return queries, queries if self._rotation is None else self._rotation.apply(queries)

    def _scored(self, queries: np.ndarray, rotated: np.ndarray, candidates: list[np.ndarray]) -> Iterator[np.ndarray]:
        """Yield, by query, the scores (n,) float64 of its candidates."""
        tables = layouts.inner_product_tables(self.faiss_index, rotated)
        for table, proposed in zip(tables, candidates, strict=True):
            yield np.concatenate([table_sums(table, self._codes[rows]) for rows in in_parts(proposed)])

    def _candidates(self, rotated: np.ndarray, wanted: int) -> np.ndarray:
        if wanted == self._inner.ntotal and not self.layout.startswith("ivf"):
            return np.broadcast_to(np.arange(wanted), (len(rotated), wanted))
        return self._proposer.search(rotated, wanted)[1]

    def _candidate_count(self, k: int) -> int:
        layout = self.layout if self._proposer is self._inner else "fastscan"  # others round as well
        return k + (default_margin(layout, k) if self.margin is None else self.margin)


def finite(queries: np.ndarray, source: str = "what encoded the queries") -> np.ndarray:
    """Return query vectors (B, D); :class:`JPQError` that names ``source`` if one holds NaN or infinity."""
    sound = np.isfinite(queries).all(axis=1)
    if not sound.all():
        raise JPQError(
            f"{source} gave NaN or infinity for query {int(np.argmin(sound)) + 1:,} of {len(queries):,}, which finds "
            "nothing: train or copy the encoder again, or name another"
        )
    return queries


def in_parts(rows: np.ndarray) -> list[np.ndarray]:
    """Cut candidates (n,) into parts whose codes or vectors are held at once; at least one."""
    return [rows[at : at + PART] for at in range(0, max(1, len(rows)), PART)]


def table_sums(table: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Equation 12 for one query: its table (M, K) float32 and codes (n, M) uint8 give n float64 scores."""
    M, K = table.shape
    entries = table.ravel().take(codes + np.arange(0, M * K, K))  # (n, M)
    return entries.sum(axis=1, dtype=np.float64)


def as_trec_eval_reads(scores: np.ndarray) -> np.ndarray:
    """Round float64 scores to what trec_eval has after Pyserini wrote 6 decimals of them; float32, a fixed point."""
    return np.round(scores, 6).astype(np.float32)


def best_first(scores: np.ndarray, rows: np.ndarray, docids: Sequence[str] | None, k: int) -> np.ndarray:
    """Return the positions of the best k of n scores: score descending, ties by docid descending (or row ascending).

    Args:
        scores: (n,) float32.
        rows: (n,) int64.
        docids: external ids by row, or None.
        k: how many to return, fewer if there are fewer.
    """
    order = np.lexsort((rows, -scores))
    if docids is not None:
        ordered = scores[order]
        tied = np.flatnonzero(ordered[1:] == ordered[:-1])
        if len(tied):
            groups = np.split(tied, np.flatnonzero(np.diff(tied) > 1) + 1)
            for group in groups:
                first, last = int(group[0]), int(group[-1]) + 2
                if first >= k:
                    break
                order[first:last] = sorted(order[first:last], key=lambda at: docids[int(rows[at])], reverse=True)
    return order[:k]
