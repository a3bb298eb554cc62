"""The table for a terminal."""

from textwrap import indent

from jpq_pyserini.eval.comparison import Comparison
from jpq_pyserini.eval.report.gains import gains_of
from jpq_pyserini.eval.report.table import GAINS_ALIGN, gains_rows, gains_title, legend, table
from jpq_pyserini.tables import as_text as aligned

_TEXT_WIDTH = 80


def as_text(comparison: Comparison, **_) -> str:
    """Return an aligned table, the best value of each measure behind ``>``; then the gains that are asked for."""
    head, body = table(comparison)
    room = 2 if comparison.against is not None else 0  # for the marks, so that the numbers stay aligned
    measures = len(comparison.measures)
    rows = [[head[0], *(name + " " * room for name in head[1 : measures + 1]), *head[measures + 1 :]]]
    for name, *cells in body:
        values = [f"{'>' if cell.best else ''}{cell.text}{cell.marks:{room}}" for cell in cells[:measures]]
        rows.append([name.text, *values, *(cell.text for cell in cells[measures:])])
    lines = [aligned(rows), "", *legend(comparison, "> best")]
    for gains in gains_of(comparison):
        lines += ["", gains_title(gains)]
        for kind, changes in (("won", gains.won), ("lost", gains.lost)):
            if changes:
                heads, rows = gains_rows(gains, changes)
                rows = [[*row[:7], *map(_shortened, row[7:])] for row in (heads, *rows)]
                lines += ["", f"most {kind}", indent(aligned(rows, GAINS_ALIGN), "  ")]
    return "\n".join(lines) + "\n"


def _shortened(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _TEXT_WIDTH else text[: _TEXT_WIDTH - 1] + "…"
