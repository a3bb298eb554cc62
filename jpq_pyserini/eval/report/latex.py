"""The table in LaTeX, for ``\\input`` into a paper."""

from jpq_pyserini.eval.comparison import Comparison
from jpq_pyserini.eval.report.table import Cell, legend, table

_ESCAPES = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "–": "--",
    "×": r"$\times$",
    "[": "{[}",  # a row that starts with one of these would be taken for an argument of \\
    "*": "{*}",
    **{character: "\\" + character for character in "&%$#_{}"},
}


def as_latex(comparison: Comparison, **_) -> str:
    r"""Return a ``tabular`` with the rules of booktabs, the best values bold, marks as superscripts.

    The legend goes below as a comment, to be moved into the caption. Nothing but ``\usepackage{booktabs}`` is needed;
    letters beyond ASCII in names of runs are left to the document's encoding.
    """
    head, body = table(comparison)
    lines = [
        r"% \usepackage{booktabs}",
        rf"\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}",
        r"\toprule",
        " & ".join(map(_escaped, head)) + r" \\",
        r"\midrule",
        *(" & ".join([_escaped(row[0].text), *map(_cell, row[1:])]) + r" \\" for row in body),
        r"\bottomrule",
        r"\end{tabular}",
        *(f"% {_caption(line)}" for line in legend(comparison, "bold: best")),
    ]
    return "\n".join(lines) + "\n"


def _cell(cell: Cell) -> str:
    text = _escaped(cell.text)
    marks = f"$^{{{cell.marks}}}$" if cell.marks else ""
    # \rlap: marks hang over the edge, so that the decimals of a column stay below each other.
    return (rf"\textbf{{{text}}}" if cell.best else text) + (rf"\rlap{{{marks}}}" if marks else "")


def _caption(line: str) -> str:
    for marks in ("**", "*"):
        line = line.replace(f"{marks} p<", f"\0{len(marks)}")
    line = _escaped(line)
    for count in (1, 2):
        line = line.replace(f"\0{count}", f"$^{{{'*' * count}}}$ $p<$ ")
    return line


def _escaped(text: str) -> str:
    return "".join(_ESCAPES.get(character, character) for character in " ".join(text.split()))
