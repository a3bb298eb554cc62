"""A comparison of runs as data, and the forms in which it is shown."""

from jpq_pyserini.eval.report.gains import Change, Gains, gains_of
from jpq_pyserini.eval.report.html import as_html
from jpq_pyserini.eval.report.latex import as_latex
from jpq_pyserini.eval.report.markdown import as_markdown
from jpq_pyserini.eval.report.record import as_json, per_query_lines
from jpq_pyserini.eval.report.text import as_text

#: Name of a form to the function that makes it of (comparison, **facts), and the file endings that call for it.
FORMS = {
    "text": (as_text, (".txt",)),
    "markdown": (as_markdown, (".md",)),
    "latex": (as_latex, (".tex",)),
    "json": (as_json, (".json",)),
    "html": (as_html, (".html", ".htm")),
}

__all__ = [
    "FORMS",
    "Change",
    "Gains",
    "as_html",
    "as_json",
    "as_latex",
    "as_markdown",
    "as_text",
    "gains_of",
    "per_query_lines",
]
