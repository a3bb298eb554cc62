"""The comparison for other programs: JSON, and every query's values as TSV."""

import dataclasses
import json
from collections.abc import Iterator

from jpq_pyserini.eval.comparison import Comparison
from jpq_pyserini.eval.report.gains import Gains, gains_of


def as_json(comparison: Comparison, **facts) -> str:
    """Return unrounded means and p values, the runs' facts and the gains that are asked for; ``facts`` go first."""
    means, p_values, corrected = comparison.means(), comparison.p_values(), comparison.corrected_p_values()
    runs = []
    for run in means:
        of_run = {"name": run, "means": means[run]}
        if run in p_values:
            of_run["p_values"] = p_values[run]
            if comparison.correction != "none":
                of_run["corrected_p_values"] = corrected[run]
        known = {name: value for name, value in _facts(comparison, run).items() if value is not None}
        runs.append(of_run | ({"facts": known} if known else {}))
    record = facts | {"queries": comparison.queries, "against": comparison.against}
    if comparison.correction != "none":
        record |= {"correction": comparison.correction, "tests": comparison.tests}
    record["runs"] = runs
    if comparison.gains:
        record["gains"] = [_gains(each) for each in gains_of(comparison)]
    return json.dumps(record, indent=2, ensure_ascii=False) + "\n"


def per_query_lines(comparison: Comparison) -> Iterator[str]:
    """Yield a header and one line for each query, run and measure: qid, run, measure, value."""
    yield "qid\trun\tmeasure\tvalue\n"
    for run, of_run in comparison.values.items():
        for measure, values in of_run.items():
            for qid, value in values.items():
                yield f"{qid}\t{run}\t{measure}\t{value!r}\n"


def _facts(comparison: Comparison, run: str) -> dict:
    return dataclasses.asdict(comparison.facts[run]) if run in comparison.facts else {}


def _gains(gains: Gains) -> dict:
    record = {field: getattr(gains, field) for field in ("run", "against", "measure", "wins", "ties", "losses")}
    for kind in ("won", "lost"):
        record[kind] = [
            {
                "qid": change.qid,
                "text": change.text or None,
                "difference": change.difference,
                "value": change.value,
                "other": change.other,
                "hits": change.hits._asdict(),
                "other_hits": change.other_hits._asdict(),
            }
            for change in getattr(gains, kind)
        ]
    return record
