"""What there is to make for the chosen conditions: runs, and the steps that missing runs need, in order."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from jpq_pyserini.errors import JPQError
from jpq_pyserini.eval.reproduce.experiment import Condition, Experiment, Step, Topics, substitute
from jpq_pyserini.eval.reproduce.making import Task


@dataclass(frozen=True)
class Run:
    """One condition on one set of topics, with the task that makes its run file."""

    condition: Condition
    topics: Topics
    task: Task


def chosen_runs(
    experiment: Experiment, values: Mapping[str, str], conditions: Sequence[str] = (), topics: Sequence[str] = ()
) -> list[Run]:
    """Return the runs of the conditions and topics that match; all without a pattern.

    Args:
        experiment: the experiment.
        values: of its variables.
        conditions, topics: names, or patterns with ``*``, of which one must match.

    Raises:
        JPQError: a pattern that matches nothing.
    """
    for pattern, there, kind in [
        *((pattern, experiment.conditions, "condition") for pattern in conditions),
        *((pattern, experiment.topics, "topics") for pattern in topics),
    ]:
        if not any(fnmatchcase(name, pattern) for name in there):
            raise JPQError(f"{experiment.name}: no {kind} {pattern!r}: there are {', '.join(there)}")
    runs = [
        _run(experiment, condition, experiment.topics[key], values)
        for condition in experiment.conditions.values()
        if _matches(condition.name, conditions)
        for key in condition.expected
        if _matches(key, topics)
    ]
    if not runs:
        raise JPQError(f"{experiment.name}: no condition has both the --condition and the --topics asked for")
    return runs


def steps_for(
    experiment: Experiment, runs: Sequence[Run], values: Mapping[str, str], has: Callable[[Task], bool]
) -> list[Task]:
    """Return the steps whose output is missing and wanted for what else is missing, each after what it needs."""
    tasks: dict[str, Task] = {}

    def want(name: str) -> None:
        step = experiment.steps[name]
        task = step_task(step, values)
        if name in tasks or has(task):
            return
        for need in step.needs:
            want(need)
        tasks[name] = task

    for run in runs:
        if not has(run.task):
            for need in run.condition.needs:
                want(substitute(need, run.task.values))
    return list(tasks.values())


def step_task(step: Step, values: Mapping[str, str]) -> Task:
    """Return what makes the output of ``step``."""
    return Task(f"step {step.name}", step.makes, step.commands, values, step.resumes)


def _run(experiment: Experiment, condition: Condition, topics: Topics, values: Mapping[str, str]) -> Run:
    values = {**values, "topic_key": topics.key, "topics": substitute(topics.topics, values)}
    target = f"run.{experiment.name}.{condition.name}.{topics.key}.txt"
    return Run(
        condition, topics, Task(f"condition {condition.name} on {topics.key}", target, condition.commands, values)
    )


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)
