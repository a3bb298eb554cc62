"""``index build --like``: codec and encoders of a trained index applied to another collection (zero-shot)."""

import argparse
import sys
from collections.abc import Sequence

from jpq_pyserini.index import grow
from jpq_pyserini.index.coding import codec_digest
from jpq_pyserini.index.collection import JPQIndex
from jpq_pyserini.index.record import event
from jpq_pyserini.index.sources import Source, add_source_arguments, encoder_copier
from jpq_pyserini.storage import locked, refuse_existing

_EPILOG = """\
Nothing is trained: documents are encoded and coded as those of DIR were, and searched with its query encoder. Run it
once a part of a collection that is too large for one machine, and join the parts with merge. (If DIR was trained with
--neighbours, codes depend on what they are coded with: the parts find other neighbours than the whole would.)

example:
  python -m jpq_pyserini.index build --like jpq48 --corpus scifact.jsonl --output scifact48
"""


def add_parser(commands) -> argparse.ArgumentParser:
    """Add the sub-command to ``commands`` (what ``add_subparsers`` returned); returns its parser."""
    parser = commands.add_parser(
        "build",
        help="index another collection with the codec and encoders of an index",
        description="Index another collection with the codec and encoders of a trained index.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--like", required=True, metavar="DIR", help="JPQ index directory")
    add_source_arguments(parser)
    parser.add_argument("--output", required=True, metavar="NEW", help="directory to write; must not exist")
    return parser


def run(args: argparse.Namespace) -> None:
    """Open, code, save with the encoder of the other index."""
    with locked(args.output):
        refuse_existing(args.output)
        like, source = JPQIndex.open(args.like, verify=True), Source(args)
        grow.refuse_repeated((source.name, source.docids))
        codes = source.codes(like, args.output)
        built = zero_shot(like, codes, source.docids, source=source.name, progress=sys.stderr.isatty())
        built.save(args.output, encoder_copier(args.like))
        source.forget()
        print(f"{args.output}: {len(built):,} documents, codec and encoders of {args.like}")


def zero_shot(like: JPQIndex, codes, docids: Sequence[str], *, source: str | None = None, progress: bool = False):
    """Return the :class:`JPQIndex` of other documents by the codec of ``like``, in its layout.

    Args:
        like: the trained index; inverted lists, if it has some, are made anew for the documents.
        codes: (n, M) uint8 by ``like.codec``.
        docids: n external ids.
        source: where the documents come from, for ``jpq.json``.
        progress: show a bar while documents are assigned to inverted lists.
    """
    grow.check_codes(codes, docids, like.codec)
    origin = {
        "index": like.name,
        "documents": len(like),
        "assignment_sha256": codec_digest(like.codec),
        "training": like.record.training,
    }
    built = JPQIndex(
        like.codec,
        codes,
        docids,
        encoder=like.record.encoder,
        training={"zero_shot_of": origin},
        history=[event("build", documents=len(docids), source=source)],
    )
    return built if like.record.layout == "pq" else built.convert(like.record.layout, progress=progress)
