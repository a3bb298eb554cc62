"""``index convert``: the same collection in another layout; codes stay, so embeddings are not needed."""

import argparse
import shutil
import sys
from pathlib import Path

from jpq_pyserini.data.flat import FlatFolder
from jpq_pyserini.index import grow
from jpq_pyserini.index.collection import JPQIndex
from jpq_pyserini.index.layouts import LAYOUTS
from jpq_pyserini.index.record import query_encoder_path
from jpq_pyserini.names import QUERY_ENCODER
from jpq_pyserini.storage import locked, refuse_existing

_EPILOG = """\
layouts:
  pq            every document scored in float32; 4 or 8 bits (the paper's index)
  fastscan      every document, some ten times faster; 4 bits
  ivf           the documents of the nprobe nearest lists; 4 or 8 bits
  ivf-fastscan  both; 4 bits

example:
  python -m jpq_pyserini.index convert --index jpq96x4 --layout fastscan --output jpq96x4-fast
"""


def add_parser(commands) -> argparse.ArgumentParser:
    """Add the sub-command to ``commands`` (what ``add_subparsers`` returned); returns its parser."""
    parser = commands.add_parser(
        "convert",
        help="write the collection in another layout",
        description="Write the collection of an index directory in another layout.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--index", required=True, metavar="DIR", help="JPQ index directory")
    add("--layout", choices=LAYOUTS, help="layout to write (default: the one it has)")
    add("--output", required=True, metavar="NEW", help="directory to write; must not exist")
    add("--nlist", type=int, metavar="N", help="ivf: number of lists (default: 4·√documents)")
    add("--nprobe", type=int, metavar="N", help="ivf: lists a query visits, kept in the index (default: a 16th)")
    add("--embeddings", metavar="FLAT", help="ivf: flat folder to cluster instead of decoded documents")
    add("--seed", type=int, default=42, metavar="N", help="ivf: seed of the clustering (default: 42)")
    add(
        "--encoder-backend",
        choices=("torch", "onnx", "onnx-int8", "openvino"),
        help="export the query encoder for this backend and make it the index's own (default: as it is)",
    )
    return parser


def run(args: argparse.Namespace) -> None:
    """Open, convert, save; the query encoder is copied."""
    with locked(args.output):
        refuse_existing(args.output)
        index = JPQIndex.open(args.index, verify=True)
        converted = index.convert(
            args.layout or index.record.layout,
            nlist=args.nlist,
            nprobe=args.nprobe,
            embeddings=FlatFolder.open(args.embeddings).embeddings if args.embeddings else None,
            seed=args.seed,
            progress=sys.stderr.isatty(),
        )
        path = converted.save(args.output, _encoder_copier(args))
        print(f"{path}: {len(converted):,} documents, layout {converted.record.layout}")


def _encoder_copier(args: argparse.Namespace):
    """Return what copies the query encoder's folder to where it is told, exporting it if asked; None without one."""
    source = Path(args.index) / QUERY_ENCODER
    if args.encoder_backend is None:
        return grow.copy_query_encoder(Path(args.index))
    from jpq_pyserini.encoders import backends
    from jpq_pyserini.encoders.text_encoder import load_text_encoder

    model = load_text_encoder(str(query_encoder_path(args.index)))

    def copy(folder: Path) -> None:
        shutil.copytree(source, folder)
        backends.export(model, folder, args.encoder_backend)

    return copy
