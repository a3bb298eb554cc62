"""``index add``: new documents behind those of an index; nobody else's codes change."""

import argparse
import sys

from jpq_pyserini.codec.neighbours import neighbourhood_of
from jpq_pyserini.index import grow
from jpq_pyserini.index.collection import JPQIndex
from jpq_pyserini.index.sources import Source, add_source_arguments, encoder_copier
from jpq_pyserini.storage import locked, refuse_existing

_EPILOG = """\
The new documents are encoded by the encoder recorded in jpq.json, assigned to the centroids that the first documents
were assigned to, and scored with the trained ones. A docid that is there already is refused. The new directory appears
whole or not at all; with --in-place it then takes the old one's place in one step.

example:
  python -m jpq_pyserini.index add --index jpq48 --corpus more.jsonl --output jpq48-more
"""


def add_parser(commands) -> argparse.ArgumentParser:
    """Add the sub-command to ``commands`` (what ``add_subparsers`` returned); returns its parser."""
    parser = commands.add_parser(
        "add",
        help="add documents",
        description="Add documents to an index directory.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--index", required=True, metavar="DIR", help="JPQ index directory")
    add_source_arguments(parser)
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("--output", metavar="NEW", help="directory to write; must not exist")
    target.add_argument("--in-place", action="store_true", help="write beside DIR, then take its place")
    return parser


def run(args: argparse.Namespace) -> None:
    """Open, code, add, save."""
    output = args.index if args.in_place else args.output
    with locked(output):
        if not args.in_place:
            refuse_existing(output)
        _add(args, output)


def _add(args: argparse.Namespace, output: str) -> None:
    index, source = JPQIndex.open(args.index, verify=True), Source(args)
    grow.refuse_repeated((args.index, index.docids), (source.name, source.docids))  # before the slow part
    codes = source.codes(index, output, neighbourhood_of(index.codec, index.codes))
    grown = index.add_codes(codes, source.docids, source=source.name, progress=sys.stderr.isatty())
    grown.save(output, None if args.in_place else encoder_copier(args.index), replace_existing=args.in_place)
    source.forget()
    print(f"{output}: {len(grown):,} documents, {len(source.docids):,} of them new")
