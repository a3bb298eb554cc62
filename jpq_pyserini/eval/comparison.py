"""Several runs scored on the same queries, and what follows from their values: means and p values."""

import dataclasses
import functools
import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from jpq_pyserini.data.runs import ends_abruptly, read_run
from jpq_pyserini.errors import JPQError
from jpq_pyserini.eval.facts import Facts, read_facts
from jpq_pyserini.eval.measures import DEFAULT_MEASURES, aggregate, evaluate, trec_order
from jpq_pyserini.eval.significance import corrected, paired_t_test


class Hits(NamedTuple):
    """Top-ranked docid and rank of the first relevant document, for one run and query (None if absent)."""

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


def compare(
    runs: Mapping[str, str | os.PathLike],
    qrels: Mapping[str, Mapping[str, int]],
    measures: Sequence[str] = DEFAULT_MEASURES,
    *,
    against: str | None = None,
    correction: str = "none",
    topics: Mapping[str, str] | None = None,
    gains: Mapping[str, int] | None = None,
    with_hits: bool = False,
    note=lambda line: None,
) -> Comparison:
    """Read and score run files, one at a time, with the facts beside them.

    Args:
        runs: Name to run file.
        qrels: qid to docid to relevance.
        measures: Names that :func:`~jpq_pyserini.eval.measures.parse_measure` knows.
        against: Name of the run that the others are tested against.
        correction: One of :data:`~jpq_pyserini.eval.significance.CORRECTIONS`.
        topics: qid to query text.
        gains: Run name to how many of the queries that it wins and loses most are to be listed.
        with_hits: Also keep what each run finds first for each query.
        note: Called with a line about each run that leaves judged queries unanswered, or whose file ends abruptly.

    Raises:
        JPQError: a bad run file, a run without a judged query, an unknown measure, bad facts.
    """
    from tqdm import tqdm

    facts = {name: read_facts(path) for name, path in runs.items()}
    values, hits = {}, {}
    for name, path in tqdm(runs.items(), "scoring", unit="run", delay=2, leave=False, disable=None):
        values[name], found = _scored(path, name, qrels, measures, with_hits, note)
        if with_hits:
            hits[name] = found
    return Comparison(values, against, correction, facts, topics or {}, hits, gains or {})


def _scored(
    path, name: str, qrels, measures, with_hits: bool, note
) -> tuple[dict[str, dict[str, float]], dict[str, Hits]]:
    run = read_run(path, name)
    try:
        values = evaluate(run, qrels, measures)
    except JPQError as error:
        raise JPQError(f"{path}: {error}") from None
    if ends_abruptly(path):
        note(f"{name}: the last line of {path} has no line end: see that the file was not cut short")
    if unanswered := [qid for qid in qrels if qid not in run]:
        note(
            f"{name}: no result for {len(unanswered)} of the {len(qrels)} judged queries, which count zero "
            f"(first: {unanswered[0]})"
        )
    return values, hits_of(run, qrels) if with_hits else {}


def hits_of(run: Mapping[str, Mapping[str, float]], qrels: Mapping[str, Mapping[str, int]]) -> dict[str, Hits]:
    """Return what ``run`` finds for each judged query that it answers, ranked as trec_eval ranks."""
    found = {}
    for qid, judged in qrels.items():
        if qid not in run:
            continue
        ranked = trec_order(run[qid])
        rank = next((rank for rank, docid in enumerate(ranked, 1) if judged.get(docid, 0) > 0), None)
        found[qid] = Hits(ranked[0] if ranked else None, rank)
    return found
