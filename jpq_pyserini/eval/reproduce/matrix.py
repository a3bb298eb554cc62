"""``matrix:`` of a step or condition: one copy for each combination of its values."""

import itertools
import re
from typing import Any

from jpq_pyserini.errors import JPQError
from jpq_pyserini.eval.reproduce.reading import Lined


def expand(entry: Lined, what: str) -> list[tuple[Lined, dict[str, str]]]:
    """Return (copy without ``matrix``, its values) for each combination, the last name varying fastest.

    ``$name`` or ``${name}`` of the matrix is replaced in every text of the copy, keys included; whatever else begins
    with a dollar stays.

    Raises:
        JPQError: a matrix that is not a mapping of names to lists of texts or numbers.
    """
    matrix = entry.get("matrix")
    if matrix is None:
        return [(entry, {})]
    if not isinstance(matrix, Lined) or not matrix:
        raise JPQError(f"{entry.place}: {what}: matrix is {matrix!r}: it must map names to lists, as m: [16, 48]")
    for name, values in matrix.items():
        if not isinstance(name, str) or not name.isidentifier():
            raise JPQError(f"{matrix.place}: {what}: {name!r} cannot be the name of a variable: letters, digits and _")
        if not isinstance(values, list) or not values or not all(isinstance(v, str | int | float) for v in values):
            raise JPQError(
                f"{matrix.place}: {what}: matrix {name} is {values!r}: it must be a list of texts or numbers"
            )
    rest = entry.like({key: value for key, value in entry.items() if key != "matrix"})
    chosen = [dict(zip(matrix, map(str, values), strict=True)) for values in itertools.product(*matrix.values())]
    return [(_replace(rest, values), values) for values in chosen]


def _replace(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, str):
        pattern = "|".join(map(re.escape, sorted(names, key=len, reverse=True)))
        found = re.compile(rf"(?<!\$)\$(?:\{{({pattern})\}}|({pattern})(?![A-Za-z0-9_]))")
        return found.sub(lambda match: names[match[1] or match[2]], value)
    if isinstance(value, list):
        return [_replace(item, names) for item in value]
    if isinstance(value, Lined):
        return value.like({_replace(key, names): _replace(item, names) for key, item in value.items()})
    return value
