"""What an experiment consists of: the keys that its YAML file may hold, and how each value is checked."""

import functools
import re
import shlex
from collections.abc import Mapping
from pathlib import PurePosixPath
from string import Template
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints

from jpq_pyserini.errors import JPQError
from jpq_pyserini.eval.measures import parse_measure
from jpq_pyserini.eval.reproduce.published import Published, read_published
from jpq_pyserini.eval.reproduce.yaml_files import Model, Text, Texts

#: Variables that every command may use; those of a task are its own.
BUILT_IN = ("directory", "threads", "topics", "topic_key", "output")


def substitute(text: str, values: Mapping[str, str]) -> str:
    """Return ``text`` with the ``$names`` of ``values`` filled in, the others left as they stand."""
    return _Template(text).safe_substitute(values)


def names_in(text: str) -> set[str]:
    """Return the names of the variables in ``text``.

    Raises:
        JPQError: a dollar that is no variable.
    """
    if not _Template(text).is_valid():
        raise JPQError(f"{text!r} holds a '$' that begins no variable: write $$ for a plain one")
    return set(_Template(text).get_identifiers())


class _Template(Template):
    flags = re.ASCII


def _measure(name: str) -> str:
    parse_measure(name)
    return name


def _inside(path: str) -> str:
    if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
        raise ValueError(f"{path!r} must be inside the directory of the experiment")
    return path


def _commands(commands: tuple[str, ...]) -> tuple[str, ...]:
    for command in commands:
        try:
            shlex.split(command)
        except ValueError as error:
            raise ValueError(f"{command!r} cannot be split into words: {error}") from None
    if not any("output" in names_in(command) for command in commands):
        raise ValueError("no $output in the command: it says where to write")
    return commands


def _merged(rows):
    """Return one mapping for a list of mappings; None for a score that is still to be measured."""
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        return rows
    merged: dict = {}
    for measure, score in ((measure, score) for row in rows for measure, score in row.items()):
        if measure in merged:
            raise ValueError(f"{measure} is given twice: keep one")
        merged[measure] = None if score in ("", "~", "null") else score
    return merged


#: Part of a file name: names of conditions and topics become those of runs.
Name = Annotated[str, StringConstraints(pattern=r"^[^/\x00-\x1f]{1,100}$")]
Identifier = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
Measure = Annotated[str, AfterValidator(_measure)]
Commands = Annotated[Texts, Field(min_length=1), AfterValidator(_commands)]
Score = Annotated[float, Field(ge=0, le=1)]
Scores = Annotated[dict[Measure, Score | None], BeforeValidator(_merged)]
Tolerance = Annotated[float, Field(ge=0)]


class Variable(Model):
    """What ``--collection``, ``--encoder`` or ``--set NAME=VALUE`` gives.

    Attributes:
        default: none: it must be given. An empty value leaves out the part of a command that is in brackets.
        help: what it is.
        least: if it is a number, the smallest whole one.
        choices: the values that it may have.
        switch: no value is typed: given, it is this flag; else it is empty.
        goes_with: variables that must be given if this one is.
    """

    default: str | None = None
    help: str = ""
    least: int | None = None
    choices: tuple[Text, ...] = ()
    switch: str | None = None
    goes_with: Texts = ()

    def check(self, name: str, value: str) -> None:
        """Raise :class:`JPQError` if ``value`` is none that the variable may have; an empty one it always may."""
        if value and self.choices and value not in self.choices:
            raise JPQError(f"{name} {value!r}: choose one of {', '.join(self.choices)}")
        if value and self.least is not None and not (value.isdecimal() and int(value) >= self.least):
            raise JPQError(f"{name} {value!r}: it must be a whole number of at least {self.least}")


class Topics(Model):
    """A set of queries with relevance judgements.

    Attributes:
        topic_key: what conditions and reports call it.
        topics, eval_key: topics and qrels: names that Pyserini knows, or files; the default is the topic key.
        measures: what every run on it is scored by, beside the measures of its expected scores.
        against: condition that those without an ``against`` of their own are tested against, or None.
        documents: number of documents of the collection, where no docid file tells it.
    """

    topic_key: Name
    topics: Text | None = None
    eval_key: Text | None = None
    measures: tuple[Measure, ...] = ()
    against: str | None = None
    documents: Annotated[int, Field(ge=1)] | None = None

    @property
    def names(self) -> tuple[str, str]:
        """Topics and qrels."""
        topics = self.topics or self.topic_key
        return topics, self.eval_key or topics


