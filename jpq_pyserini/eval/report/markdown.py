"""The table in Markdown."""

import re
from collections.abc import Sequence

from jpq_pyserini.eval.comparison import Comparison
from jpq_pyserini.eval.report.gains import gains_of
from jpq_pyserini.eval.report.table import Cell, gains_rows, gains_title, legend, table


def as_markdown(comparison: Comparison, **_) -> str:
    """Return a Markdown table, the best value of each measure in bold; then the gains that are asked for."""
    head, body = table(comparison)
    rows = [[_escaped(row[0].text), *map(_cell, row[1:])] for row in body]
    parts = [
        _table([*map(_escaped, head)], rows, (0,)),
        ". ".join(map(_escaped, legend(comparison, "bold: best"))) + ".\n",
    ]
    for gains in gains_of(comparison):
        parts.append(f"{_escaped(gains_title(gains))}.\n")
        for kind, changes in (("won", gains.won), ("lost", gains.lost)):
            if changes:
                head, rows = gains_rows(gains, changes)
                rows = [[*map(_escaped, row)] for row in rows]
                parts += [f"Most {kind}:\n", _table([*map(_escaped, head)], rows, (0, 5, 6, 7))]
    return "\n".join(parts)


def _cell(cell: Cell) -> str:
    return (f"**{cell.text}**" if cell.best else cell.text) + _escaped(cell.marks)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], left: Sequence[int]) -> str:
    rule = ["---" if column in left else "---:" for column in range(len(head))]
    return "".join(f"| {' | '.join(row)} |\n" for row in (head, rule, *rows))


def _escaped(text: str) -> str:
    """Keep what a name or a query holds from being read as Markdown or HTML."""
    text = re.sub(r"([\\`*_\[\]|~$])", r"\\\1", " ".join(text.split()))
    return re.sub(r"<(?=[A-Za-z/!?])", "&lt;", re.sub(r"&(?=[#\w]+;)", "&amp;", text))
