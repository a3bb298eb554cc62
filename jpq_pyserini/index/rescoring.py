"""Two-stage search: the codes in memory propose, the documents' real vectors on disk decide.

Candidates come straight from the scan, in whatever layout and on whatever device, without exact scores of the codes in
between; then q·d with the vectors of :mod:`jpq_pyserini.index.vectors`, in double precision, puts them in the order of
:mod:`jpq_pyserini.index.exact`. Vector databases call this rescoring, oversampling or refining.
"""

import os
from collections.abc import Iterator, Sequence

import faiss
import numpy as np

from jpq_pyserini.errors import JPQError
from jpq_pyserini.index.directory import IndexDirectory
from jpq_pyserini.index.exact import PART, ExactIndex, in_parts
from jpq_pyserini.index.vectors import StoredVectors, decode_rows

#: Environment variable: the number of candidates of every search, 0 for the codes' own scores.
VARIABLE = "JPQ_RESCORE"

_BLOCK = 40  # rows scored at once


def default_candidates(k: int) -> int:
    """How many of the codes' best are scored again when the best k are wanted.

    Measured on SQuAD, SciFact and NFCorpus, 16 bytes a document and more: 200 give the first 10 ranks of the real
    vectors (RR@10 and nDCG@10 within 0.1%), and 2k more bring nearly all of the best k (R@100 within 0.5%).
    """
    return 200 + 2 * k


def wanted_candidates(setting: int | None = None, recorded: int | None = None) -> int | None:
    """Choose among what was asked for, the environment and the index's record, in this order.

    Returns:
        The number of candidates; 0 for none, so for the codes' own scores; None for :func:`default_candidates`.

    Raises:
        JPQError: the number is negative, or the variable holds no number.
    """
    if setting is None and os.environ.get(VARIABLE, "").strip():
        value = os.environ[VARIABLE].strip()
        if not (value.isdecimal() and len(value) < 19):
            raise JPQError(f"{VARIABLE}={value}: set it to a number of candidates, or to 0 for the codes' own scores")
        return int(value)
    chosen = recorded if setting is None else setting
    if chosen is not None and chosen < 0:
        raise JPQError(f"rescore {chosen}: the number of candidates cannot be negative; 0 is the codes' own scores")
    return chosen


class RescoringIndex(ExactIndex):
    """A Faiss index of one of our layouts, with the scores of the documents' real vectors.

    Args:
        index: takes unrotated queries.
        vectors: of the same documents in the same order.
        docids: external ids by row, to order ties; None: ties are in row order.
        candidates: how many are scored with their vectors, though never fewer than k; None:
            :func:`default_candidates`.
        proposer: as in :class:`~jpq_pyserini.index.exact.ExactIndex`.
    """

    def __init__(
        self,
        index: faiss.Index,
        vectors: StoredVectors,
        docids: Sequence[str] | None = None,
        candidates: int | None = None,
        proposer=None,
    ):
        super().__init__(index, docids, proposer=proposer)
        self.vectors, self._number = vectors, candidates

    def __reduce__(self):
        return RescoringIndex, (self.faiss_index, self.vectors, self.docids, self._number)

    def vectors_of(self, rows: np.ndarray) -> np.ndarray:
        """Read documents' vectors: rows (n,) int64 give (n, D) float32."""
        return self.vectors.read(rows)

    def search_and_reconstruct(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Search, and give the vectors of what was found: scores, rows, and (B, k, D) float32."""
        scores, rows, found = self._search(queries, k, keep=True)
        vectors = np.zeros((*rows.shape, self.vectors.dimension), dtype=np.float32)
        for b, raw in enumerate(found):
            vectors[b, : len(raw)] = decode_rows(raw, self.vectors.dtype)
        return scores, rows, vectors

    def _candidate_count(self, k: int) -> int:
        return max(k, default_candidates(k) if self._number is None else self._number)

    def _may_tie_beyond(self, scores: np.ndarray, order: np.ndarray, k: int) -> bool:
        return False  # so many candidates were asked for, and no more

    def _stored(self, rows: np.ndarray) -> np.ndarray:
        """Return what is stored of documents: (n, bytes a row) uint8 of the vectors file."""
        return self.vectors.read_raw(rows)

    def _scored(self, queries: np.ndarray, rotated: np.ndarray, candidates: list[np.ndarray]) -> Iterator[np.ndarray]:
        """Yield, by query, the scores of its candidates; vectors of several queries are read at once, sorted."""
        start = 0
        while start < len(candidates):
            stop, held = start + 1, len(candidates[start])
            while stop < len(candidates) and held + len(candidates[stop]) <= PART:
                held += len(candidates[stop])
                stop += 1
            if held <= PART:
                yield from self._scores(queries[start:stop], candidates[start:stop])
            else:  # of one query
                parts = in_parts(candidates[start])
                yield np.concatenate([self._scores(queries[start:stop], [part])[0] for part in parts])
            start = stop

    def _scores(self, queries: np.ndarray, candidates: list[np.ndarray]) -> list[np.ndarray]:
        dtype = self.vectors.dtype
        if len(candidates) == 1:
            order = np.argsort(candidates[0])
            scores = np.empty(len(order), dtype=np.float64)
            scores[order] = _inner_products(self.vectors.read_raw(candidates[0][order]), dtype, queries[0])
            return [scores]
        rows = np.unique(np.concatenate(candidates))
        raw = self.vectors.read_raw(rows)
        return [
            _inner_products(raw[np.searchsorted(rows, proposed)], dtype, query)
            for query, proposed in zip(queries, candidates, strict=True)
        ]


def _inner_products(raw: np.ndarray, dtype: str, query: np.ndarray) -> np.ndarray:
    """Return q·d, (n,) float64, of rows as they are stored, in blocks that stay in the processor's cache."""
    wide, scores = query.astype(np.float64), np.empty(len(raw), dtype=np.float64)
    for at in range(0, len(raw), _BLOCK):
        part = slice(at, at + _BLOCK)
        np.matmul(decode_rows(raw[part], dtype).astype(np.float64), wide, out=scores[part])
    return scores


def scored_index(
    parts: IndexDirectory, rescore: int | None = None, margin: int | None = None, proposer=None
) -> ExactIndex:
    """Return what searches an index directory: its codes, and where it has them its vectors.

    Args:
        parts: not of the layout ``flat``; opened without vectors if :func:`wanted_candidates` is 0.
        rescore: the number of candidates, as :func:`wanted_candidates` gives it.
        margin: of candidates beyond k where the codes' own scores are wanted.
        proposer: as in :class:`~jpq_pyserini.index.exact.ExactIndex`.

    Raises:
        JPQError: candidates are asked for, but there are no vectors or not those of the record.
    """
    if rescore == 0 or (rescore is None and not parts.record.vectors):
        return ExactIndex(parts.faiss_index, parts.docids, margin, proposer)
    if parts.vectors is None:
        raise JPQError(
            f"{parts.path} has no vectors to score {rescore:,} candidates with: write them with "
            f"`python -m jpq_pyserini.index vectors`, or leave rescore and {VARIABLE} out"
        )
    return RescoringIndex(parts.faiss_index, parts.vectors, parts.docids, rescore, proposer)
