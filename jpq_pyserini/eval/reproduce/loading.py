"""Experiments from YAML files, every mistake in them found before anything is run."""

import os
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path

from jpq_pyserini.errors import JPQError
from jpq_pyserini.eval.measures import parse_measure
from jpq_pyserini.eval.reproduce.checking import check, checked_names
from jpq_pyserini.eval.reproduce.experiment import (
    BUILT_IN,
    Condition,
    Expected,
    Experiment,
    Step,
    Topics,
    Variable,
)
from jpq_pyserini.eval.reproduce.matrix import expand
from jpq_pyserini.eval.reproduce.published import read_published
from jpq_pyserini.eval.reproduce.reading import Lined, did_you_mean, fields, read_yaml, texts
from jpq_pyserini.resources import data_folder

FOLDER = data_folder("eval") / "experiments"

_EXPERIMENT = {"title": str, "about": str, "variables": dict, "requires": (str, list), "topics": list, "steps": list}
_EXPERIMENT |= {
    "conditions": list,
    "published": (str, list),
    "measures": list,
    "against": str,
    "tolerance": (int, float),
}
_VARIABLE = {"default": (str, int, float), "help": str}
_TOPICS = {"topic_key": str, "topics": str, "eval_key": str, "measures": list, "against": str, "documents": int}
_STEP = {"name": str, "command": (str, list), "makes": str, "needs": (str, list), "resumes": bool, "matrix": dict}
_CONDITION = {"name": str, "display": str, "command": (str, list), "needs": (str, list), "topics": list}
_CONDITION |= {"index": (str, list), "against": str, "tolerance": (int, float), "group": str, "system": str}
_CONDITION |= {"matrix": dict}
_SCORES = {"topic_key": str, "scores": list}


def known_experiments() -> dict[str, Path]:
    """Return the experiments that come with the package: name to file."""
    return {path.stem: path for path in sorted(FOLDER.glob("*.yaml"))}


def load(name_or_path: str | os.PathLike) -> Experiment:
    """Return the experiment of a shipped name, or of a YAML file.

    Raises:
        JPQError: no such experiment; whatever is wrong in the file, with its line.
    """
    path = Path(name_or_path)
    if not (path.suffix in (".yaml", ".yml") or path.is_file()):
        known = known_experiments()
        if str(name_or_path) not in known:
            hint = did_you_mean(str(name_or_path), known)
            raise JPQError(
                f"no experiment {str(name_or_path)!r}: name a .yaml file, or one of {', '.join(known)}{hint}"
            )
        path = known[str(name_or_path)]
    return _experiment(read_yaml(path), path)


def _experiment(document: Lined, path: Path) -> Experiment:
    place = f"{path}:1"
    fields(document, "the experiment", place, _EXPERIMENT, ("title", "topics", "conditions"))
    variables = {}
    for name, entry in (document.get("variables") or {}).items():
        entry = fields(entry, f"variable {name}", document.place, _VARIABLE)
        if name in BUILT_IN:
            raise JPQError(f"{entry.place}: variable {name}: every experiment has it: choose another name")
        default = entry.get("default")
        variables[name] = Variable(name, None if default is None else str(default), entry.get("help") or "")
    topics = _unique((_topics(entry, document, place) for entry in document["topics"]), "topics", "key")
    steps = _unique((step for entry in document.get("steps") or [] for step in _steps(entry, place)), "step", "name")
    published = tuple(
        number
        for name in texts(document.get("published"), "published", place)
        for number in read_published(name, place)
    )
    conditions = (
        condition
        for entry in document["conditions"]
        for condition in _conditions(entry, place, topics, published, document.get("tolerance"))
    )
    experiment = Experiment(
        name=path.stem,
        path=str(path),
        title=document["title"],
        about=(document.get("about") or "").strip(),
        variables=variables,
        requires=texts(document.get("requires"), "requires", place),
        topics=topics,
        steps=steps,
        conditions=_unique(conditions, "condition", "name"),
        published=published,
    )
    check(experiment)
    return experiment


def _topics(entry, document: Lined, place: str) -> Topics:
    entry = fields(entry, "a topics entry", place, _TOPICS, ("topic_key",))
    key = entry["topic_key"]
    measures = tuple(entry.get("measures") or document.get("measures") or ())
    for measure in measures:
        _measure(measure, f"topics {key}", entry.place)
    topics = entry.get("topics") or key
    against = entry.get("against") or document.get("against")
    documents = entry.get("documents")
    return Topics(key, topics, entry.get("eval_key") or topics, measures, against, documents, entry.place)


