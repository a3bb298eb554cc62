"""The report of an experiment: a table for the terminal, the same as Markdown, and everything as JSON."""

import dataclasses
import json
from collections import Counter
from collections.abc import Mapping, Sequence

from jpq_pyserini.eval.facts import Facts
from jpq_pyserini.eval.reproduce.experiment import Experiment, substitute
from jpq_pyserini.eval.reproduce.published import Published
from jpq_pyserini.eval.reproduce.scoring import FAIL, MEASURED, OK, OKISH, Score, Scored
from jpq_pyserini.eval.reproduce.workshop import BuildRecord, Task
from jpq_pyserini.eval.significance import mark
from jpq_pyserini.tables import as_markdown as markdown_table
from jpq_pyserini.tables import as_text as aligned
from jpq_pyserini.tables import escaped


@dataclasses.dataclass(frozen=True)
class Item:
    """Something that was made, now or before.

    Attributes:
        task: what it is.
        made: how; None if it came there by other ways.
        now: by this process.
    """

    task: Task
    made: BuildRecord | None
    now: bool

    @property
    def other_command(self) -> bool:
        """Whether it was made by another command than the experiment's is today."""
        return self.made is not None and self.made.commands != self.task.shown()

    def __str__(self) -> str:
        if self.made is None:
            return "found there"
        when = "now" if self.now else f"before, {self.made.finished}"
        return f"{_duration(self.made.seconds)} ({when}{', by another command' if self.other_command else ''})"


@dataclasses.dataclass(frozen=True)
class Report:
    """Everything that is known when an experiment has been run.

    Attributes:
        experiment: what was run.
        command: how this process was started.
        values: of its variables.
        scored: one for each set of topics.
        items: steps and runs, in the order of their making.
        facts: (condition, topic key) to the facts of the run.
        sizes: the same to bytes per document of its indexes, where they are known.
        trainings: index folder to how it was trained, as its record says.
        versions: package to version.
        date: UTC, ISO 8601.
        directory: where things lie.
    """

    experiment: Experiment
    command: str
    values: Mapping[str, str]
    scored: Sequence[Scored]
    items: Sequence[Item]
    facts: Mapping[tuple[str, str], Facts]
    sizes: Mapping[tuple[str, str], float]
    trainings: Mapping[str, Mapping]
    versions: Mapping[str, str]
    date: str
    directory: str

    @property
    def marks(self) -> Counter:
        """How many numbers have which mark."""
        scores = (score for each in self.scored for of_run in each.scores.values() for score in of_run.values())
        return Counter(score.mark for score in scores)


def as_text(report: Report) -> str:
    """Return the tables, aligned, with what was made and how long it took."""
    lines = [f"{report.experiment.name}: {report.experiment.title}", ""]
    for scored in report.scored:
        rows = _table(report, scored)
        lines += [f"{scored.topics.topic_key}, {scored.queries:,} queries", aligned(rows, "l"), ""]
    made = [item for item in report.items if item.made is not None]
    width = max((len(item.task.title) for item in made), default=0)
    lines += [f"{item.task.title:{width}}  {item}" for item in made]
    if now := [item.made.seconds for item in made if item.now and item.made]:
        lines.append(f"{'all that was made now':{width}}  {_duration(sum(now))}")
    if found := [item.task.target for item in report.items if item.made is None]:
        lines.append(f"found there, how they were made is not recorded: {', '.join(found)}")
    return "\n".join([*lines, "", *_legend(report)]) + "\n"


def as_markdown(report: Report) -> str:
    """Return the same for a README."""
    experiment = report.experiment
    lines = [f"# {experiment.name}: {experiment.title}", ""]
    lines += [experiment.about, ""] if experiment.about else []
    for scored in report.scored:
        rows = [[*map(escaped, row)] for row in _table(report, scored)]
        lines += [f"## {scored.topics.topic_key}", "", f"{scored.queries:,} queries.", ""]
        lines += [markdown_table(rows), ""]
    rows = [["made", "seconds", "command"]]
    for item in report.items:
        commands = "<br>".join(f"`{_with_names(command, report)}`" for command in item.task.shown())
        rows.append([item.task.target, f"{item.made.seconds:,.0f}" if item.made else "", commands])
    lines += ["## Commands", "", markdown_table(rows, "lrl")]
    legend = (escaped(line) for line in _legend(report))
    return "\n".join([*lines, "", "\\\n".join(legend)]) + "\n"


