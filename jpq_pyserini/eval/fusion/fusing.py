"""Fusion of runs, query by query: reciprocal ranks or weighted scores, finite and in one fixed order whatever comes."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from jpq_pyserini.errors import JPQError

METHODS = ("rrf", "interpolation")
NORMALISATIONS = ("min-max", "z-score", "none")


@dataclasses.dataclass(frozen=True)
class Fusion:
    """How runs become one.

    Attributes:
        method: ``rrf``: sum of weight / (rrf_k + rank) over the runs that list the document (Cormack et al., SIGIR
            2009), the rank being that of the score as trec_eval sorts, not the file's column; ``interpolation``:
            sum of weight times normalised score.
        normalise: of interpolation, query by query. ``min-max``: (s − min) / (max − min); ``z-score``:
            (s − mean) / standard deviation (population); ``none``: scores as they are. A document that a run does not
            list gets that run's least normalised score, as in Pyserini's hybrid searcher. Where all scores of a query
            are equal (a single hit, say) neither fraction exists: what is listed gets 1 (min-max) or 0 (z-score), what
            is not gets one less; ``none`` gives both the same. A run without hits for a query has no say in it.
        weights: one a run, finite, not negative; None: 1 for rrf, 1 / number of runs for interpolation.
        rrf_k: the constant of rrf.
        depth: hits of each run that count, for each query.
        hits: documents in the fused run, for each query.

    Raises:
        JPQError: a weight that is negative or not finite, or all weights are zero.
    """

    method: str = "rrf"
    normalise: str = "min-max"
    weights: tuple[float, ...] | None = None
    rrf_k: float = 60
    depth: int = 1000
    hits: int = 1000

    def __post_init__(self):
        assert self.method in METHODS, self.method
        assert self.normalise in NORMALISATIONS, self.normalise
        assert min(self.depth, self.hits) > 0, (self.depth, self.hits)
        assert 0 <= self.rrf_k < np.inf, self.rrf_k
        if self.weights is not None:
            sound = all(np.isfinite(weight) and weight >= 0 for weight in self.weights)
            if not sound or not any(self.weights):
                shown = " ".join(f"{weight:g}" for weight in self.weights)
                raise JPQError(f"weights {shown}: give finite numbers, none negative, not all zero")


class FusedRun(Mapping):
    """The fusion of runs: qid to {docid: score}, best first, made when it is asked for.

    Queries are those of any run: in the first run's order, then those that only later runs have. Scores are rounded to
    single precision, which is what trec_eval compares; equal ones go by descending docid, as in trec_eval. So the
    written ranks, trec_eval and anybody who sorts by score agree.
    """

    def __init__(self, runs: Sequence[Mapping[str, Mapping[str, float]]], fusion: Fusion):
        """``runs``: two or more, qid to {docid: finite score}.

        Raises:
            JPQError: fewer than two runs, or another number of weights than of runs.
        """
        if len(runs) < 2:
            raise JPQError(f"fusion takes two runs or more, got {len(runs)}")
        if fusion.weights is not None and len(fusion.weights) != len(runs):
            raise JPQError(f"{len(fusion.weights)} weights for {len(runs)} runs: give one a run, in their order")
        self._runs, self._fusion = runs, fusion
        self._weights = np.array(fusion.weights or default_weights(fusion.method, len(runs)), dtype=np.float64)
        self._qids = list(dict.fromkeys(qid for run in runs for qid in run))

    def __iter__(self) -> Iterator[str]:
        return iter(self._qids)

    def __len__(self) -> int:
        return len(self._qids)

    def __contains__(self, qid: object) -> bool:
        return any(qid in run for run in self._runs)

    def __getitem__(self, qid: str) -> dict[str, float]:
        return self.weighted(*self.parts(qid), self._weights, qid)

    def parts(self, qid: str) -> tuple[list[str], np.ndarray]:
        """Return the U documents of all runs, docids descending, and what each run gives each: (U, R) float64."""
        if qid not in self:
            raise KeyError(qid)
        hits = [run.get(qid, {}) for run in self._runs]
        docids = sorted(set().union(*hits), reverse=True)
        scores = np.array([[of_run.get(docid, np.nan) for of_run in hits] for docid in docids])
        scores = scores.reshape(len(docids), len(hits))  # of no document too
        ranks = np.argsort(np.argsort(-_single(scores), axis=0, kind="stable"), axis=0) + 1  # NaN comes last
        scores[ranks > self._fusion.depth] = np.nan
        kept = ~np.isnan(scores).all(axis=1)
        docids = [docid for docid, keep in zip(docids, kept.tolist(), strict=True) if keep]
        scores, ranks = scores[kept], ranks[kept]
        if self._fusion.method == "rrf":
            return docids, np.where(np.isnan(scores), 0.0, 1 / (self._fusion.rrf_k + ranks))
        columns = [normalised(column, self._fusion.normalise) for column in scores.T]
        return docids, np.stack(columns, axis=1) if docids else scores

    def weighted(self, docids: list[str], parts: np.ndarray, weights: np.ndarray, qid: str) -> dict[str, float]:
        """Return the fused hits of :meth:`parts` under ``weights`` (R,)."""
        scores = _single(parts @ weights) + np.float32(0)  # which makes 0 of -0
        if not np.isfinite(scores).all():
            raise JPQError(
                f"query {qid!r}: a fused score is too large for single precision, which trec_eval reads: normalise"
            )
        best = np.argsort(-scores, kind="stable")[: self._fusion.hits]
        return {docids[i]: score for i, score in zip(best.tolist(), scores[best].tolist(), strict=True)}


def default_weights(method: str, runs: int) -> tuple[float, ...]:
    """Return the weights that leave all runs equal: Pyserini's own for each method."""
    return (1.0,) * runs if method == "rrf" else (1 / runs,) * runs