def _steps(entry, place: str) -> Iterator[Step]:
    fields(entry, _called("step", entry), place, _STEP, ("name", "command"))
    for each, _ in expand(entry, f"step {entry['name']}"):
        what = f"step {each['name']}"
        commands = _commands(each, what)
        makes = each.get("makes") or each["name"]
        if Path(makes).is_absolute() or ".." in Path(makes).parts:
            raise JPQError(f"{each.place}: {what}: makes {makes!r}: it must be inside the directory of the experiment")
        needs = texts(each.get("needs"), f"{what}: needs", each.place)
        yield Step(each["name"], commands, makes, needs, bool(each.get("resumes")), each.place)


def _conditions(entry, place: str, topics, published, tolerance) -> Iterator[Condition]:
    fields(entry, _called("condition", entry), place, _CONDITION, ("name", "command"))
    for each, values in expand(entry, f"condition {entry['name']}"):
        what = f"condition {each['name']}"
        system = each.get("system")
        rows = [number for number in published if number.system == system]
        if system is not None and not rows:
            raise JPQError(f"{each.place}: {what}: no published table has the system {system!r}")
        keys = each.get("topics") or [each.like({"topic_key": key}) for key in topics]
        expected = {}
        for item in keys:
            item = fields(item, f"{what}: topics", each.place, _SCORES, ("topic_key",))
            key = item["topic_key"]
            if key not in topics:
                raise JPQError(f"{item.place}: {what}: no topics {key!r} above: there are {', '.join(topics)}")
            if key in expected:
                raise JPQError(f"{item.place}: {what}: the topics {key!r} are given twice: keep one")
            of_key = [number for number in rows if number.topic_key == key and number.measure]
            numbers = {number.measure: number for number in reversed(of_key)}  # tables repeat JPQ: the first counts
            expected[key] = Expected(_scores(item, what, values, entry.get("matrix") or {}), numbers)
        own = each.get("tolerance")
        allowed = own if own is not None else tolerance if tolerance is not None else 0.0
        yield Condition(
            each["name"],
            each.get("display") or each["name"],
            _commands(each, what),
            expected,
            texts(each.get("needs"), f"{what}: needs", each.place),
            texts(each.get("index"), f"{what}: index", each.place),
            float(allowed),
            each.get("against"),
            each.get("group"),
            system,
            each.place,
        )


def _scores(item: Lined, what: str, values: dict[str, str], matrix: dict) -> dict[str, float]:
    """Return measure to score of the entries that are of this combination of a matrix."""
    found: dict[str, float] = {}
    for entry in item.get("scores") or []:
        if not isinstance(entry, Lined):
            raise JPQError(f"{item.place}: {what}: scores hold {entry!r}: it must be a mapping of measures to numbers")
        for name in entry.keys() & matrix.keys():
            if entry[name] not in matrix[name]:
                raise JPQError(f"{entry.place}: {what}: {name} is {entry[name]!r}: the matrix has {matrix[name]}")
        if any(str(entry[name]) != value for name, value in values.items() if name in entry):
            continue
        for measure, score in entry.items():
            if measure in values:
                continue
            _measure(measure, what, entry.place)
            if score is None:
                continue  # to be measured
            if not isinstance(score, int | float) or isinstance(score, bool) or not 0 <= score <= 1:
                raise JPQError(f"{entry.place}: {what}: {measure} is {score!r}: it must be a number between 0 and 1")
            if measure in found:
                raise JPQError(f"{entry.place}: {what}: {measure} is given twice: keep one")
            found[measure] = float(score)
    return found


def _measure(name, what: str, place: str) -> None:
    try:
        parse_measure(str(name))
    except JPQError as error:
        raise JPQError(f"{place}: {what}: {error}") from None


def _commands(entry: Lined, what: str) -> tuple[str, ...]:
    commands = texts(entry["command"], f"{what}: command", entry.place)
    if not commands:
        raise JPQError(f"{entry.place}: {what}: command is empty: add it")
    for command in commands:
        try:
            shlex.split(command)
        except ValueError as error:
            raise JPQError(f"{entry.place}: {what}: the command {command!r} cannot be split: {error}") from None
    if not any("output" in checked_names(command, what, entry.place) for command in commands):
        raise JPQError(f"{entry.place}: {what}: no $output in the command: it says where to write")
    return commands


def _called(kind: str, entry) -> str:
    named = isinstance(entry, Lined) and isinstance(entry.get("name"), str)
    return f"{kind} {entry['name']}" if named else f"a {kind}"


def _unique(entries: Iterable, kind: str, attribute: str) -> dict:
    """Return the entries by name.

    Raises:
        JPQError: two of one name.
    """
    found: dict = {}
    for each in entries:
        name = getattr(each, attribute)
        if name in found:
            raise JPQError(f"{each.place}: the {kind} {name!r} is there already, at {found[name].place}: rename one")
        found[name] = each
    return found
