"""The table for a terminal."""

from collections.abc import Sequence

from jpq_pyserini.eval.comparison import Comparison
from jpq_pyserini.eval.report.gains import gains_of
from jpq_pyserini.eval.report.table import gains_rows, gains_title, legend, table

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
    lines = [*_aligned(rows, left=(0,)), "", *legend(comparison, "> best")]
    for gains in gains_of(comparison):
        lines += ["", gains_title(gains)]
        for kind, changes in (("won", gains.won), ("lost", gains.lost)):
            if changes:
                heads, rows = gains_rows(gains, changes)
                with_text = len(heads) == 8
                if with_text:
                    rows = [[*row[:-1], _shortened(row[-1])] for row in rows]
                left = (0, 5, 6, 7) if with_text else (0, 5, 6)
                lines += ["", f"most {kind}", *("  " + line for line in _aligned([heads, *rows], left))]
    return "\n".join(lines) + "\n"


def _aligned(rows: Sequence[Sequence[str]], left: Sequence[int]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _shortened(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _TEXT_WIDTH else text[: _TEXT_WIDTH - 1] + "…"