def normalised(scores: np.ndarray, how: str) -> np.ndarray:
    """Return the (U,) scores of one run for one query on the scale ``how``, see :class:`Fusion`; NaN: not listed."""
    missing = np.isnan(scores)
    listed = scores[~missing]
    if not len(listed):
        return np.zeros_like(scores)
    if how != "none":
        if listed.min() == listed.max():  # not std == 0: that of equal numbers may come out as 1e-17
            top = 1.0 if how == "min-max" else 0.0
            return np.where(missing, top - 1, top)
        scores = _scaled(scores, listed)
        listed = scores[~missing]
        low, scale = (listed.min(), np.ptp(listed)) if how == "min-max" else (listed.mean(), listed.std())
        scores = (scores - low) / scale
    return np.where(missing, scores[~missing].min(), scores)


def balanced_weights(runs: Sequence[Mapping[str, Mapping[str, float]]]) -> tuple[float, ...]:
    """Return weights, summing to 1, with which every run's scores spread equally over a query's hits, on average.

    Cosines differ by tenths, BM25 by tens. No judgements are used, so that the runs to be fused may give them.
    Equal weights if a run has no spread.
    """
    spreads = [_mean_spread(run) for run in runs]
    if not all(spreads):
        return default_weights("interpolation", len(runs))
    inverse = [1 / spread for spread in spreads]
    return tuple(weight / sum(inverse) for weight in inverse)


def _mean_spread(run: Mapping[str, Mapping[str, float]]) -> float:
    """Return the mean over queries of the best score minus the worst one."""
    spreads = [max(hits.values()) - min(hits.values()) for hits in run.values() if hits]
    return sum(spreads) / len(spreads) if spreads else 0.0


def _scaled(scores: np.ndarray, listed: np.ndarray) -> np.ndarray:
    """Return ``scores`` divided by a power of two, without rounding, so that sums and squares stay in range."""
    return np.ldexp(scores, -int(np.frexp(np.abs(listed).max())[1]))


def _single(scores: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return scores.astype(np.float32)