class Step(Model):
    """A command that makes something which conditions or other steps need.

    Attributes:
        command: run one after the other; ``$output`` is what they make.
        makes: file or folder, relative to the directory; the default is the step's name.
        needs: names of steps.
        resumes: a stopped command continues from what it left when it is run again, and makes ``$output`` appear whole.
        quiet: what the command prints goes to a log file.
    """

    name: Text
    command: Commands
    makes: Annotated[Text, AfterValidator(_inside)] | None = None
    needs: Texts = ()
    resumes: bool = False
    quiet: bool = False

    @property
    def target(self) -> str:
        return self.makes or _inside(self.name)


class Expected(Model):
    """The scores that a condition should get on one set of topics; None: still to be measured."""

    topic_key: Name
    scores: Scores = Field(default_factory=dict)


class Condition(Model):
    """A system: a command that makes one run for each set of topics.

    Attributes:
        display: what tables call it; the default is its name.
        command: as of a step; ``$topics`` and ``$topic_key`` are those of the run, ``$output`` is the run file.
        topics: the sets of topics it is run on, with the expected scores; the default is all, with nothing expected.
        needs, index: steps, and the index directories whose size is a fact of the run; may hold ``$topic_key``.
        given: variable without which the condition is left out; the default of that is empty.
        runs: conditions whose runs on the same topics the command reads: ``$name`` is the run file.
        tolerance: how far from the expected a score may be; the default is the experiment's, or 0: equal to four
            decimals.
        against: condition that it is tested against; None: what the topics say.
        group: what systems of one kind share, for plots.
        system: its row in the published tables.
        quiet: as of a step.
    """

    name: Name
    display: str = ""
    command: Commands
    topics: tuple[Expected, ...] = ()
    needs: Texts = ()
    index: Texts = ()
    given: Text | None = None
    runs: Texts = ()
    tolerance: Tolerance | None = None
    against: str | None = None
    group: str | None = None
    system: str | None = None
    quiet: bool = False

    @property
    def title(self) -> str:
        return self.display or self.name


class Experiment(Model):
    """An experiment.

    Attributes:
        name: of the file, without its ending.
        title, about: a line, and what else there is to know.
        variables: by name.
        commands: pieces of commands by name: ``$name`` in a command stands for their text, words and all.
        requires: files that must be there before anything is run.
        measures, against, tolerance: of all topics and conditions that say nothing else.
        topics, steps, conditions: what there is.
        published: tables of published numbers, names of files in ``eval/published``.
        timing: step that measures times: its output holds ``runs/CONDITION.facts.json``.
        codes_only: bytes per document are those of the codes, without rotation and centroids.
        rebuild: what was made by other commands, or from other files, is made again.
        notes: shown under the tables of the report; may hold variables.
    """

    name: Name
    title: Text
    about: str = ""
    variables: dict[Identifier, Variable] = Field(default_factory=dict)
    commands: dict[str, Text] = Field(default_factory=dict)
    requires: Texts = ()
    measures: tuple[Measure, ...] = ()
    against: str | None = None
    tolerance: Tolerance = 0.0
    topics: Annotated[tuple[Topics, ...], Field(min_length=1)]
    steps: tuple[Step, ...] = ()
    conditions: Annotated[tuple[Condition, ...], Field(min_length=1)]
    published: Texts = ()
    timing: str | None = None
    codes_only: bool = False
    rebuild: bool = False
    notes: str = ""

    @functools.cached_property
    def step(self) -> dict[str, Step]:
        """Name to step."""
        return {step.name: step for step in self.steps}

    @functools.cached_property
    def condition(self) -> dict[str, Condition]:
        """Name to condition."""
        return {condition.name: condition for condition in self.conditions}

    @functools.cached_property
    def topic(self) -> dict[str, Topics]:
        """Topic key to topics."""
        return {topics.topic_key: topics for topics in self.topics}

    @functools.cached_property
    def numbers(self) -> tuple[Published, ...]:
        """All published numbers."""
        return tuple(number for name in self.published for number in read_published(name))

    def measures_of(self, topics: Topics) -> tuple[str, ...]:
        """Return what every run on ``topics`` is scored by."""
        return topics.measures or self.measures

    def expected(self, condition: Condition) -> dict[str, dict[str, float]]:
        """Return topic key to measure to expected score, for all topics that the condition is run on."""
        entries = condition.topics or [Expected(topic_key=key) for key in self.topic]
        return {
            each.topic_key: {measure: score for measure, score in each.scores.items() if score is not None}
            for each in entries
        }

    def tolerance_of(self, condition: Condition) -> float:
        """Return how far from the expected its scores may be."""
        return self.tolerance if condition.tolerance is None else condition.tolerance

    def published_of(self, condition: Condition, key: str) -> dict[str, Published]:
        """Return measure to what was published of the condition's system; of rows in several tables the first."""
        rows = [n for n in self.numbers if n.system == condition.system and n.topic_key == key and n.measure]
        return {number.measure: number for number in reversed(rows) if number.measure}
