"""What there is to make for the chosen conditions: runs, and the steps that they need, in order."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from jpq_pyserini.errors import JPQError
from jpq_pyserini.eval.reproduce.experiment import Condition, Experiment, Topics, substitute
from jpq_pyserini.eval.reproduce.workshop import Task, Workshop


@dataclass(frozen=True)
class PlannedRun:
    """One condition on one set of topics, with the task that makes its run file."""

    condition: Condition
    topics: Topics
    task: Task


class Plan:
    """The tasks of an experiment under given values of its variables."""

    def __init__(self, experiment: Experiment, values: Mapping[str, str]):
        self.experiment, self.values = experiment, values
        self._steps: dict[str, Task] = {}

    def runs(self, conditions: Sequence[str] = (), topics: Sequence[str] = ()) -> list[PlannedRun]:
        """Return the runs of the conditions and topics that match; all without a pattern.

        Args:
            conditions, topics: names, or patterns with ``*``, of which one must match.

        Raises:
            JPQError: a pattern that matches nothing, or a condition by name without the variable that it needs.
        """
        experiment = self.experiment
        for patterns, known, kind in (
            (conditions, experiment.condition, "condition"),
            (topics, experiment.topic, "topics"),
        ):
            for pattern in patterns:
                if not any(fnmatchcase(name, pattern) for name in known):
                    raise JPQError(f"{experiment.name}: no {kind} {pattern!r}: there are {', '.join(known)}")
        runs = [
            PlannedRun(condition, experiment.topic[key], self._run(condition, key))
            for condition in experiment.conditions
            if _matches(condition.name, conditions) and self._is_given(condition, conditions)
            for key in experiment.expected(condition)
            if _matches(key, topics)
        ]
        if not runs:
            raise JPQError(f"{experiment.name}: no condition has both the --condition and the --topics asked for")
        return runs

    def _is_given(self, condition: Condition, names: Sequence[str]) -> bool:
        """Tell whether a condition's variable has a value; :class:`JPQError` if not, but the condition is named."""
        if condition.given is None or self.values.get(condition.given) != "":
            return True
        if condition.name in names:
            what = self.experiment.variables[condition.given].help
            raise JPQError(
                f"{self.experiment.name}: {condition.name} needs ${condition.given} ({what}): give "
                f"--set {condition.given}=..."
            )
        return False

    def timing(self) -> Task | None:
        """Return the step that measures times, if there is one."""
        return self._step(self.experiment.timing) if self.experiment.timing else None

    def _step(self, name: str) -> Task:
        if name not in self._steps:
            step = self.experiment.step[name]
            needs = tuple(map(self._step, step.needs))
            self._steps[name] = Task(
                f"step {name}", step.target, step.command, self.values, step.resumes, step.quiet, needs
            )
        return self._steps[name]

    def _run(self, condition: Condition, key: str) -> Task:
        experiment = self.experiment
        others = {name: self._run(experiment.condition[name], key) for name in condition.runs}
        values = {**self.values, "topic_key": key, **{name: task.target for name, task in others.items()}}
        values["topics"] = substitute(experiment.topic[key].names[0], values)
        needs = [self._step(substitute(need, values)) for need in condition.needs]
        title, target = f"condition {condition.name} on {key}", f"run.{experiment.name}.{condition.name}.{key}.txt"
        return Task(title, target, condition.command, values, False, condition.quiet, (*needs, *others.values()))


def in_order(tasks: Iterable[Task]) -> list[Task]:
    """Return ``tasks`` and all that they need, each once, after what it needs."""
    found: dict[str, Task] = {}

    def visit(task: Task) -> None:
        if task.target not in found:
            for need in task.needs:
                visit(need)
            found[task.target] = task

    for task in tasks:
        visit(task)
    return list(found.values())


def missing(tasks: Iterable[Task], workshop: Workshop, rebuild: bool) -> list[Task]:
    """Return what has to be made of ``tasks`` and of what they need, each after what it needs.

    Args:
        tasks: wanted in the end.
        workshop: where they are, or are not.
        rebuild: what is there is made again if it was made by another command or before what it needs; else it counts,
            however it was made.
    """
    if rebuild:
        made: dict[str, Task] = {}
        for task in in_order(tasks):
            if workshop.outdated(task) or any(need.target in made for need in task.needs):
                made[task.target] = task
        return list(made.values())
    return list({task.target: task for task in _absent(tasks, workshop)}.values())


def _absent(tasks: Iterable[Task], workshop: Workshop) -> Iterator[Task]:
    """Yield what is not there, each after what it needs; what is there has all it needs."""
    for task in tasks:
        if not workshop.has(task):
            yield from _absent(task.needs, workshop)
            yield task


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)
