"""Effectiveness measures, computed by pytrec_eval and equal to ``trec_eval -c`` digit for digit.

Names are those of the literature and of ir-measures: RR@10, nDCG@10, R@1000, AP, P@5, Success@1.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from jpq_pyserini.errors import JPQError

DEFAULT_MEASURES = ("RR@10", "nDCG@10", "R@100", "R@1000")

# Name -> trec_eval's measure without and with a cutoff; None where trec_eval has no such thing.
_FAMILIES = {
    "RR": ("recip_rank", "recip_rank"),  # trec_eval -M k -m recip_rank: see _cut_reciprocal_rank
    "MRR": ("recip_rank", "recip_rank"),
    "nDCG": ("ndcg", "ndcg_cut"),
    "R": (None, "recall"),
    "P": (None, "P"),
    "AP": ("map", "map_cut"),
    "Success": (None, "success"),
}
_QUERIES_AT_ONCE = 256


class Measure(NamedTuple):
    """One measure: the name that the user gave, trec_eval's name for it, its cutoff (None: no cutoff), and the least
    relevance that counts as relevant (trec_eval's ``-l``)."""

    name: str
    trec_name: str
    cutoff: int | None
    level: int = 1

    @property
    def key(self) -> str:
        """The key under which pytrec_eval returns it."""
        return self.trec_name if self.cutoff is None or self.truncates else f"{self.trec_name}_{self.cutoff}"

    @property
    def truncates(self) -> bool:
        """Whether the cutoff is ours, because trec_eval knows the measure only without one."""
        return self.trec_name == "recip_rank" and self.cutoff is not None


def parse_measure(name: str) -> Measure:
    """Return the measure called ``name``.

    >>> parse_measure("nDCG@10")
    Measure(name='nDCG@10', trec_name='ndcg_cut', cutoff=10, level=1)
    >>> parse_measure("R(rel=2)@1000")  # trec_eval -l 2 -m recall.1000
    Measure(name='R(rel=2)@1000', trec_name='recall', cutoff=1000, level=2)

    Raises:
        JPQError: no such measure, or a cutoff missing, too many or not positive; ``rel=`` with nDCG, whose grades it
            would not change.
    """
    graded = re.fullmatch(r"(?P<family>[A-Za-z]+)\(rel=(?P<level>[1-9][0-9]?)\)(?P<rest>.*)", name)
    level, plain_name = 1, name
    if graded and graded["family"].lower() != "ndcg":
        level, plain_name = int(graded["level"]), graded["family"] + graded["rest"]
    family, at, cutoff = plain_name.partition("@")
    spelling = {known.lower(): known for known in _FAMILIES}.get(family.lower())
    plain, cut = _FAMILIES.get(spelling, (None, None))
    if (trec_name := cut if at else plain) is None or (at and not re.fullmatch(r"[1-9][0-9]{0,8}", cutoff)):
        known = [f"{f}@K" for f in _FAMILIES] + [f for f, (plain, _) in _FAMILIES.items() if plain]
        raise JPQError(
            f"unknown measure {name!r}: there are {', '.join(known)}, K a positive integer; with (rel=2) before the @, "
            "all but nDCG count only what is judged 2 or better"
        )
    return Measure(name, trec_name, int(cutoff) if at else None, level)


def evaluate(
    run: Mapping[str, Mapping[str, float]],
    qrels: Mapping[str, Mapping[str, int]],
    measures: Sequence[str] = DEFAULT_MEASURES,
) -> dict[str, dict[str, float]]:
    """Score ``run`` (qid to docid to finite score) for every query of ``qrels`` (qid to docid to relevance).

    As ``trec_eval -c`` does: documents by descending score, then descending docid; a judged query without results, or
    without a relevant document, counts zero; queries that are not in the qrels do not count.

    >>> evaluate({"q": {"d1": 2.0, "d2": 1.0}}, {"q": {"d2": 1}, "other": {"d1": 1}}, ["RR@10"])
    {'RR@10': {'q': 0.5, 'other': 0.0}}

    Returns:
        Measure name to qid to value, queries in the order of ``qrels``.

    Raises:
        JPQError: an unknown measure; no query of ``run`` is in ``qrels``.
    """
    import pytrec_eval

    parsed = [parse_measure(name) for name in measures]
    judged = [qid for qid in qrels if qid in run]
    if not judged:
        raise JPQError(
            f"none of the run's {len(run)} query ids (first {next(iter(run), None)!r}) is in the qrels "
            f"({len(qrels)} queries, first {next(iter(qrels), None)!r}): give the qrels of the run's topics"
        )
    asked: dict[int, set[str]] = {}  # by relevance level
    for m in parsed:
        cut = m.trec_name if m.truncates or m.cutoff is None else f"{m.trec_name}.{m.cutoff}"
        asked.setdefault(m.level, set()).add(cut)
    values = {m.name: dict.fromkeys(qrels, 0.0) for m in parsed}
    for start in range(0, len(judged), _QUERIES_AT_ONCE):  # bounds the memory that the dicts of a long run need
        part = judged[start : start + _QUERIES_AT_ONCE]
        relevances = {qid: {docid: int(relevance) for docid, relevance in qrels[qid].items()} for qid in part}
        scores = {qid: {docid: float(score) for docid, score in run[qid].items()} for qid in part}  # no numpy numbers
        scored = {
            level: pytrec_eval.RelevanceEvaluator(relevances, names, relevance_level=level).evaluate(scores)
            for level, names in asked.items()
        }
        for measure in parsed:
            target = values[measure.name]
            for qid, of_query in scored[measure.level].items():
                value = of_query[measure.key]
                target[qid] = _cut_reciprocal_rank(value, measure.cutoff) if measure.truncates else value
    return values


def mean(values: Mapping[str, float] | Iterable[float]) -> float:
    """Return the mean that trec_eval prints: summed one by one, in the order of the query ids if they are given."""
    if isinstance(values, Mapping):
        values = [values[qid] for qid in sorted(values, key=str.encode)]
    total, count = 0.0, 0
    for value in values:  # neither sum() (compensated since Python 3.12) nor numpy's pairwise sum: trec_eval's own
        total += value
        count += 1
    return total / count


def _cut_reciprocal_rank(value: float, cutoff: int) -> float:
    """Return the reciprocal rank among the first ``cutoff``: what trec_eval -M cutoff computes, from the full one."""
    return value if value * cutoff > 1 - 1e-9 else 0.0
