"""What every command line of the package shares: how it ends and speaks, and flags made from a dataclass."""

import argparse
import dataclasses
import errno
import shlex
import sys
import typing
from collections.abc import Sequence

from jpq_pyserini.errors import JPQError


def run_main(main) -> typing.NoReturn:
    """Run ``main()`` as a process: exit status 0, or one line on stderr and status 1 (130 after Ctrl-C).

    Only errors that a user can mend are turned into a line; anything else keeps its traceback, because it is a bug.
    """
    try:
        status = main()
    except JPQError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            sys.exit(f"error: no space left while writing {error.filename or 'the output'}: free some and run again")
        where = f"{error.filename}: " if error.filename else ""
        sys.exit(f"error: {where}{error.strerror or error}")
    except KeyboardInterrupt as interrupt:
        print(f"stopped{': ' + str(interrupt) if str(interrupt) else ''}", file=sys.stderr)
        sys.exit(130)
    sys.exit(status or 0)


def note(line: str) -> None:
    """Tell on stderr what the user should know and need not mend."""
    print(f"note: {line}", file=sys.stderr)


def progress(line: str) -> None:
    """Tell on stderr what is being done, or what has been done of it."""
    print(line, file=sys.stderr)


def command_line(module: str, argv: Sequence[str] | None = None) -> str:
    """Return how ``python -m module`` was called, to be kept with its results; ``argv`` is what ``main`` was given."""
    return shlex.join(["python", "-m", module, *map(str, sys.argv[1:] if argv is None else argv)])


def add_dataclass_arguments(parser: argparse.ArgumentParser, config: type) -> None:
    """Add one ``--flag`` for each field of the dataclass ``config``.

    A field's default, ``metadata`` (``help``, ``choices``, ``alias``) say all there is to say, so that each
    default lives once. ``bool`` fields become ``--flag / --no-flag``, ``X | None`` fields optional values of type X.
    """
    hints = typing.get_type_hints(config)
    for field in dataclasses.fields(config):
        flag = "--" + field.name.replace("_", "-")
        options = {"default": field.default, "help": field.metadata["help"]}
        kinds = [kind for kind in typing.get_args(hints[field.name]) or (hints[field.name],) if kind is not type(None)]
        if kinds[0] is bool:
            options["action"] = argparse.BooleanOptionalAction
        else:
            options["type"] = kinds[0]
            choices = field.metadata.get("choices")  # the dataclass refuses others: check_choices
            options["metavar"] = (
                f"{{{','.join(map(str, choices))}}}"
                if choices
                else field.metadata.get("metavar", {int: "N", float: "X"}.get(kinds[0], "S"))
            )
        parser.add_argument(flag, *filter(None, [field.metadata.get("alias")]), dest=field.name, **options)


def check_choices(settings) -> None:
    """Raise :class:`JPQError` if a field of the dataclass has a value that is neither its default nor a choice."""
    for field in dataclasses.fields(settings):
        choices, value = field.metadata.get("choices"), getattr(settings, field.name)
        if choices and value != field.default and value not in choices:
            flag = "--" + field.name.replace("_", "-")
            raise JPQError(f"{flag} {value} is unknown: choose one of {', '.join(map(str, choices))}")


def dataclass_from_arguments(config: type, args: argparse.Namespace):
    """Build the dataclass that :func:`add_dataclass_arguments` described from the parsed ``args``."""
    return config(**{field.name: getattr(args, field.name) for field in dataclasses.fields(config)})
