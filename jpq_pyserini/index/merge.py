"""``index merge``: shards of one codec joined; their codes are copied as they are."""

import argparse
import sys

from jpq_pyserini.index.collection import JPQIndex
from jpq_pyserini.index.sources import encoder_copier
from jpq_pyserini.storage import locked, refuse_existing

_EPILOG = """\
The indexes must have the same codec, query encoder and layout, and no docid in common. Documents keep their order.

example:
  python -m jpq_pyserini.index merge --indexes shard0 shard1 shard2 --output whole
"""


def add_parser(commands) -> argparse.ArgumentParser:
    """Add the sub-command to ``commands`` (what ``add_subparsers`` returned); returns its parser."""
    parser = commands.add_parser(
        "merge",
        help="join indexes of one codec",
        description="Join index directories of one codec without decompressing.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--indexes", required=True, nargs="+", metavar="DIR", help="JPQ index directories, in order")
    parser.add_argument("--output", required=True, metavar="NEW", help="directory to write; must not exist")
    return parser


def run(args: argparse.Namespace) -> None:
    """Open, merge, save; the query encoder is copied from the first."""
    with locked(args.output):
        refuse_existing(args.output)
        merged = JPQIndex.merge(
            [JPQIndex.open(path, verify=True) for path in args.indexes], progress=sys.stderr.isatty()
        )
        merged.save(args.output, encoder_copier(args.indexes[0]))
        print(f"{args.output}: {len(merged):,} documents of {len(args.indexes)} indexes")
