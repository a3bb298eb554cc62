"""What is checked when an experiment is whole: its names, its variables, and what needs or is tested against what."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator

from jpq_pyserini.errors import JPQError
from jpq_pyserini.eval.reproduce.experiment import BUILT_IN, Experiment, names_in, substitute
from jpq_pyserini.eval.reproduce.yaml_files import did_you_mean

_OF_RUNS = {"topics", "topic_key"}


def check(experiment: Experiment) -> None:
    """Find names that are used twice or not at all, unknown variables, and needs that go in a circle.

    Raises:
        JPQError: the first of them, as ``steps.opq48: what is wrong``.
    """
    _check_unique("topics", (topics.topic_key for topics in experiment.topics))
    _check_unique("steps", (step.name for step in experiment.steps))
    _check_unique("steps make", (step.target for step in experiment.steps))
    _check_unique("conditions", (condition.name for condition in experiment.conditions))
    for name in (*experiment.variables, *experiment.commands):
        if name in BUILT_IN or (name in experiment.variables and name in experiment.commands):
            raise JPQError(
                f"variables.{name}: there is one of that name in every experiment, or in commands: rename it"
            )
    for place, text, allowed in _texts(experiment):
        try:
            unknown = sorted(names_in(text) - allowed)
        except JPQError as error:
            raise JPQError(f"{place}: {error}") from None
        if unknown:
            raise JPQError(f"{place}: unknown variable ${unknown[0]}{did_you_mean(unknown[0], sorted(allowed), '${}')}")
    systems = {number.system for number in experiment.numbers}
    for topics in experiment.topics:
        _known(topics.against or experiment.against, experiment.condition, f"topics.{topics.topic_key}.against")
    for name, condition in experiment.condition.items():
        place, keys = f"conditions.{name}", [each.topic_key for each in condition.topics]
        _check_unique(f"{place}.topics", keys)
        for key in experiment.expected(condition):
            _known(key, experiment.topic, f"{place}.topics")
            for need in condition.needs:
                _known(substitute(need, {"topic_key": key}), experiment.step, f"{place}.needs")
        for other in condition.runs:
            _known(other, experiment.condition, f"{place}.runs")
            if experiment.condition[other].runs:
                raise JPQError(f"{place}.runs: {other} reads runs, too: name conditions that do not")
        _known(condition.against, experiment.condition, f"{place}.against")
        _known(condition.system, systems, f"{place}.system")
        _known(condition.given, experiment.variables, f"{place}.given")
    for name, variable in experiment.variables.items():
        for other in variable.goes_with:
            _known(other, experiment.variables, f"variables.{name}.goes_with")
    _known(experiment.timing, experiment.step, "timing")
    done: set[str] = set()
    for name in experiment.step:
        _walk(name, experiment, (), done)


def _texts(experiment: Experiment) -> Iterator[tuple[str, str, set[str]]]:
    """Yield (place, text, the variables it may hold)."""
    known = {*BUILT_IN, *experiment.variables}
    for step in experiment.steps:
        yield from ((f"steps.{step.name}.command", text, known - _OF_RUNS) for text in step.command)
        yield from ((f"steps.{step.name}", text, set()) for text in (step.target, *step.needs))
    for condition in experiment.conditions:
        place = f"conditions.{condition.name}"
        yield from ((f"{place}.command", text, known | {*condition.runs}) for text in condition.command)
        yield from ((f"{place}.index", text, known) for text in condition.index)
        yield from ((f"{place}.needs", text, {"topic_key"}) for text in condition.needs)
    for topics in experiment.topics:
        yield from ((f"topics.{topics.topic_key}", text, known - {"topics", "output"}) for text in topics.names)
    yield from (("requires", text, known - _OF_RUNS - {"output"}) for text in experiment.requires)


def _walk(name: str, experiment: Experiment, above: tuple[str, ...], done: set[str]) -> None:
    if name in above:
        circle = " needs ".join([*above[above.index(name) :], name])
        raise JPQError(f"steps.{name}.needs: steps need each other in a circle: {circle}: take one of the needs away")
    if name in done:
        return
    for need in experiment.step[name].needs:
        _known(need, experiment.step, f"steps.{name}.needs")
        _walk(need, experiment, (*above, name), done)
    done.add(name)


def _check_unique(place: str, names: Iterable[str]) -> None:
    for name, count in Counter(names).items():
        if count > 1:
            raise JPQError(f"{place}: {name!r} is there {count} times: rename or remove one")


def _known(name: str | None, known: Collection[str], place: str) -> None:
    """Raise :class:`JPQError` if ``name`` is given and not in ``known``, a collection of names."""
    if name is not None and name not in known:
        raise JPQError(f"{place}: there is no {name!r}{did_you_mean(name, known)}")
