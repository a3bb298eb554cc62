"""Every command of the package, taken from its own parser, to be called in this process."""

import argparse
import contextlib
import importlib
import io
from collections.abc import Iterator, Set
from typing import NamedTuple

from jpq_pyserini.__main__ import COMMANDS
from jpq_pyserini.cli import run_main


class Command(NamedTuple):
    """One command or sub-command: ``words`` as after ``jpq``, what runs it, and its own parser."""

    words: tuple[str, ...]
    main: object
    parser: argparse.ArgumentParser


class _FoundError(Exception):
    """Carries a parser out of a ``main``."""


def commands() -> Iterator[Command]:
    """Yield all commands that take arguments."""
    for group in COMMANDS.values():
        for name, (module, _) in group.items():
            main = importlib.import_module(f"jpq_pyserini.{module}").main
            for words, parser in _leaves((name,), _parser_of(main)):
                yield Command(words, main, parser)


def options_of(module: str, *words: str) -> Set[str]:
    """Return the options of ``python -m module words...``."""
    imported = importlib.import_module(module)
    if hasattr(imported, "__path__"):
        imported = importlib.import_module(f"{module}.__main__")
    return dict(_leaves((), _parser_of(imported.main)))[words]._option_string_actions.keys()


def _parser_of(main) -> argparse.ArgumentParser:
    def give(parser, *_):
        raise _FoundError(parser)

    plain = argparse.ArgumentParser.parse_args
    argparse.ArgumentParser.parse_args = give
    try:
        main([])
    except _FoundError as found:
        return found.args[0]
    finally:
        argparse.ArgumentParser.parse_args = plain
    raise AssertionError(f"{main.__module__} has no parser")


def _leaves(words, parser):
    below = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not below:
        yield words, parser
    for action in below:
        for name, sub in action.choices.items():
            yield from _leaves((*words, name), sub)


def call(command: Command, arguments) -> tuple[int, str]:
    """Run a command as a process would; return its status and what it said last on stderr.

    Raises:
        Exception: whatever would be a traceback.
    """
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
            run_main(lambda: command.main([*command.words[1:], *map(str, arguments)]))
    except SystemExit as end:
        if isinstance(end.code, str):
            return 1, end.code
        return end.code or 0, said.getvalue().strip().rpartition("\n")[2]
    raise AssertionError("run_main came back")
