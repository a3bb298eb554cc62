"""The points of figures 1 and 4 to 6: a run's effectiveness is measured here, its size and speed are in its facts."""

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from jpq_pyserini.data.runs import run_name
from jpq_pyserini.errors import JPQError
from jpq_pyserini.eval.comparison import compare
from jpq_pyserini.eval.facts import Facts, facts_of, facts_path, read_facts
from jpq_pyserini.eval.figures.paper import COLLECTIONS, points_of_paper
from jpq_pyserini.eval.measures import parse_measure
from jpq_pyserini.json_text import parse_json

_POINT_FORM = (
    "a published point is {'title': …, 'values': {'RR@10': …}, 'source': …} and facts like 'bytes_per_document', "
    "'ms_per_query', 'documents', 'group'"
)


@dataclasses.dataclass(frozen=True)
class Point:
    """One system in a figure.

    Attributes:
        title: what the figure calls it.
        values: measure to mean over the queries.
        facts: its size and speed.
        place: the file that the facts are from, and the item in it if it has several.
        published: somebody else's numbers; drawn hollow.
        run: the run file; None if published.
    """

    title: str
    values: Mapping[str, float]
    facts: Facts
    place: str
    published: bool = False
    run: str | None = None

    @property
    def series(self) -> str:
        """What it is drawn like: its group, or else itself."""
        return self.facts.group or self.title

    def fact(self, name: str) -> float:
        """Return a positive number of its facts.

        Raises:
            JPQError: it is not there, or not positive.
        """
        value = getattr(self.facts, name)
        if value is None:
            raise JPQError(
                f"{self.title}: {self.place} does not say {name}, which this figure draws: measure it and add "
                f'"{name}": NUMBER there, or leave {self.title} out'
            )
        if not value > 0:
            raise JPQError(f"{self.title}: {name} is {value} in {self.place}: it must be positive")
        return float(value)


def of_runs(runs: Mapping[str, str | os.PathLike]) -> list[Point]:
    """Read the facts beside run files; the points have no values before :func:`scored`.

    Args:
        runs: name to run file. If no NAME was given on the command line, the title in the facts file is used.

    Raises:
        JPQError: no such run, or bad facts.
    """
    points = []
    for name, path in runs.items():
        if not os.path.isfile(path):
            raise JPQError(f"no such run file: {os.fspath(path)}")
        facts = read_facts(path)
        title = (facts.title if name == run_name(path) else None) or name
        points.append(Point(title, {}, facts, str(facts_path(path)), run=str(path)))
    return points


def scored(
    points: Sequence[Point],
    qrels: Mapping[str, Mapping[str, int]],
    measures: Sequence[str],
    note: Callable[[str], None] = lambda line: None,
) -> list[Point]:
    """Return the points of runs with their values, which are those of :func:`~jpq_pyserini.eval.compare.compare`."""
    if not points:
        return []
    runs = [str(point.run) for point in points]
    means = compare(dict(zip(runs, runs, strict=True)), qrels, measures, note=note).means()
    return [dataclasses.replace(point, values=means[run]) for point, run in zip(points, runs, strict=True)]


def of_publications(name_or_path: str | os.PathLike, measures: Sequence[str]) -> list[Point]:
    """Read published points: a JSON or YAML list, or the paper's own of a collection, a key of ``paper.COLLECTIONS``.

    A point that lacks one of the measures is left out.

    Raises:
        JPQError: no such file, no such form, no point with all the measures.
    """
    path = Path(name_or_path)
    if path.is_file():
        found = [_point_of(record, f"{path}, point {number}") for number, record in enumerate(_records(path), 1)]
    elif str(name_or_path) in COLLECTIONS:
        found = [(facts, values, str(facts.source)) for facts, values in points_of_paper(str(name_or_path))]
    else:
        known = ", ".join(sorted(COLLECTIONS))
        raise JPQError(f"--published {name_or_path}: no such file, and the package has only {known}")
    points = []
    for facts, values, place in found:
        by_measure = {parse_measure(name)[1:]: value for name, value in values.items()}
        keys = {name: parse_measure(name)[1:] for name in measures}
        if by_measure.keys() >= set(keys.values()):
            wanted = {name: by_measure[key] for name, key in keys.items()}
            points.append(Point(str(facts.title), wanted, facts, place, published=True))
    if not points:
        raise JPQError(f"{path}: no point has values of {' and '.join(measures)}")
    return points


def _point_of(record: dict, place: str) -> tuple[Facts, dict[str, float], str]:
    values = record.pop("values", None)
    if not isinstance(values, dict):
        raise JPQError(f"{place} has no 'values': {_POINT_FORM}")
    facts = facts_of(record, place)
    if not facts.title or not facts.source:
        raise JPQError(f"{place} has no {'source' if facts.title else 'title'!r}: {_POINT_FORM}")
    try:
        return facts, {str(name): float(value) for name, value in values.items() if parse_measure(name)}, place
    except (TypeError, ValueError) as error:
        raise JPQError(f"{place}: {error}") from None


def _records(path: Path) -> list[dict]:
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix in (".yaml", ".yml"):
            import yaml

            records = yaml.safe_load(text)
        else:
            records = parse_json(text)
    except OSError:
        raise
    except Exception as error:  # yaml's and json's own, and what is not UTF-8
        raise JPQError(f"{path}: not {path.suffix.lstrip('.').upper()} ({' '.join(str(error).split())})") from None
    if not isinstance(records, list) or not records or not all(isinstance(each, dict) for each in records):
        raise JPQError(f"{path}: it must be a list of points: {_POINT_FORM}")
    return records
