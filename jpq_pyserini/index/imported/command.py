"""``index import``: what others trained becomes an index directory."""

import argparse
import os
from pathlib import Path

from jpq_pyserini.cli import add_command, add_new_directory, flag_of, positive_int, say
from jpq_pyserini.errors import JPQError

_DESCRIPTION = """\
Write an index directory from files that the authors of JPQ published (https://github.com/jingtaozhan/JPQ). With
--index: their codes and centroids, and a query encoder. Without: zero-shot, --collection is encoded with
--document-encoder. Or, with --index FOLDER, from an index that PyTerrier's JPQ (pyterrier_dr.jpq) wrote.
"""
_EXAMPLES = """\
their index of MS MARCO passages:
  jpq index import --index OPQ96,IVF1,PQ96x8.index --encoder m96 --output jpq96

another collection, encoded with their dual encoder:
  jpq index import --encoder m96/m96.marcopass.query.encoder \\
      --document-encoder m96/m96.marcopass.doc.encoder --collection corpus.jsonl --output zero-shot

an index of PyTerrier's JPQ, with the query encoder that was saved beside it:
  jpq index import --index e5_jpq --encoder e5_jpq_encoder --query-prefix "query: " --output e5-jpq
"""


def add_parser(commands) -> argparse.ArgumentParser:
    """Add the sub-command to ``commands`` (what ``add_subparsers`` returned); returns its parser."""
    summary = "make an index directory from the JPQ authors' release, or from PyTerrier's JPQ"
    parser = add_command(commands, "import", summary, _DESCRIPTION, _EXAMPLES)
    parser.add_argument(
        "--index",
        metavar="PATH",
        help="OPQ{M},IVF1,PQ{M}x8.index, or PyTerrier's folder; without it the collection is encoded",
    )
    parser.add_argument(
        "--encoder",
        required=True,
        metavar="DIR",
        help="query encoder's folder (config.json, pytorch_model.bin; PyTerrier's: a sentence-transformers model)",
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
    parser.add_argument("--query-prefix", metavar="S", help="PyTerrier's: text put before every query")
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


def _import_pyterrier(args: argparse.Namespace) -> Path:
    from jpq_pyserini.index.imported.pyterrier import import_pyterrier

    for name in ("document_encoder", "collection", "tokenizer"):
        if getattr(args, name) is not None:
            raise JPQError(
                f"{flag_of(name)} does not go with --index FOLDER, an index of PyTerrier's JPQ: leave it out"
            )
    return import_pyterrier(
        args.index,
        args.encoder,
        args.output,
        docids=args.docids,
        query_prefix=args.query_prefix,
        max_query_length=args.max_query_length,
    )


def run(args: argparse.Namespace) -> None:
    """Import the files and print the directory."""
    if args.index is not None and os.path.isdir(args.index):
        say(_import_pyterrier(args))
        return
    if args.query_prefix is not None:
        raise JPQError("--query-prefix goes with --index FOLDER: the authors' encoders take none")
    from jpq_pyserini.index.imported.convert import import_release

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
