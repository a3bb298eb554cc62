"""Weights of a fusion chosen on dev queries: every point of a grid is tried."""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from jpq_pyserini.errors import JPQError
from jpq_pyserini.eval.fusion.fusing import FusedRun, Fusion
from jpq_pyserini.eval.measures import evaluate, mean, parse_measure

_MOST_POINTS = 5000
_QUERIES_AT_ONCE = 256


@dataclasses.dataclass(frozen=True)
class Tuning:
    """What the grid gave.

    Attributes:
        measure: what was to be large.
        queries: number of dev queries.
        curve: weights to the measure's mean over the dev queries, in the grid's order.
    """

    measure: str
    queries: int
    curve: Mapping[tuple[float, ...], float]

    @property
    def best(self) -> tuple[float, ...]:
        """The weights with the greatest mean; of equal ones those nearest to equal weights, then the first."""
        return min(self.curve, key=lambda weights: (-self.curve[weights], sum(weight**2 for weight in weights)))


def tune(
    runs: Sequence[Mapping[str, Mapping[str, float]]],
    qrels: Mapping[str, Mapping[str, int]],
    fusion: Fusion,
    *,
    measure: str = "RR@10",
    step: float = 0.05,
) -> Tuning:
    """Score the fusion of dev ``runs`` under all weights that are multiples of ``step`` and sum to 1.

    Args:
        runs: qid to {docid: score}, one a system.
        qrels: of the dev queries; as in ``trec_eval -c``, a judged query without results counts zero.
        fusion: everything but the weights.
        measure: a name that :func:`~jpq_pyserini.eval.measures.parse_measure` knows.
        step: of the grid; 1 / step is rounded to a whole number.

    Raises:
        JPQError: a step out of range or too fine for so many runs; no judged query in any run.
    """
    from tqdm import tqdm

    grid = [np.array(weights) for weights in simplex(len(runs), step)]
    hits = min(fusion.hits, parse_measure(measure).depth or fusion.hits)  # what lies below the cutoff is not looked at
    fused = FusedRun(runs, dataclasses.replace(fusion, weights=None, hits=hits))
    values: list[dict[str, float]] = [{} for _ in grid]
    judged = [qid for qid in qrels if qid in fused]
    if not judged:
        evaluate(fused, qrels, [measure])  # which says so
    for start in tqdm(
        range(0, len(judged), _QUERIES_AT_ONCE), "tuning", unit="batch", delay=2, leave=False, disable=None
    ):
        qids = judged[start : start + _QUERIES_AT_ONCE]
        part = {qid: qrels[qid] for qid in qids}
        parts = {qid: fused.parts(qid) for qid in qids}
        for weights, of_point in zip(grid, values, strict=True):
            run = {qid: fused.weighted(*parts[qid], weights, qid) for qid in qids}
            of_point |= evaluate(run, part, [measure])[measure]
    nothing = dict.fromkeys(qrels, 0.0)
    curve = {tuple(w.tolist()): mean(nothing | of_point) for w, of_point in zip(grid, values, strict=True)}
    return Tuning(measure, len(qrels), curve)


def simplex(runs: int, step: float) -> Iterator[tuple[float, ...]]:
    """Yield all ``runs`` weights that are multiples of ``step`` and sum to 1, the first run's weight rising.

    >>> list(simplex(2, 0.5))
    [(0.0, 1.0), (0.5, 0.5), (1.0, 0.0)]
    """
    if not 0 < step <= 1:
        raise JPQError(f"step {step:g} of the weights: give a number above 0, at most 1")
    steps = round(1 / step)
    if (points := math.comb(steps + runs - 1, runs - 1)) > _MOST_POINTS:
        raise JPQError(
            f"step {step:g} of the weights of {runs} runs makes {points:,} points, more than {_MOST_POINTS:,}: take a "
            "larger step"
        )
    for counts in _compositions(steps, runs):
        yield tuple(count / steps for count in counts)


def _compositions(total: int, parts: int) -> Iterator[tuple[int, ...]]:
    if parts == 1:
        yield (total,)
        return
    for first in range(total + 1):
        for rest in _compositions(total - first, parts - 1):
            yield (first, *rest)
