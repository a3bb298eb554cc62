"""``python -m jpq_pyserini.index``: one sub-command a module; each has ``add_parser`` and ``run``."""

import argparse
from collections.abc import Sequence

from jpq_pyserini.cli import run_main
from jpq_pyserini.index import add, build, convert, describe, merge
from jpq_pyserini.index.release import command as release

_COMMANDS = (describe, add, merge, build, convert, release)


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line and run the sub-command."""
    parser = argparse.ArgumentParser(
        prog="python -m jpq_pyserini.index", description="Look at a JPQ index directory, and make new ones from it."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in _COMMANDS:
        command.add_parser(commands).set_defaults(run=command.run)
    args = parser.parse_args(argv)
    args.run(args)


if __name__ == "__main__":
    run_main(main)
