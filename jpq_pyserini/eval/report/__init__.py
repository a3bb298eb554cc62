"""A comparison of runs as data, and the forms in which it is shown."""

from jpq_pyserini.eval.report.forms import FORMS, form_of, write_forms
from jpq_pyserini.eval.report.gains import Change, Gains, gains_of
from jpq_pyserini.eval.report.html import as_html
from jpq_pyserini.eval.report.latex import as_latex
from jpq_pyserini.eval.report.markdown import as_markdown
from jpq_pyserini.eval.report.record import as_json, per_query_lines
from jpq_pyserini.eval.report.text import as_text

__all__ = [
    "FORMS",
    "Change",
    "Gains",
    "as_html",
    "as_json",
    "as_latex",
    "as_markdown",
    "as_text",
    "form_of",
    "gains_of",
    "per_query_lines",
    "write_forms",
]
