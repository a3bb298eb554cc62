"""``index import``: files of the authors' release become an index directory."""

import argparse

from jpq_pyserini.cli import add_command, add_new_directory, positive_int, say

_DESCRIPTION = """\
Write an index directory from files that the authors of JPQ published (https://github.com/jingtaozhan/JPQ). With
--index: their codes and centroids, and a query encoder. Without: zero-shot, --collection is encoded with
--document-encoder.
"""
_EXAMPLES = """\
their index of MS MARCO passages:
  jpq index import --index OPQ96,IVF1,PQ96x8.index --encoder m96 --output jpq96

another collection, encoded with their dual encoder:
  jpq index import --encoder m96/m96.marcopass.query.encoder \\
      --document-encoder m96/m96.marcopass.doc.encoder --collection corpus.jsonl --output zero-shot
"""


def add_parser(commands) -> argparse.ArgumentParser:
    """Add the sub-command to ``commands`` (what ``add_subparsers`` returned); returns its parser."""
    summary = "make an index directory from files of the JPQ authors' release"
    parser = add_command(commands, "import", summary, _DESCRIPTION, _EXAMPLES)
    parser.add_argument(
        "--index", metavar="FILE", help="OPQ{M},IVF1,PQ{M}x8.index; without it the collection is encoded"
    )
    parser.add_argument(
        "--encoder", required=True, metavar="DIR", help="query encoder's folder (config.json, pytorch_model.bin)"
    )
    parser.add_argument(
        "--document-encoder",
        metavar="DIR",
        help="document encoder's folder: needed without --index, and to add documents later",
    )
    add_new_directory(parser)
    parser.add_argument(
        "--max-query-length",
        type=positive_int,
        metavar="N",
        help="maximum query length in tokens (default: 32, or 512 without --index)",
    )
    add_release_arguments(parser)
    return parser


def add_release_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what ``prebuilt fetch`` needs as well, since it imports the release's files that it downloads."""
    ids = parser.add_mutually_exclusive_group()
    ids.add_argument("--docids", metavar="FILE", help="docids, one a line, in row order (default: the row numbers)")
    ids.add_argument(
        "--collection", metavar="FILE", help="collection.tsv or msmarco-docs.tsv, whose first column holds the docids"
    )
    parser.add_argument(
        "--tokenizer", metavar="NAME|DIR", help="RoBERTa tokenizer of the release's encoders (default: roberta-base)"
    )
    parser.add_argument("--quiet", action="store_true", help="show no progress bars")


def run(args: argparse.Namespace) -> None:
    """Import the files and print the directory."""
    from jpq_pyserini.index.release.convert import import_release

    directory = import_release(
        args.encoder,
        args.output,
        index=args.index,
        docids=args.docids,
        collection=args.collection,
        document_encoder=args.document_encoder,
        tokenizer=args.tokenizer,
        max_query_length=args.max_query_length,
        progress=not args.quiet,
    )
    say(directory)
