"""``python -m jpq_pyserini.index``: look at index directories, and make new ones."""

from collections.abc import Sequence

from jpq_pyserini.cli import new_parser, run_main
from jpq_pyserini.index.arguments import add_commands


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line and run the sub-command."""
    parser = new_parser("jpq_pyserini.index", "Look at a JPQ index directory, and make new ones from it.")
    add_commands(parser.add_subparsers(required=True, metavar="COMMAND"))
    args = parser.parse_args(argv)
    args.run(args)


if __name__ == "__main__":
    run_main(main)
