"""Several runs scored on the same queries, and what follows from their values: means and p values."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import NamedTuple

from jpq_pyserini.eval.facts import Facts
from jpq_pyserini.eval.measures import aggregate
from jpq_pyserini.eval.significance import corrected, paired_t_test


class Hits(NamedTuple):
    """Of one run and query: the docid it ranks first, and the rank of its first relevant one; None without any."""

    first: str | None
    relevant_rank: int | None


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Several runs scored on the same queries.

    Attributes:
        values: Run name to measure to qid to value; every run has the same measures and queries.
        against: Name of the run that the others are tested against, or None.
        correction: One of :data:`~jpq_pyserini.eval.significance.CORRECTIONS`, over all tests of the comparison.
        facts: Run name to size, speed and making, where they are known.
        topics: qid to query text, as far as known.
        hits: Run name to qid to :class:`Hits`, for the queries that the run answers; empty if nobody looked.
        gains: Run name to how many of the queries that it wins and loses most against ``against`` are listed.
    """

    values: Mapping[str, Mapping[str, Mapping[str, float]]]
    against: str | None = None
    correction: str = "none"
    facts: Mapping[str, Facts] = dataclasses.field(default_factory=dict)
    topics: Mapping[str, str] = dataclasses.field(default_factory=dict)
    hits: Mapping[str, Mapping[str, Hits]] = dataclasses.field(default_factory=dict)
    gains: Mapping[str, int] = dataclasses.field(default_factory=dict)

    @property
    def measures(self) -> list[str]:
        return list(next(iter(self.values.values())))

    @property
    def qids(self) -> list[str]:
        return list(next(iter(next(iter(self.values.values())).values())))

    @property
    def queries(self) -> int:
        return len(next(iter(next(iter(self.values.values())).values())))

    @property
    def tests(self) -> int:
        """How many tests the comparison makes: the family that a correction is over."""
        return 0 if self.against is None else (len(self.values) - 1) * len(self.measures)

    def means(self) -> dict[str, dict[str, float]]:
        """Return run name to measure to mean over the queries (the sum for what is counted, as in trec_eval)."""
        return self._means

    def p_values(self) -> dict[str, dict[str, float]]:
        """Return run name to measure to p value, uncorrected, for every run but ``against``; empty without it."""
        return self._p_values

    def corrected_p_values(self) -> dict[str, dict[str, float]]:
        """Return the same after the correction; marks go by these."""
        return self._corrected

    def text_of(self, qid: str) -> str:
        """Return the text of a query, empty if unknown. Pyserini reads query id 007 as 7."""
        return self.topics.get(qid) or (self.topics.get(str(int(qid)), "") if qid.isdecimal() else "")

    @functools.cached_property
    def _means(self) -> dict[str, dict[str, float]]:
        return {
            run: {measure: aggregate(measure, values) for measure, values in of_run.items()}
            for run, of_run in self.values.items()
        }

    @functools.cached_property
    def _p_values(self) -> dict[str, dict[str, float]]:
        if self.against is None:
            return {}
        base = self.values[self.against]
        return {
            run: {measure: paired_t_test(of_run[measure], base[measure]) for measure in of_run}
            for run, of_run in self.values.items()
            if run != self.against
        }

    @functools.cached_property
    def _corrected(self) -> dict[str, dict[str, float]]:
        plain = self._p_values
        adjusted = iter(corrected([p for of_run in plain.values() for p in of_run.values()], self.correction))
        return {run: {measure: next(adjusted) for measure in of_run} for run, of_run in plain.items()}
