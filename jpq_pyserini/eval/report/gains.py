"""Which queries one run wins and loses against another."""

import dataclasses
import math
from typing import NamedTuple

from jpq_pyserini.eval.comparison import Comparison, Hits

_NOTHING = Hits(None, None)


class Change(NamedTuple):
    """One query: the values of the run and of the other, and what each found; ``text`` is empty if unknown."""

    qid: str
    text: str
    value: float
    other: float
    hits: Hits
    other_hits: Hits

    @property
    def difference(self) -> float:
        return self.value - self.other


@dataclasses.dataclass(frozen=True)
class Gains:
    """How ``run`` fares against ``against``, query by query, in the first measure of the comparison.

    Attributes:
        wins, ties, losses: numbers of queries.
        won, lost: the queries with the greatest gains and losses, greatest first; of equals those first
            whose first relevant document the loser ranks lowest.
    """

    run: str
    against: str
    measure: str
    wins: int
    ties: int
    losses: int
    won: list[Change]
    lost: list[Change]


def gains_of(comparison: Comparison) -> list[Gains]:
    """Return the gains that ``comparison.gains`` asks for."""
    against = comparison.against
    if against is None:
        return []
    return [_gains(comparison, run, against, count) for run, count in comparison.gains.items()]


def _gains(comparison: Comparison, run: str, against: str, count: int) -> Gains:
    measure = comparison.measures[0]
    values, others = comparison.values[run][measure], comparison.values[against][measure]
    differences = {qid: values[qid] - others[qid] for qid in values}

    def missed_by(name: str, qid: str) -> float:
        """Among equal differences those come first where the loser's first relevant document is farthest down."""
        return -(comparison.hits.get(name, {}).get(qid, _NOTHING).relevant_rank or math.inf)

    falling = sorted(differences, key=lambda qid: (-differences[qid], missed_by(against, qid)))
    rising = sorted(differences, key=lambda qid: (differences[qid], missed_by(run, qid)))
    wins, losses = sum(d > 0 for d in differences.values()), sum(d < 0 for d in differences.values())

    def change(qid: str) -> Change:
        ours, theirs = (comparison.hits.get(name, {}).get(qid, _NOTHING) for name in (run, against))
        return Change(qid, comparison.text_of(qid), values[qid], others[qid], ours, theirs)

    won, lost = falling[: min(count, wins)], rising[: min(count, losses)]
    ties = len(differences) - wins - losses
    return Gains(run, against, measure, wins, ties, losses, [*map(change, won)], [*map(change, lost)])
