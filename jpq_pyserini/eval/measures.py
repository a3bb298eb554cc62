"""Effectiveness measures, computed by pytrec_eval and equal to ``trec_eval -c`` digit for digit.

Every measure of ir_measures can be named (RR@10, nDCG@10, AP(rel=2), nDCG(dcg='exp-log2')@10, Judged@10, …), in
trec_eval's words too (``ndcg_cut.10``), and so can the official MRR of MS MARCO (``MSMARCO-MRR@10``).
"""

import functools
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jpq_pyserini.errors import JPQError, reason_of

DEFAULT_MEASURES = ("RR@10", "nDCG@10", "R@100", "R@1000")

_OFFICIAL = "MSMARCO-MRR"  # the measure of MS MARCO's leaderboards, over the ranks that a run's file states
_QUERIES_AT_ONCE = 256
_KNOWN = (
    "give a name of ir_measures (RR@10, nDCG@10, R@100, AP(rel=2), Judged@10, …; https://ir-measur.es), one of "
    "trec_eval's (ndcg_cut.10, recall.100, map, …) or MSMARCO-MRR@K, K a positive integer"
)


class Measure(NamedTuple):
    """One measure: how to have it computed.

    Attributes:
        name: as the user gave it.
        base: what ``provider`` computes, an ``ir_measures.Measure``; None for the official MRR of MS MARCO.
        provider: a provider of ir_measures.
        cutoff: where we cut ourselves, because the base has none; else None.
    """

    name: str
    base: Any
    provider: Any
    cutoff: int | None = None

    @property
    def depth(self) -> int | None:
        """Documents of a query that can matter: the cutoff, whoever applies it; None without one."""
        return self.cutoff or self.base.params.get("cutoff")

    @property
    def is_total(self) -> bool:
        """Whether trec_eval prints the sum over queries, not the mean: NumQ, NumRel, NumRet."""
        return self.base is not None and self.base.NAME in ("NumQ", "NumRel", "NumRet")

    def unanswered(self, relevances: Mapping[str, int]) -> float:
        """Return the value for a judged query that the run leaves out, as ``trec_eval -c`` counts it."""
        if self.base is not None and self.base.NAME == "NumRel":
            return float(sum(relevance >= 1 for relevance in relevances.values()))
        return 1.0 if self.base is not None and self.base.NAME == "NumQ" else 0.0


@functools.lru_cache(maxsize=256)
def parse_measure(name: str) -> Measure:
    """Return the measure called ``name``; upper and lower case are alike.

    >>> parse_measure("recip_rank").base, parse_measure("rr(rel=2)@10").cutoff
    (RR, 10)

    Raises:
        JPQError: no such measure, a parameter that it lacks or needs, or one that needs a package not installed.
    """
    if official := re.fullmatch(rf"{_OFFICIAL}@([1-9][0-9]{{0,3}})", name, re.IGNORECASE):
        return Measure(name, None, None, int(official[1]))
    measure = _parsed(name)
    for parameter, known in measure.SUPPORTED_PARAMS.items():
        if known.required and parameter not in measure.params:
            form = f"{name}@X" if parameter == measure.AT_PARAM else f"{name}({parameter}=…)"
            raise JPQError(f"unknown measure {name!r}: it needs a {parameter}: {form}")
    try:
        measure.validate_params()
    except AssertionError as error:
        raise JPQError(f"unknown measure {name!r}: {error}; {_KNOWN}") from None
    if measure.params.get("cutoff", 1) < 1:
        raise JPQError(f"unknown measure {name!r}: its cutoff is not positive; {_KNOWN}")
    parsed = _with_provider(name, measure)
    try:  # what a measure cannot do, it says on two documents as well as after minutes
        _values([parsed], {"1": {"a": 1, "b": 0}}, {"1": {"a": 2.0, "b": 1.0}})
    except Exception as error:  # each provider has exceptions of its own
        raise JPQError(f"measure {name!r} cannot be computed: {reason_of(error)}") from None
    return parsed


