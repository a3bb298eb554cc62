"""Real text that is on every machine: the documentation strings of the installed packages.

The summary line of a docstring becomes a query and the rest of it the passage that answers the query. Source files are
parsed, never imported.
"""

import ast
import hashlib
import importlib.metadata
import importlib.util
import platform
import re
import sysconfig
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

#: The standard library and packages that Pyserini and sentence-transformers bring with them.
PACKAGES = (
    "datasets",
    "faiss",
    "huggingface_hub",
    "matplotlib",
    "networkx",
    "numpy",
    "pandas",
    "pyserini",
    "scipy",
    "sentence_transformers",
    "sklearn",
    "sympy",
    "torch",
    "transformers",
)
#: Folders of code that nobody reads documentation of: tests, vendored copies, generated files.
_SKIPPED = re.compile(r"^_?(tests?|testing|vendor|_vendor|externals|benchmarks|idlelib|lib2to3|site-packages)$")
_SKIPPED_FILE = re.compile(r"^(test_|conftest|setup|_generated)|(_test|_tests)\.py$")

MIN_PASSAGE_WORDS, MAX_PASSAGE_WORDS = 20, 64
MIN_QUERY_WORDS, MAX_QUERY_WORDS = 4, 20
_Documentable = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
#: So that one module of two hundred similar classes does not crowd out the others.
MAX_PER_MODULE = 12


@dataclass(frozen=True)
class Documented:
    """One docstring: ``docid`` is the qualified name of what it documents."""

    docid: str
    module: str
    summary: str
    body: str


def source_roots() -> dict[str, Path]:
    """Return the folders to read, by name: the standard library and those of :data:`PACKAGES` that are installed."""
    roots = {"stdlib": Path(sysconfig.get_paths()["stdlib"])}
    for package in PACKAGES:
        spec = importlib.util.find_spec(package)  # finds a top-level package without importing it
        if spec is not None and spec.origin is not None:
            roots[package] = Path(spec.origin).parent
    return roots


def versions() -> dict[str, str]:
    """Return the versions of what :func:`source_roots` finds."""
    distributions = importlib.metadata.packages_distributions()
    owners = {name: distributions[name][0] for name in PACKAGES if name in distributions}
    return {"stdlib": platform.python_version()} | {
        name: importlib.metadata.version(owner) for name, owner in owners.items()
    }


def collect(roots: dict[str, Path], limit: int) -> list[Documented]:
    """Return ``limit`` documented things from ``roots`` (fewer if there are no more), in a fixed shuffled order.

    Modules are read in the order of a hash of their names, so that every package has its share and the same
    packages always give the same passages. Passages and summaries occur once each.
    """
    modules = sorted(_modules(roots), key=lambda entry: _order(entry[0]))
    chosen: list[Documented] = []
    seen: set[str] = set()
    for module, path in modules:
        kept = 0
        for item in _documented(module, path):
            keys = {item.docid.casefold(), _key(item.summary), _key(item.body)}
            if seen & keys:
                continue
            seen |= keys
            chosen.append(item)
            kept += 1
            if len(chosen) == limit:
                return chosen
            if kept == MAX_PER_MODULE:
                break
    return chosen


def _modules(roots: dict[str, Path]) -> Iterator[tuple[str, Path]]:
    """Yield (dotted module name, path) of every source file."""
    for name, root in roots.items():
        for path in root.rglob("*.py"):
            relative = path.relative_to(root)
            if any(_SKIPPED.match(part) for part in relative.parts[:-1]) or _SKIPPED_FILE.search(path.name):
                continue
            parts = relative.with_suffix("").parts
            parts = parts if name == "stdlib" else (name, *parts)
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def _documented(module: str, path: Path) -> list[Documented]:
    """Return what one file documents well enough to be a query and a passage, in the order of a hash."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in other people's strings
            tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError):
        return []
    found = []
    for name, node in _named(tree, module):
        summary, body = _parts(ast.get_docstring(node) or "")
        if summary and not name.rpartition(".")[2].startswith("_"):
            found.append(Documented(name, module, summary, body))
    return sorted(found, key=lambda item: _order(item.docid))


def _named(node: _Documentable, name: str) -> Iterable[tuple[str, _Documentable]]:
    """Yield (qualified name, node) of a module, its classes and its functions; nothing inside functions."""
    yield name, node
    if isinstance(node, ast.Module | ast.ClassDef):
        for child in node.body:
            if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                yield from _named(child, f"{name}.{child.name}")


def _parts(docstring: str) -> tuple[str, str]:
    """Split a docstring into its summary line and the rest; two empty strings if it is no use as query and passage."""
    head, _, rest = docstring.strip().partition("\n\n")
    summary, words = " ".join(head.split()), rest.split()
    body = " ".join(words[:MAX_PASSAGE_WORDS])
    usable = (
        MIN_QUERY_WORDS <= len(summary.split()) <= MAX_QUERY_WORDS
        and len(words) >= MIN_PASSAGE_WORDS
        and summary.isascii()
        and sum(character.isalpha() or character == " " for character in summary) >= 0.85 * len(summary)
        and _key(summary) not in _key(body)
    )
    return (summary, body) if usable else ("", "")


def _key(text: str) -> str:
    """Fold what does not matter when texts are compared: case, punctuation, and what comes after 40 words."""
    return " ".join(re.findall(r"\w+", text.casefold())[:40])


def _order(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
