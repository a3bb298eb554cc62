"""The table that every form shows: one row a run, values as trec_eval prints them, then its size and speed."""

from typing import NamedTuple

from jpq_pyserini.eval.comparison import Comparison
from jpq_pyserini.eval.measures import shown
from jpq_pyserini.eval.report.gains import Change, Gains
from jpq_pyserini.eval.significance import mark

#: Head of the column to the fact that it shows.
FACT_COLUMNS = {
    "bytes/doc": "bytes_per_document",
    "vectors on disk": "vector_bytes_per_document",
    "ms/query": "ms_per_query",
    "encoding ms": "encode_ms_per_query",
}
UNKNOWN = "–"
#: How the columns of :func:`gains_rows` are aligned, see :mod:`jpq_pyserini.tables`.
GAINS_ALIGN = "lrrrrl"
_CORRECTIONS = {"bonferroni": "Bonferroni", "holm": "Holm"}


class Cell(NamedTuple):
    """One cell: what it says, whether it is the best of its column, its marks, and the number behind it."""

    text: str
    best: bool = False
    marks: str = ""
    value: float | None = None


def table(comparison: Comparison) -> tuple[list[str], list[list[Cell]]]:
    """Return the heads of the columns and one row a run; columns of facts appear when any run has them.

    All values that are equal as far as they are shown are the best of their column.
    """
    means, p_values = comparison.means(), comparison.corrected_p_values()
    texts = {run: {name: shown(name, value) for name, value in of_run.items()} for run, of_run in means.items()}
    columns = {
        head: fact
        for head, fact in FACT_COLUMNS.items()
        if any(getattr(facts, fact) is not None for facts in comparison.facts.values())
    }
    rows = []
    for run, of_run in texts.items():
        row = [Cell(run)]
        for measure, text in of_run.items():
            best = len(texts) > 1 and float(text) == max(float(other[measure]) for other in texts.values())
            row.append(Cell(text, best, mark(p_values.get(run, {}).get(measure)), means[run][measure]))
        for fact in columns.values():
            value = getattr(comparison.facts.get(run), fact, None)
            row.append(Cell(UNKNOWN if value is None else _rounded(value), value=value))
        rows.append(row)
    return ["run", *comparison.measures, *columns], rows


def legend(comparison: Comparison, best: str) -> list[str]:
    """Return the lines under a table; ``best`` says how it shows the best values."""
    queries = _count(comparison.queries, "queries", "query")
    lines = [queries + (f"; {best}" if len(comparison.values) > 1 else "")]
    if comparison.against is not None:
        lines.append(
            f"* p<0.05, ** p<0.01 against {comparison.against} (two-tailed paired t-test{_family(comparison)})"
        )
    timed = [facts for facts in comparison.facts.values() if facts.ms_per_query is not None]
    if timed:
        threads = sorted({facts.threads for facts in timed if facts.threads is not None})
        known = f", {' or '.join(map(str, threads))} thread{'s' * (threads != [1])}" if threads else ""
        lines.append(f"ms/query: median of a search for one query, encoding apart{known}")
    return lines


def gains_rows(gains: Gains, changes: list[Change]) -> tuple[list[str], list[list[str]]]:
    """Return heads and rows of a table of queries won or lost; the last column is the text, if any query has one."""
    head = ["query", "difference", gains.run, gains.against, "first relevant", "first hit", f"that of {gains.against}"]
    rows = [
        [
            change.qid,
            f"{change.difference:+.4f}",
            shown(gains.measure, change.value),
            shown(gains.measure, change.other),
            f"{change.hits.relevant_rank or UNKNOWN} / {change.other_hits.relevant_rank or UNKNOWN}",
            change.hits.first or UNKNOWN,
            change.other_hits.first or UNKNOWN,
            change.text,
        ]
        for change in changes
    ]
    if not any(change.text for change in (*gains.won, *gains.lost)):
        return head, [row[:-1] for row in rows]
    return [*head, "text"], rows


def gains_title(gains: Gains) -> str:
    """Return the line above the tables of won and lost queries."""
    return (
        f"{gains.run} against {gains.against}, {gains.measure}: "
        f"{gains.wins} queries won, {gains.ties} tied, {gains.losses} lost"
    )


def _rounded(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _family(comparison: Comparison) -> str:
    """Return the correction and what it is over, in words; nothing without one."""
    if comparison.correction == "none":
        return ""
    runs = _count(len(comparison.values) - 1, "runs", "run")
    measures = _count(len(comparison.measures), "measures", "measure")
    return (
        f"; {_CORRECTIONS[comparison.correction]}'s correction over the {_count(comparison.tests, 'tests', 'test')} "
        f"of this table, {runs} × {measures}"
    )


def _count(number: int, many: str, one: str) -> str:
    return f"{number} {one if number == 1 else many}"