def evaluate(
    run: Mapping[str, Mapping[str, float]],
    qrels: Mapping[str, Mapping[str, int]],
    measures: Sequence[str] = DEFAULT_MEASURES,
) -> dict[str, dict[str, float]]:
    """Score ``run`` (qid to docid to finite score) for every query of ``qrels`` (qid to docid to relevance).

    As ``trec_eval -c`` does: documents by descending score, then descending docid; a judged query without results, or
    without a relevant document, counts zero; queries that are not in the qrels do not count. ``MSMARCO-MRR@K`` goes by
    the ranks that a :class:`~jpq_pyserini.data.runs.Run` has from its file instead.

    >>> evaluate({"q": {"d1": 2.0, "d2": 1.0}}, {"q": {"d2": 1}, "other": {"d1": 1}}, ["RR@10"])
    {'RR@10': {'q': 0.5, 'other': 0.0}}

    Returns:
        Measure name to qid to value, queries in the order of ``qrels``.

    Raises:
        JPQError: an unknown measure; no query of ``run`` is in ``qrels``; MSMARCO-MRR of a run without ranks.
    """
    parsed = [parse_measure(name) for name in measures]
    judged = [qid for qid in qrels if qid in run]
    if not judged:
        raise JPQError(
            f"none of the run's {len(run)} query ids (first {next(iter(run), None)!r}) is in the qrels "
            f"({len(qrels)} queries, first {next(iter(qrels), None)!r}): give the qrels of the run's topics"
        )
    values = {m.name: {qid: m.unanswered(relevances) for qid, relevances in qrels.items()} for m in parsed}
    computed = [measure for measure in parsed if measure.base is not None]
    for start in range(0, len(judged) if computed else 0, _QUERIES_AT_ONCE):  # bounds the memory of a long run's dicts
        part = judged[start : start + _QUERIES_AT_ONCE]
        relevances = {qid: {docid: int(relevance) for docid, relevance in qrels[qid].items()} for qid in part}
        scores = {qid: {docid: float(score) for docid, score in run[qid].items()} for qid in part}  # no numpy numbers
        try:
            of_part = _values(computed, relevances, scores)
        except Exception as error:  # each provider has exceptions of its own
            raise JPQError(f"{', '.join(measures)} cannot be computed: {reason_of(error)}") from error
        for name, of_queries in of_part.items():
            values[name].update(of_queries)
    for measure in parsed:
        if measure.base is None and measure.cutoff is not None:
            for qid in judged:
                values[measure.name][qid] = _official_reciprocal_rank(run, qid, qrels[qid], measure.cutoff)
    return values


def _official_reciprocal_rank(run, qid: str, relevances: Mapping[str, int], cutoff: int) -> float:
    """Return what ``msmarco_passage_eval`` (cutoff 10) and ``msmarco_doc_eval`` (100) add up for one query.

    The script goes by the third column of an MS MARCO run, not by scores; a TREC run is taken by its rank column, which
    is what Anserini's converter between the formats does. Where two documents have one rank, the later line counts; a
    rank that nothing has is a miss. The script takes every line of its qrels for relevant; here those above zero are,
    which is the same for the qrels it is made for.

    Raises:
        JPQError: ``run`` is not from a file, or its ranks are not 1, 2, ….
    """
    if not hasattr(run, "at_ranks"):
        raise JPQError(f"{_OFFICIAL}@{cutoff} needs the ranks of a run file: use RR@{cutoff}, which goes by scores")
    for rank, docid in enumerate(run.at_ranks(qid, cutoff), 1):
        if docid is not None and relevances.get(docid, 0) > 0:
            return 1 / rank
    return 0.0


def mean(values: Mapping[str, float] | Iterable[float]) -> float:
    """Return the mean that trec_eval prints: summed one by one, in the order of the query ids if they are given."""
    if isinstance(values, Mapping):
        values = [values[qid] for qid in sorted(values, key=str.encode)]
    total, count = 0.0, 0
    for value in values:  # neither sum() (compensated since Python 3.12) nor numpy's pairwise sum: trec_eval's own
        total += value
        count += 1
    return total / count


def aggregate(name: str, values: Mapping[str, float]) -> float:
    """Return what trec_eval prints for all queries: the mean, or the sum of what is counted (NumRet and the like)."""
    return float(sum(values.values())) if parse_measure(name).is_total else mean(values)


def shown(name: str, value: float) -> str:
    """Return ``value`` of measure ``name`` as trec_eval prints it: four decimals, or none if it is a count."""
    return f"{value:.0f}" if parse_measure(name).is_total else f"{value:.4f}"


def trec_order(scores: Mapping[str, float]) -> list[str]:
    """Return the docids as trec_eval ranks them: by score in single precision, then bytes, both descending.

    >>> trec_order({"a": 1.0 + 1e-12, "b": 1.0, "c": 2.0})
    ['c', 'b', 'a']
    """
    with np.errstate(over="ignore"):
        single = np.fromiter(scores.values(), np.float64, len(scores)).astype(np.float32).tolist()
    ordered = sorted(zip(single, (docid.encode() for docid in scores), scores, strict=True), reverse=True)
    return [docid for *_, docid in ordered]


