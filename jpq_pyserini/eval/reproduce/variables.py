"""The values of an experiment's variables, from the command line and the experiment's own defaults."""

import argparse
import os
from pathlib import Path

from jpq_pyserini.errors import JPQError
from jpq_pyserini.eval.reproduce.experiment import BUILT_IN, Experiment, names_in, substitute
from jpq_pyserini.eval.reproduce.yaml_files import did_you_mean


def flag_of(name: str) -> str:
    """Return how a variable is given on the command line."""
    return f"--{name} ..." if name in ("collection", "encoder") else f"--set {name}=..."


def values_of(experiment: Experiment, args: argparse.Namespace) -> dict[str, str]:
    """Return variable to value; the paths among them absolute, because commands run in the directory.

    With ``--dry-run`` what was not given is left out, so that commands show ``$collection``.

    Raises:
        JPQError: a variable that the experiment has not, one that has to be given, or a value that it may not have.
    """
    given = _given(experiment, args)
    if args.threads < 1:
        raise JPQError(f"--threads {args.threads}: must be at least 1")
    directory = args.directory or str(Path("runs") / experiment.name)
    values = {"directory": os.path.abspath(directory), "threads": str(args.threads)}
    for name, variable in experiment.variables.items():
        value = given.get(name, variable.default)
        if value is not None:
            is_path = name in given and value and (name == "collection" or os.path.exists(value))
            values[name] = os.path.abspath(value) if is_path else value
            variable.check(f"{experiment.name}: {name}", values[name])
        elif not args.dry_run:
            what = f" ({variable.help})" if variable.help else ""
            raise JPQError(f"{experiment.name} needs ${name}{what}: give {flag_of(name)}")
    for name, variable in experiment.variables.items():
        if lacking := [other for other in variable.goes_with if values.get(name) and not values.get(other)]:
            raise JPQError(f"{experiment.name}: {name} {values[name]} needs {lacking[0]}, too: give both or neither")
    return values


def _given(experiment: Experiment, args: argparse.Namespace) -> dict[str, str]:
    """Return the variables that the command line names, each known."""
    given = {name: getattr(args, name) for name in ("collection", "encoder") if getattr(args, name) is not None}
    for setting in args.set:
        name, equals, value = setting.partition("=")
        if not equals or not name:
            raise JPQError(f"--set {setting}: write NAME=VALUE")
        if name in BUILT_IN:
            raise JPQError(f"--set {setting}: ${name} is set otherwise: --directory and --threads have flags")
        given[name] = value
    for name in given:
        if name not in experiment.variables:
            hint = did_you_mean(name, experiment.variables)
            there = ", ".join(experiment.variables) or "none"
            raise JPQError(f"{experiment.name} has no variable {name!r}: there are {there}{hint}")
    return given


def require_files(experiment: Experiment, values: dict[str, str]) -> None:
    """Raise :class:`JPQError` if one of the experiment's ``requires`` is missing."""
    for text in experiment.requires:
        path = substitute(text, values)
        if not os.path.exists(path):
            flags = [flag_of(name) for name in sorted(names_in(text)) if name in experiment.variables]
            remedy = f": check {', '.join(flags)}" if flags else ""
            raise JPQError(f"{experiment.name} needs {path}, which is missing{remedy}")
