"""The table in Markdown."""

from jpq_pyserini.eval.comparison import Comparison
from jpq_pyserini.eval.report.gains import gains_of
from jpq_pyserini.eval.report.table import GAINS_ALIGN, Cell, gains_rows, gains_title, legend, table
from jpq_pyserini.tables import as_markdown as markdown_table
from jpq_pyserini.tables import escaped


def as_markdown(comparison: Comparison, **_) -> str:
    """Return a Markdown table, the best value of each measure in bold; then the gains that are asked for."""
    head, body = table(comparison)
    rows = [[escaped(row[0].text), *map(_cell, row[1:])] for row in body]
    parts = [
        markdown_table([[*map(escaped, head)], *rows]) + "\n",
        ". ".join(map(escaped, legend(comparison, "bold: best"))) + ".\n",
    ]
    for gains in gains_of(comparison):
        parts.append(f"{escaped(gains_title(gains))}.\n")
        for kind, changes in (("won", gains.won), ("lost", gains.lost)):
            if changes:
                head, rows = gains_rows(gains, changes)
                rows = [[*map(escaped, row)] for row in (head, *rows)]
                parts += [f"Most {kind}:\n", markdown_table(rows, GAINS_ALIGN) + "\n"]
    return "\n".join(parts)


def _cell(cell: Cell) -> str:
    return (f"**{cell.text}**" if cell.best else cell.text) + escaped(cell.marks)
