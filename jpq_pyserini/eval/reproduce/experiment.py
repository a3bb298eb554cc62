"""What an experiment consists of, as :func:`.loading.load` makes it from a YAML file."""

import dataclasses
import re
from collections.abc import Mapping
from string import Template

from jpq_pyserini.errors import JPQError
from jpq_pyserini.eval.reproduce.published import Published

#: Variables that every command may use; those of a task are its own.
BUILT_IN = ("directory", "threads", "topics", "topic_key", "output")


@dataclasses.dataclass(frozen=True)
class Variable:
    """What ``--collection``, ``--encoder`` or ``--set NAME=VALUE`` gives; without a default it must be given."""

    name: str
    default: str | None = None
    help: str = ""

    @property
    def flag(self) -> str:
        return f"--{self.name} …" if self.name in ("collection", "encoder") else f"--set {self.name}=…"


@dataclasses.dataclass(frozen=True)
class Topics:
    """A set of queries with judgements.

    Attributes:
        key: what conditions and reports call it.
        topics, eval_key: topics and qrels: names that Pyserini knows, or files.
        measures: what every run on it is scored by, beside what is expected of it.
        against: condition that those without an ``against`` of their own are tested against, or None.
        documents: N of the collection, where no docid file tells it.
        place: ``file:line``.
    """

    key: str
    topics: str
    eval_key: str
    measures: tuple[str, ...] = ()
    against: str | None = None
    documents: int | None = None
    place: str = ""


@dataclasses.dataclass(frozen=True)
class Step:
    """A command that makes something which conditions or other steps need.

    Attributes:
        name: of the step.
        commands: run one after the other; ``$output`` is what they make.
        makes: file or folder, relative to the directory.
        needs: names of steps.
        resumes: a stopped command goes on from what it left when it is run again, and makes ``$output`` appear whole.
        place: ``file:line``.
    """

    name: str
    commands: tuple[str, ...]
    makes: str
    needs: tuple[str, ...] = ()
    resumes: bool = False
    place: str = ""


@dataclasses.dataclass(frozen=True)
class Expected:
    """What a condition should give on one set of topics: measure to score; what others published."""

    scores: Mapping[str, float] = dataclasses.field(default_factory=dict)
    published: Mapping[str, Published] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Condition:
    """A system: a command that makes one run for each set of topics.

    Attributes:
        name: of the condition.
        display: what tables call it.
        commands: as of a step; ``$topics`` and ``$topic_key`` are those of the run, ``$output`` is the run file.
        expected: topic key to what should come out.
        needs, index: steps, and the index directories whose size is a fact of the run; may hold ``$topic_key``.
        tolerance: how far from the expected a score may be; 0: equal to four decimals.
        against: condition that it is tested against; None: what the topics say.
        group: what systems of one kind share, for plots.
        system: its row in the published tables.
        place: ``file:line``.
    """

    name: str
    display: str
    commands: tuple[str, ...]
    expected: Mapping[str, Expected]
    needs: tuple[str, ...] = ()
    index: tuple[str, ...] = ()
    tolerance: float = 0.0
    against: str | None = None
    group: str | None = None
    system: str | None = None
    place: str = ""


@dataclasses.dataclass(frozen=True)
class Experiment:
    """An experiment; ``requires`` are files that must be there before anything is run."""

    name: str
    path: str
    title: str
    about: str
    variables: Mapping[str, Variable]
    requires: tuple[str, ...]
    topics: Mapping[str, Topics]
    steps: Mapping[str, Step]
    conditions: Mapping[str, Condition]
    published: tuple[Published, ...] = ()


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
