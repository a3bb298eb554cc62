"""Tables of cells that are text already, for a terminal or in Markdown."""

import re
from collections.abc import Iterable, Sequence


def as_text(rows: Iterable[Sequence[str]], align: str = "lr") -> str:
    """Return rows with their columns below each other, two blanks apart; no line end after the last.

    Args:
        rows: the heads first, if there are any; all of one length.
        align: ``l`` or ``r`` for each column; the last one holds for those that follow.

    >>> print(as_text([("run", "RR@10"), ("bm25", "0.1874"), ("jpq", ".341")]))
    run    RR@10
    bm25  0.1874
    jpq     .341
    """
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    pads = [str.ljust if side == "l" else str.rjust for side in _sides(align, len(widths))]
    padded = ([pad(cell, width) for pad, cell, width in zip(pads, row, widths, strict=True)] for row in rows)
    return "\n".join("  ".join(cells).rstrip() for cells in padded)


def as_markdown(rows: Iterable[Sequence[str]], align: str = "lr") -> str:
    """Return rows as a Markdown table, the first one its heads; no line end after the last.

    Cells are Markdown: what comes from outside is passed through :func:`escaped` before. ``align`` is that of
    :func:`as_text`.
    """
    heads, *body = rows
    rule = ["---" if side == "l" else "---:" for side in _sides(align, len(heads))]
    return "\n".join(f"| {' | '.join(row)} |" for row in (heads, rule, *body))


def escaped(text: str) -> str:
    """Return text on one line in which nothing can be read as Markdown or HTML."""
    text = re.sub(r"([\\`*_\[\]|~$])", r"\\\1", " ".join(text.split()))
    return re.sub(r"<(?=[A-Za-z/!?])", "&lt;", re.sub(r"&(?=[#\w]+;)", "&amp;", text))


def _sides(align: str, columns: int) -> str:
    return align.ljust(columns, align[-1])[:columns]
