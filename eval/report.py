"""A comparison of runs as data, and the forms in which it is shown: terminal table, Markdown, JSON, per-query TSV."""

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping

from jpq_pyserini.eval.measures import mean
from jpq_pyserini.eval.significance import mark, paired_t_test


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Several runs scored on the same queries.

    Attributes:
        values: Run name to measure to qid to value; every run has the same measures and queries.
        against: Name of the run that the others are tested against, or None.
    """

    values: Mapping[str, Mapping[str, Mapping[str, float]]]
    against: str | None = None

    @property
    def measures(self) -> list[str]:
        return list(next(iter(self.values.values())))

    @property
    def queries(self) -> int:
        return len(next(iter(next(iter(self.values.values())).values())))

    def means(self) -> dict[str, dict[str, float]]:
        """Return run name to measure to mean over the queries."""
        return {run: {measure: mean(v) for measure, v in of_run.items()} for run, of_run in self.values.items()}

    def p_values(self) -> dict[str, dict[str, float]]:
        """Return run name to measure to p value, for every run but ``against``; empty without it."""
        if self.against is None:
            return {}
        base = self.values[self.against]
        return {
            run: {measure: paired_t_test(of_run[measure], base[measure]) for measure in of_run}
            for run, of_run in self.values.items()
            if run != self.against
        }


def as_text(comparison: Comparison) -> str:
    """Return an aligned table, the best value of each measure behind ``>``."""
    room = 2 if comparison.against is not None else 0  # for the marks, so that the numbers stay aligned
    header, *body = _rows(comparison, lambda value, best, marks: f"{'>' if best else ''}{value}{marks:{room}}")
    rows = [[header[0], *(name + " " * room for name in header[1:])], *body]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in rows]
    return "\n".join([*lines, "", *_legend(comparison, "> best")]) + "\n"


def as_markdown(comparison: Comparison) -> str:
    """Return a Markdown table, the best value of each measure in bold."""

    def cell(value: str, best: bool, marks: str) -> str:
        return (f"**{value}**" if best else value) + marks.replace("*", "\\*")

    header, *body = _rows(comparison, cell)
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *([row[0].replace("|", "\\|"), *row[1:]] for row in body)]
    legend = ". ".join(_legend(comparison, "bold: best")).replace("*", "\\*")
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + f"\n\n{legend}.\n"


def as_json(comparison: Comparison, **facts) -> str:
    """Return unrounded means and p values as JSON; ``facts`` go first."""
    means, p_values = comparison.means(), comparison.p_values()
    runs = [
        {"name": run, "means": means[run]} | ({"p_values": p_values[run]} if run in p_values else {}) for run in means
    ]
    record = facts | {"queries": comparison.queries, "against": comparison.against, "runs": runs}
    return json.dumps(record, indent=2, ensure_ascii=False) + "\n"


def per_query_lines(comparison: Comparison) -> Iterator[str]:
    """Yield a header and one line for each query, run and measure: qid, run, measure, value."""
    yield "qid\trun\tmeasure\tvalue\n"
    for run, of_run in comparison.values.items():
        for measure, values in of_run.items():
            for qid, value in values.items():
                yield f"{qid}\t{run}\t{measure}\t{value!r}\n"


def _rows(comparison: Comparison, show: Callable[[str, bool, str], str]) -> list[list[str]]:
    """Return a header and one row a run; ``show`` makes a cell of (value, whether it is the best, marks).

    Values have four decimals, as trec_eval prints them; all that are equal so far are the best.
    """
    means, p_values = comparison.means(), comparison.p_values()
    values = {run: {measure: f"{value:.4f}" for measure, value in of_run.items()} for run, of_run in means.items()}
    rows = [["run", *comparison.measures]]
    for run, of_run in values.items():
        row = [run]
        for measure, value in of_run.items():
            best = len(values) > 1 and float(value) == max(float(other[measure]) for other in values.values())
            row.append(show(value, best, mark(p_values.get(run, {}).get(measure))))
        rows.append(row)
    return rows


def _legend(comparison: Comparison, best: str) -> list[str]:
    lines = [f"{comparison.queries} queries" + (f"; {best}" if len(comparison.values) > 1 else "")]
    if comparison.against is not None:
        lines.append(f"* p<0.05, ** p<0.01 against {comparison.against} (two-tailed paired t-test)")
    return lines
