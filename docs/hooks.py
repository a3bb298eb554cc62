"""What the site takes from outside ``docs/``.

Pages link to files of the repository as ``../eval/results/squad.json``. Those files are copied into the site, so the
same links work on the site and where the repository is read, and a link to a file that is gone fails the build.
"""

import ast
import re
from pathlib import Path

from mkdocs.structure.files import File, InclusionLevel

_LINK = re.compile(r"(\]\()\.\./([^)#\s]+)")
_PAGES = {"contributing.md": "CONTRIBUTING.md", "changelog.md": "CHANGELOG.md"}
_ROOT = Path(__file__).resolve().parent.parent


def on_files(files, config):
    """Add what the pages link to outside ``docs/``."""
    for page in files.documentation_pages():
        for _, path in _LINK.findall(page.content_string):
            if (_ROOT / path).is_file() and files.get_file_from_path(path) is None:
                source, apart = str(_ROOT / path), InclusionLevel.NOT_IN_NAV
                files.append(File.generated(config, path, abs_src_path=source, inclusion=apart))
    return files


def on_page_markdown(markdown, page, **_):
    """Point the links at the copies; some pages are files of the repository's root."""
    if page.file.src_uri in _PAGES:
        return (_ROOT / _PAGES[page.file.src_uri]).read_text(encoding="utf-8").replace("](docs/", "](")
    markdown = markdown.replace("<!-- modules -->", _modules())
    return _LINK.sub(r"\1\2", markdown) if "/" not in page.file.src_uri else markdown


def _modules() -> str:
    """Return a table of all modules with the first line of their docstrings: a map that cannot go out of date."""
    rows = ["| module | what it is |", "|---|---|"]
    for path in sorted((_ROOT / "jpq_pyserini").rglob("*.py")):
        words = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n\n")[0]
        name = path.relative_to(_ROOT / "jpq_pyserini").as_posix()
        rows.append(f"| `{name}` | {' '.join(words.replace('``', '`').replace('|', '&#124;').split())} |")
    return "\n".join(rows)