def as_json(report: Report) -> str:
    """Return everything, scores unrounded."""
    experiment = report.experiment
    conditions = [
        {
            "name": name,
            "display": experiment.condition[name].title,
            "topic_key": scored.topics.topic_key,
            "scores": {measure: _score_record(score) for measure, score in of_run.items()},
            "facts": _without_none(dataclasses.asdict(report.facts[name, scored.topics.topic_key])),
        }
        for scored in report.scored
        for name, of_run in scored.scores.items()
    ]
    items = [
        {"title": item.task.title, "makes": item.task.target, "commands": item.task.shown()}
        | ({"seconds": item.made.seconds, "finished": item.made.finished} if item.made else {"found": True})
        | ({"made_by": item.made.commands} if item.made and item.other_command else {})
        for item in report.items
    ]
    record = {
        "experiment": experiment.name,
        "title": experiment.title,
        "command": report.command,
        "date": report.date,
        "directory": report.directory,
        "variables": dict(report.values),
        "versions": dict(report.versions),
        "queries": {scored.topics.topic_key: scored.queries for scored in report.scored},
        "marks": dict(report.marks),
        "conditions": conditions,
        "made": items,
        "trainings": dict(report.trainings),
        "published": [_without_none(dataclasses.asdict(number)) for number in experiment.numbers],
    }
    return json.dumps(record, indent=1, ensure_ascii=False) + "\n"


def _table(report: Report, scored: Scored) -> list[list[str]]:
    """Return header and rows: the conditions, then the published systems that none of them is."""
    measures = list(next(iter(scored.scores.values())))
    conditions = report.experiment.condition
    rows = [["", *measures, "bytes/doc", "vectors on disk", "ms/query search", "with encoding"]]
    for name, of_run in scored.scores.items():
        size = report.sizes.get((name, scored.topics.topic_key))
        sized = "" if size is None else f"{size:,.0f}"
        facts = report.facts[name, scored.topics.topic_key]
        vectors = facts.vector_bytes_per_document
        on_disk = "" if vectors is None else f"{vectors:,.0f}"
        rows.append([conditions[name].title, *map(_cell, of_run.values()), sized, on_disk, *_times(facts)])
    run_systems = {conditions[name].system for name in scored.scores}
    others: dict[tuple[str, str], dict[str, Published]] = {}
    for number in report.experiment.numbers:
        here = number.topic_key == scored.topics.topic_key and number.system not in run_systems
        if here and number.measure is not None and number.measure in measures:
            others.setdefault((number.system, number.source), {})[number.measure] = number
    for (system, _), numbers in others.items():
        cells = (f"({numbers[measure].text})" if measure in numbers else "" for measure in measures)
        rows.append([f"({system})", *cells, "", "", "", ""])
    used = [number for number, column in enumerate(zip(*rows, strict=True)) if number == 0 or any(column[1:])]
    return [[row[number] for number in used] for row in rows]


def _times(facts: Facts) -> tuple[str, str]:
    """Return the milliseconds of a search, without query encoding and with it."""
    if facts.ms_per_query is None or facts.encode_ms_per_query is None:
        return "", ""
    return f"{facts.ms_per_query:.2f}", f"{facts.ms_per_query + facts.encode_ms_per_query:.2f}"


def _cell(score: Score) -> str:
    text = f"{score.value:.4f}{mark(score.p_value)}"
    if score.mark != MEASURED:
        text += f" [{score.mark}]"
    if score.mark in (OKISH, FAIL):
        text += f" expected {score.expected:.4f}"
    return text + (f" ({score.published.text})" if score.published else "")


def _legend(report: Report) -> list[str]:
    marks = report.marks
    counts = ", ".join(f"{marks[each]} {each}" for each in (OK, OKISH, FAIL, MEASURED) if marks[each])
    lines = [f"{counts or 'nothing scored'} ({OK}: within its tolerance, {OKISH}: twice that or 0.0005)"]
    scores = [score for each in report.scored for of_run in each.scores.values() for score in of_run.values()]
    if against := {score.against for score in scores if score.against}:
        names = report.experiment.condition[against.pop()].title if len(against) == 1 else "the one that is named"
        lines.append(f"* p<0.05, ** p<0.01 against {names} (two-tailed paired t-test)")
    if sources := sorted({number.source for number in report.experiment.numbers}):
        lines.append(f"in brackets: as published ({'; '.join(sources)})")
    if report.experiment.codes_only:
        lines.append("bytes/doc of JPQ indexes: their codes, without rotation and centroids, which all documents share")
    lines.append(f"everything is in {report.directory}")
    if report.experiment.notes:
        lines += ["", *substitute(report.experiment.notes, report.values).rstrip().splitlines()]
    return lines


def _with_names(command: str, report: Report) -> str:
    """Return a command with ``$collection`` for the path that was given, and no bar that would end a cell."""
    for name in report.experiment.variables:
        value = report.values.get(name, "")
        if value.startswith("/"):
            command = command.replace(value, f"${name}")
    return command.replace("|", "\\|")


def _score_record(score: Score) -> dict:
    record = _without_none({"value": score.value, "expected": score.expected, "mark": score.mark})
    if score.expected is not None:
        record["tolerance"] = score.tolerance
    if score.against is not None:
        record |= {"against": score.against, "p_value": score.p_value}
    if score.published is not None:
        record["published"] = {"text": score.published.text, "source": score.published.source}
    return record


def _without_none(record: Mapping) -> dict:
    return {name: value for name, value in record.items() if value is not None}


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"
