"""A comparison of runs as data, and the forms in which it is shown."""

import os
from collections.abc import Mapping
from pathlib import Path

from jpq_pyserini.eval.comparison import Comparison
from jpq_pyserini.eval.report.gains import Change, Gains, gains_of
from jpq_pyserini.eval.report.html import as_html
from jpq_pyserini.eval.report.latex import as_latex
from jpq_pyserini.eval.report.markdown import as_markdown
from jpq_pyserini.eval.report.record import as_json, per_query_lines
from jpq_pyserini.eval.report.text import as_text
from jpq_pyserini.storage import new_file

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

#: Name of a form to the function that makes it of (comparison, **facts), and the file endings that call for it.
FORMS = {
    "text": (as_text, (".txt",)),
    "markdown": (as_markdown, (".md",)),
    "latex": (as_latex, (".tex",)),
    "json": (as_json, (".json",)),
    "html": (as_html, (".html", ".htm")),
}


def form_of(path: str | os.PathLike) -> str:
    """Return the form that a file's ending calls for; text where it calls for none."""
    ending = Path(path).suffix.lower()
    return next((name for name, (_, endings) in FORMS.items() if ending in endings), "text")


def write_forms(comparison: Comparison, files: Mapping[str | os.PathLike, str], /, **facts) -> None:
    """Write a comparison to ``files``, path to form; ``facts`` are what the forms say of its making."""
    for path, form in files.items():
        text = FORMS[form][0](comparison, **facts)
        with new_file(path) as file:
            file.write(text)