def _parsed(name: str):
    """Return ir_measures' measure of that name, or of trec_eval's name."""
    import ir_measures

    spellings = {known.lower(): known for known in ir_measures.measures.registry}
    family = re.split(r"\W", name, maxsplit=1)[0]
    reason = ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # it uses what Python 3.14 takes out of ast
            return ir_measures.parse_measure(str(spellings.get(family.lower(), family)) + name[len(family) :])
    except (NameError, SyntaxError):
        pass
    except Exception as error:  # a wrong parameter can raise anything
        reason = f"{reason_of(error)}; "
    try:
        named = ir_measures.parse_trec_measure(name)
    except ValueError:
        named = []
    if len(named) != 1:
        raise JPQError(f"unknown measure {name!r}: {reason}{_KNOWN}")
    return named[0]


def _with_provider(name: str, measure) -> Measure:
    """Choose who computes ``measure`` so that it agrees with trec_eval: pytrec_eval wherever it can."""
    import ir_measures

    exact = ir_measures.pytrec_eval
    cutoff = None
    if measure.NAME == "RR" and "cutoff" in measure.params:  # others cut it after an order of their own
        params = dict(measure.params)
        cutoff = params.pop("cutoff")
        measure = type(measure)(**params)
    elif measure.NAME == "nDCG" and measure["dcg"] == "exp-log2" and "gains" not in measure.params:
        params = {key: value for key, value in measure.params.items() if key != "dcg"}
        measure = type(measure)(**params, gains={relevance: 2**relevance - 1 for relevance in range(1, 31)})
    if exact.supports(measure):
        return Measure(name, measure, exact, cutoff)
    able = [provider for provider in ir_measures.DefaultPipeline.providers if provider.supports(measure)]
    for provider in able:
        if provider.is_available():
            return Measure(name, measure, provider, cutoff)
    needed = " or ".join(filter(None, (provider.install_instructions() for provider in able)))
    if not needed and measure.NAME == "RBP":
        needed = "name what is relevant, RBP(p=0.8,rel=1)"
    raise JPQError(f"measure {name!r} cannot be computed here: {needed or 'ir_measures has no way to compute it'}")


def _values(measures: Sequence[Measure], relevances, scores) -> dict[str, dict[str, float]]:
    """Return measure name to qid to value for the queries of ``relevances`` and ``scores``."""
    import ir_measures

    groups: dict[tuple, list[Measure]] = {}
    for measure in measures:
        # One call takes measures of one kind only: ir_measures would give the gains of one to another.
        options = repr([measure.base.params.get(option) for option in ("gains", "judged_only")])
        groups.setdefault((measure.provider.NAME, options), []).append(measure)
    values: dict[str, dict[str, float]] = {measure.name: {} for measure in measures}
    ranked = None
    for (provider, _), group in groups.items():
        qids, judged, scored = None, relevances, scores
        if provider != ir_measures.pytrec_eval.NAME:
            # The others break ties as they like, and one takes only numbers for query ids.
            ranked = ranked or _renamed(relevances, scores)
            qids, judged, scored = ranked
        wanted: dict[Any, list[Measure]] = {}
        for measure in group:
            wanted.setdefault(measure.base, []).append(measure)
        for metric in group[0].provider.evaluator(list(wanted), judged).iter_calc(scored):
            qid = metric.query_id if qids is None else qids[metric.query_id]
            for measure in wanted[metric.measure]:
                value = float(metric.value)
                cutoff = measure.cutoff
                values[measure.name][qid] = value if cutoff is None else _cut_reciprocal_rank(value, cutoff)
    return values


def _renamed(relevances, scores):
    """Return {number: qid}, relevances and scores by number, the scores such that no two are equal in trec's order."""
    qids = {str(number): qid for number, qid in enumerate(relevances, 1)}
    judged = {number: dict(relevances[qid]) for number, qid in qids.items()}
    scored = {
        number: {docid: float(-rank) for rank, docid in enumerate(trec_order(scores[qid]))}
        for number, qid in qids.items()
        if scores[qid]
    }
    return qids, judged, scored


def _cut_reciprocal_rank(value: float, cutoff: int) -> float:
    """Return the reciprocal rank among the first ``cutoff``: what trec_eval -M cutoff computes, from the full one."""
    return value if value * cutoff > 1 - 1e-9 else 0.0
