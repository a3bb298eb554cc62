"""The rooms of the package have an order: no module imports from a room above its own."""

import ast
from pathlib import Path

import jpq_pyserini

#: From the ground up; rooms on one line may not import each other.
ORDER = (
    ("errors", "json_text", "names", "resources", "lazy", "moved", "storage", "resume", "cli", "tables", "timing"),
    ("data", "codec"),
    ("encoders",),
    ("index",),
    ("train", "prebuilt"),
    ("plugin",),
    ("distributed",),
    ("eval",),
    ("bench",),
    ("quickstart", "doctor"),
    ("__main__",),
)
PACKAGE = Path(jpq_pyserini.__file__).parent


def imports(path):
    """Yield the modules of the package that a file imports, as (line, dotted name)."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names if alias.name.startswith("jpq_pyserini."))
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "jpq_pyserini":
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def test_no_import_runs_upwards():
    level = {room: height for height, rooms in enumerate(ORDER) for room in rooms}
    upwards = []
    for path in sorted(PACKAGE.rglob("*.py")):
        room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if room == "__init__":
            continue
        for line, name in imports(path):
            other = name.split(".")[1]
            if other in level and other != room and level[other] >= level[room] > 0:
                upwards.append(f"{path.relative_to(PACKAGE)}:{line} {room} imports {other}")
    assert upwards == []
