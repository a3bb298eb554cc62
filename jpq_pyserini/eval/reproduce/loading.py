"""Experiments from YAML files, every mistake in them found before anything is run."""

import itertools
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from jpq_pyserini.errors import JPQError
from jpq_pyserini.eval.reproduce.checking import check
from jpq_pyserini.eval.reproduce.experiment import Experiment, Identifier
from jpq_pyserini.eval.reproduce.yaml_files import did_you_mean, read_yaml, validated
from jpq_pyserini.resources import data_folder

FOLDER = data_folder("eval") / "experiments"
#: Limits that no honest file comes near: combinations of a matrix, characters of a text.
_MOST_COPIES, _MOST_CHARACTERS = 200, 100_000
_MATRIX = TypeAdapter(dict[Identifier, Annotated[list[str], Field(min_length=1)]])
_COMMANDS = TypeAdapter(dict[Identifier, str])


def known_experiments() -> dict[str, Path]:
    """Return the experiments that come with the package: name to file."""
    return {path.stem: path for path in sorted(FOLDER.glob("*.yaml"))}


def load(name_or_path: str | os.PathLike) -> Experiment:
    """Return the experiment of a shipped name, or of a YAML file.

    Raises:
        JPQError: no such experiment; whatever is wrong in the file, as ``FILE: steps.opq48.needs: what is wrong``.
    """
    path = Path(name_or_path)
    if not (path.suffix in (".yaml", ".yml") or path.is_file()):
        known, name = known_experiments(), str(name_or_path)
        if name not in known:
            there = f"name a .yaml file, or one of {', '.join(known)}{did_you_mean(name, known)}"
            raise JPQError(f"no experiment {name!r}: {there}")
        path = known[name]
    document = {"name": path.stem, **read_yaml(path)}
    try:
        pieces = _pieces(validated(_COMMANDS, document.get("commands", {}), "commands."))
        for key in ("steps", "conditions"):
            if isinstance(document.get(key), list):
                document[key] = [copy for entry in document[key] for copy in _copies(entry, key, pieces)]
        experiment = validated(Experiment, document)
        check(experiment)
    except JPQError as error:
        raise JPQError(f"{path}: {error}") from None
    return experiment


def _pieces(commands: Mapping[str, str]) -> dict[str, str]:
    """Return the pieces of commands, each with those above it filled in."""
    pieces: dict[str, str] = {}
    for name, text in commands.items():
        pieces[name] = " ".join(_filled(text, pieces).split())
    return pieces


def _copies(entry: Any, kind: str, pieces: Mapping[str, str]) -> Iterator[Any]:
    """Yield the step or condition once for each combination of its ``matrix``, the last name varying fastest.

    ``$name`` or ``${name}`` of the matrix is replaced in every text of the copy, keys included; so are the pieces of
    commands. Whatever else begins with a dollar stays.
    """
    if not isinstance(entry, dict):
        yield entry
        return
    place = f"{kind}.{entry.get('name', '?')}"
    matrix = validated(_MATRIX, entry.get("matrix", {}), f"{place}.matrix.")
    if math.prod(map(len, matrix.values())) > _MOST_COPIES:
        raise JPQError(f"{place}.matrix: more than {_MOST_COPIES:,} combinations: make it smaller")
    rest = {key: value for key, value in entry.items() if key != "matrix"}
    if "command" in rest:
        rest["command"] = _filled(rest["command"], pieces)
    for combination in itertools.product(*matrix.values()):
        values = dict(zip(matrix, combination, strict=True))
        copy = _filled(rest, values)
        for topics in copy.get("topics", []) if isinstance(copy.get("topics"), list) else []:
            if isinstance(topics, dict) and isinstance(topics.get("scores"), list):
                topics["scores"] = _of_combination(topics["scores"], values, matrix, f"{place}.topics")
        yield copy


def _of_combination(rows: Sequence, values: Mapping[str, str], matrix: Mapping[str, list], place: str) -> list:
    """Return the rows of scores that are for these ``values``, without the names of the matrix."""
    chosen = []
    for row in rows:
        own = {name: row[name] for name in matrix if isinstance(row, dict) and name in row}
        for name, value in own.items():
            if value not in matrix[name]:
                raise JPQError(f"{place}: {name} is {value!r}: the matrix has {', '.join(matrix[name])}")
        if all(values[name] == value for name, value in own.items()):
            chosen.append({key: row[key] for key in row if key not in own} if own else row)
    return chosen


def _filled(value: Any, names: Mapping[str, str]) -> Any:
    """Return ``value`` with the ``$names`` replaced in all its texts."""
    if isinstance(value, str) and names:
        if value.count("$") * max(map(len, names.values())) > _MOST_CHARACTERS:
            raise JPQError(f"{value:.60}...: longer than {_MOST_CHARACTERS:,} characters when all is filled in")
        pattern = "|".join(map(re.escape, sorted(names, key=len, reverse=True)))
        found = re.compile(rf"(?<!\$)\$(?:\{{({pattern})\}}|({pattern})(?![A-Za-z0-9_]))")
        return found.sub(lambda match: names[match[1] or match[2]], value)
    if isinstance(value, list):
        return [_filled(item, names) for item in value]
    if isinstance(value, dict):
        return {_filled(key, names): _filled(item, names) for key, item in value.items()}
    return value
