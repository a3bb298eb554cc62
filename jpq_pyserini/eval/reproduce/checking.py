"""What is checked when an experiment is whole: variables, and what needs or is tested against what."""

from collections.abc import Iterator

from jpq_pyserini.errors import JPQError
from jpq_pyserini.eval.reproduce.experiment import BUILT_IN, Experiment, names_in, substitute
from jpq_pyserini.eval.reproduce.reading import did_you_mean

_OF_RUNS = {"topics", "topic_key"}


def check(experiment: Experiment) -> None:
    """Find unknown variables, needs and conditions to test against, and needs that go in a circle.

    Raises:
        JPQError: the first of them, with its place.
    """
    for text, what, place, allowed in _texts(experiment):
        if unknown := sorted(checked_names(text, what, place) - allowed):
            hint = did_you_mean(unknown[0], allowed, "${}")
            raise JPQError(f"{place}: {what}: unknown variable ${unknown[0]} in {text!r}{hint}")
    for condition in experiment.conditions.values():
        what = f"condition {condition.name}"
        for key in condition.expected:
            for need in condition.needs:
                _known_step(substitute(need, {"topic_key": key}), what, condition.place, experiment)
    for topics in experiment.topics.values():
        _known_condition(topics.against, f"topics {topics.key}", topics.place, experiment)
    for condition in experiment.conditions.values():
        _known_condition(condition.against, f"condition {condition.name}", condition.place, experiment)
    made: dict[str, str] = {}
    for name, step in experiment.steps.items():
        if step.makes in made:
            raise JPQError(f"{step.place}: step {name} makes {step.makes!r}, as step {made[step.makes]} does: keep one")
        made[step.makes] = name
    done: set[str] = set()
    for name in experiment.steps:
        _walk(name, experiment, (), done)


def checked_names(text: str, what: str, place: str) -> set[str]:
    """Return the names of the variables in ``text``; a lone dollar is an error with its place."""
    try:
        return names_in(text)
    except JPQError as error:
        raise JPQError(f"{place}: {what}: {error}") from None


def _texts(experiment: Experiment) -> Iterator[tuple[str, str, str, set[str]]]:
    """Yield (text, what it belongs to, place, the variables it may hold)."""
    known, top = {*BUILT_IN, *experiment.variables}, f"{experiment.path}:1"
    for step in experiment.steps.values():
        for text in step.commands:
            yield text, f"step {step.name}", step.place, known - _OF_RUNS
        for text in (step.makes, *step.needs):
            yield text, f"step {step.name}", step.place, set()
    for condition in experiment.conditions.values():
        for text in (*condition.commands, *condition.index):
            yield text, f"condition {condition.name}", condition.place, known
        for text in condition.needs:
            yield text, f"condition {condition.name}", condition.place, {"topic_key"}
    for topics in experiment.topics.values():
        for text in (topics.topics, topics.eval_key):
            yield text, f"topics {topics.key}", topics.place, known - {"topics", "output"}
    for text in experiment.requires:
        yield text, "requires", top, known - _OF_RUNS - {"output"}


def _walk(name: str, experiment: Experiment, above: tuple[str, ...], done: set[str]) -> None:
    step = experiment.steps[name]
    if name in above:
        circle = " needs ".join([*above[above.index(name) :], name])
        raise JPQError(f"{step.place}: steps need each other in a circle: {circle}: take one of the needs away")
    if name in done:
        return
    for need in step.needs:
        _known_step(need, f"step {name}", step.place, experiment)
        _walk(need, experiment, (*above, name), done)
    done.add(name)


def _known_step(name: str, what: str, place: str, experiment: Experiment) -> None:
    if name not in experiment.steps:
        raise JPQError(f"{place}: {what}: needs {name!r}, which is no step{did_you_mean(name, experiment.steps)}")


def _known_condition(name: str | None, what: str, place: str, experiment: Experiment) -> None:
    if name is not None and name not in experiment.conditions:
        hint = did_you_mean(name, experiment.conditions)
        raise JPQError(f"{place}: {what}: against {name!r}: no condition of that name{hint}")
