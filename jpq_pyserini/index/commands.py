"""The sub-commands of ``python -m jpq_pyserini.index``: each is a function that takes the parsed arguments.

Each opens and verifies what it reads, and holds the lock of its output from then until the output has its name.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from jpq_pyserini import cli
from jpq_pyserini.codec.neighbours import neighbourhood_of
from jpq_pyserini.data.flat import FlatFolder
from jpq_pyserini.errors import JPQError
from jpq_pyserini.index.attached import growing_dtype
from jpq_pyserini.index.coding import BATCH_SIZE, Source
from jpq_pyserini.index.collection import JPQIndex
from jpq_pyserini.index.description import as_text
from jpq_pyserini.index.directory import query_encoder_copier
from jpq_pyserini.index.embedding import embed_corpus
from jpq_pyserini.index.layouts import LAYOUTS
from jpq_pyserini.index.record import IndexRecord, check_verified, encoder_settings, query_encoder_path
from jpq_pyserini.index.release import command as release
from jpq_pyserini.index.shards import refuse_repeated
from jpq_pyserini.index.vectors import DEFAULT_DTYPE, DTYPES
from jpq_pyserini.names import QUERY_ENCODER, VECTORS
from jpq_pyserini.storage import locked, refuse_existing

_BACKENDS = ("torch", "onnx", "onnx-int8", "openvino")

_ADD = """\
The document encoder recorded in jpq.json encodes the new documents. They are assigned to the same centroids as the
first documents were, and scored with the trained ones; nobody else's code changes. A docid that is in the index already
is refused.

example:
  python -m jpq_pyserini.index add --index jpq48 --corpus more.jsonl --output jpq48-more
"""
_MERGE = """\
The indexes must have the same codec, query encoder and layout, and no docid in common. Documents keep their order.

example:
  python -m jpq_pyserini.index merge --indexes shard0 shard1 shard2 --output whole
"""
_BUILD = """\
Nothing is trained: documents are encoded and coded as those of the trained index were, and searched with its query
encoder. A collection too large for one machine can be built in shards and merged. (With --neighbours, codes depend on
the other documents, so shards get slightly different codes than one index built in one go.)

example:
  python -m jpq_pyserini.index build --like jpq48 --corpus scifact.jsonl --output scifact48
"""
_CONVERT = """\
layouts:
  pq            every document scored in float32; 4 or 8 bits (the paper's index)
  fastscan      every document, some ten times faster; 4 bits
  ivf           the documents of the nprobe nearest inverted lists; 4 or 8 bits
  ivf-fastscan  both; 4 bits

example:
  python -m jpq_pyserini.index convert --index jpq96x4 --layout fastscan --output jpq96x4-fast
"""
_VECTORS = """\
With its document vectors on disk an index is searched in two stages: the codes, in memory, propose candidates, whose
vectors are read and rank them. Pyserini's commands do so with --encoder jpq. The environment variable JPQ_RESCORE sets
the number of candidates; 0 searches the codes alone.

example:
  python -m jpq_pyserini.index vectors --index jpq48 --embeddings flat
"""
_EMBED = """\
The folder can be searched by Pyserini, and trained from: python -m jpq_pyserini.train --embeddings FLAT. It records the
encoder and the passage length, which training then takes from it. A stopped command continues with --resume.

example:
  python -m jpq_pyserini.index embed --corpus passages.jsonl --encoder sentence-transformers/all-MiniLM-L6-v2 \\
    --output flat
"""


def add_commands(commands) -> None:
    """Add all sub-commands to what ``add_subparsers`` returned."""
    for build in (
        _describe_parser,
        _embed_parser,
        _add_parser,
        _merge_parser,
        _build_parser,
        _convert_parser,
        _vectors_parser,
    ):
        build(commands)
    release.add_parser(commands).set_defaults(run=release.run)


def _describe_parser(commands) -> None:
    parser = cli.add_command(commands, "describe", "show what an index directory holds")
    cli.add_index(parser)
    parser.add_argument("--verify", action="store_true", help="compare every file with its recorded SHA-256")
    parser.add_argument("--json", action="store_true", help="print the whole record as JSON")
    parser.set_defaults(run=describe)


def describe(args: argparse.Namespace) -> None:
    """Print what the record says."""
    record = IndexRecord.read(args.index)
    if args.verify:
        check_verified(args.index)
    cli.say(json.dumps(dataclasses.asdict(record), indent=2) if args.json else as_text(Path(args.index), record))


def _embed_parser(commands) -> None:
    parser = cli.add_command(commands, "embed", "encode a corpus into a flat Faiss folder", epilog=_EMBED)
    add = parser.add_argument
    cli.add_corpus(parser, "passages")
    add("--encoder", required=True, metavar="NAME", help="passage encoder: Hugging Face or sentence-transformers model")
    cli.add_output(parser, "flat Faiss folder to write (index, docid); must not exist", "FLAT")
    add("--pooling", choices=("cls", "mean"), help="pooling, for a plain Hugging Face model")
    add("--l2-norm", "--l2-normalise", "--l2-normalize", action="store_true", help="normalise the embeddings")
    add(
        "--max-length",
        type=cli.bounded(int, 1),
        metavar="N",
        help="maximum passage length in tokens (default: the model's)",
    )
    add("--prefix", metavar="TEXT", help="text put before every passage, with a space (default: the model's prompt)")
    add("--encoder-backend", choices=_BACKENDS, default="torch", help="what runs the encoder; onnx needs the CPU")
    cli.add_batch_size(parser, BATCH_SIZE)
    cli.add_device(parser)
    cli.add_resume(parser)
    parser.set_defaults(run=embed)


def embed(args: argparse.Namespace) -> None:
    """Encode a corpus into a flat folder."""
    flat = embed_corpus(
        args.corpus,
        args.encoder,
        args.output,
        pooling=args.pooling,
        l2_norm=args.l2_norm,
        max_length=args.max_length,
        prefix=args.prefix,
        backend=args.encoder_backend,
        batch_size=args.batch_size,
        device=args.device,
        resume=args.resume,
    )
    N, D = flat.embeddings.shape
    cli.say(f"{args.output}: {N:,} embeddings of dimension {D}")


def _add_source(parser) -> None:
    given = parser.add_mutually_exclusive_group(required=True)
    cli.add_corpus(given, "documents, to be encoded", required=False)
    cli.add_embeddings(given, "embeddings of the documents by the recorded encoder", required=False)
    words = "load the document encoder from here instead of the recorded name or path (must be the same model)"
    parser.add_argument("--encoder", metavar="NAME", help=words)
    cli.add_device(parser, what="with --corpus: torch device of the encoder")
    words = f"with --corpus: documents encoded at once (default: {BATCH_SIZE})"
    parser.add_argument("--batch-size", type=int, metavar="N", help=words)
    cli.add_resume(parser, "with --corpus: continue from what a stopped command left, if there is anything")


def _source(args: argparse.Namespace) -> Source:
    names = ("corpus", "embeddings", "encoder", "device", "batch_size", "resume")
    return Source(**{name: getattr(args, name) for name in names})


def _add_parser(commands) -> None:
    parser = cli.add_command(commands, "add", "add documents to an index directory", epilog=_ADD)
    cli.add_index(parser)
    _add_source(parser)
    target = parser.add_mutually_exclusive_group(required=True)
    cli.add_new_directory(target, required=False)
    target.add_argument("--in-place", action="store_true", help="replace DIR atomically when the new index is complete")
    parser.set_defaults(run=add)


def add(args: argparse.Namespace) -> None:
    """Code new documents and append them."""
    output = args.index if args.in_place else args.output
    with locked(output) if args.in_place else _new(output):
        index, source = JPQIndex.open(args.index, verify=True), _source(args)
        refuse_repeated((args.index, index.docids), (source.name, source.docids))  # before the slow part
        dtype = None if index.vectors is None else growing_dtype(index.vectors)
        codes = source.codes(index, output, neighbourhood_of(index.codec, index.codes), _bars(args), dtype)
        more: dict[str, Any] = {"source": source.name, "progress": _bars(), "vectors": source.vectors}
        grown = index.add_codes(codes, source.docids, **more)
        copier = None if args.in_place else query_encoder_copier(args.index)
        grown.save(output, copier, replace_existing=args.in_place)
        source.forget()
    cli.say(f"{output}: {len(grown):,} documents, {len(source.docids):,} of them new")


def _merge_parser(commands) -> None:
    parser = cli.add_command(commands, "merge", "merge index directories that share a codec", epilog=_MERGE)
    parser.add_argument("--indexes", required=True, nargs="+", metavar="DIR", help="JPQ index directories, in order")
    cli.add_new_directory(parser)
    parser.set_defaults(run=merge)


def merge(args: argparse.Namespace) -> None:
    """Join shards; codes are copied as they are."""
    with _new(args.output):
        parts = [JPQIndex.open(path, verify=True) for path in args.indexes]
        merged = JPQIndex.merge(parts, progress=_bars())
        merged.save(args.output, query_encoder_copier(args.indexes[0]))
    cli.say(f"{args.output}: {len(merged):,} documents of {len(args.indexes)} indexes")


def _build_parser(commands) -> None:
    summary = "index another collection with the codec and encoders of a trained index (zero-shot)"
    parser = cli.add_command(commands, "build", summary, epilog=_BUILD)
    cli.add_index(parser, "trained JPQ index directory", "--like")
    _add_source(parser)
    cli.add_new_directory(parser)
    words = "store the document vectors, for two-stage search (default: as the trained index does)"
    parser.add_argument("--vectors", choices=("none", *DTYPES), help=words)
    parser.set_defaults(run=build)


def build(args: argparse.Namespace) -> None:
    """Code another collection with a trained codec."""
    with _new(args.output):
        like, source = JPQIndex.open(args.like, verify=True), _source(args)
        refuse_repeated((source.name, source.docids))
        dtype = args.vectors or ("none" if like.vectors is None else growing_dtype(like.vectors))
        codes = source.codes(like, args.output, progress=_bars(args), vectors=None if dtype == "none" else dtype)
        more: dict[str, Any] = {"source": source.name, "progress": _bars(), "vectors": source.vectors}
        built = like.zero_shot(codes, source.docids, **more)
        built.save(args.output, query_encoder_copier(args.like))
        source.forget()
    cli.say(f"{args.output}: {len(built):,} documents, codec and encoders of {args.like}")


def _convert_parser(commands) -> None:
    parser = cli.add_command(commands, "convert", "write an index directory in another layout", epilog=_CONVERT)
    add = parser.add_argument
    cli.add_index(parser)
    add("--layout", choices=LAYOUTS, help="layout to write (default: the one it has)")
    cli.add_new_directory(parser)
    add("--nlist", type=cli.bounded(int, 1), metavar="N", help="ivf: number of inverted lists (default: 4·√documents)")
    add(
        "--nprobe",
        type=cli.bounded(int, 1),
        metavar="N",
        help="ivf: lists a query visits, stored in the index (default: a 16th)",
    )
    cli.add_embeddings(parser, "ivf: embeddings to cluster instead of decoded documents", required=False)
    cli.add_seed(parser, "ivf: random seed of the clustering")
    words = "export the query encoder for this backend, which then becomes the index's own (default: unchanged)"
    add("--encoder-backend", choices=_BACKENDS, help=words)
    parser.set_defaults(run=convert)


def convert(args: argparse.Namespace) -> None:
    """Write the same codes in another layout; the query encoder is copied, or exported."""
    with _new(args.output):
        index = JPQIndex.open(args.index, verify=True)
        converted = index.convert(
            args.layout or index.record.layout,
            nlist=args.nlist,
            nprobe=args.nprobe,
            embeddings=FlatFolder.open(args.embeddings).embeddings if args.embeddings else None,
            seed=args.seed,
            progress=_bars(),
        )
        path = converted.save(args.output, _exporter(args.index, args.encoder_backend))
    cli.say(f"{path}: {len(converted):,} documents, layout {converted.record.layout}")


def _vectors_parser(commands) -> None:
    parser = cli.add_command(commands, "vectors", "store document vectors for two-stage search", epilog=_VECTORS)
    cli.add_index(parser)
    given = parser.add_mutually_exclusive_group(required=True)
    cli.add_embeddings(given, "embeddings that the index was made from, in any order", required=False)
    cli.add_corpus(given, "documents, encoded again with the recorded encoder", required=False)
    given.add_argument("--remove", action="store_true", help="remove the vectors from the index")
    add = parser.add_argument
    add("--dtype", choices=DTYPES, default=DEFAULT_DTYPE, help=f"type of number on disk (default: {DEFAULT_DTYPE})")
    add("--refer", action="store_true", help="with --embeddings: do not copy; the folder has to stay where it is")
    words = "candidates per query, stored in the index; 0 is off (default: chosen from the number of hits)"
    add("--rescore", type=cli.bounded(int, 0), metavar="N", help=words)
    add("--encoder", metavar="NAME", help="with --corpus: load the document encoder from here")
    cli.add_device(parser, what="with --corpus: torch device of the encoder")
    cli.add_batch_size(parser, BATCH_SIZE)
    cli.add_resume(parser, "with --corpus: continue from what a stopped command left, if there is anything")
    parser.set_defaults(run=vectors)


def vectors(args: argparse.Namespace) -> None:
    """Give an index its documents' vectors, or take them away; the directory is replaced when it is complete."""
    if args.refer and not args.embeddings:
        raise JPQError("--refer goes with --embeddings: leave it out")
    with locked(args.index):
        check_verified(args.index, but=VECTORS)
        index = JPQIndex.open(args.index, vectors=False)
        flat = encoded = None
        if args.corpus:
            encoded = f"{os.fspath(args.index).rstrip(os.sep)}.vectors"
            settings = encoder_settings(args.index, args.encoder)
            made_so = {"prefix": settings["passage_prefix"]}
            made_so |= {name: settings[name] for name in ("pooling", "l2_norm", "max_length")}
            how = {"device": args.device, "batch_size": args.batch_size, "resume": args.resume}
            flat = embed_corpus(args.corpus, settings["name_or_path"], encoded, **made_so, **how)
        elif args.embeddings:
            flat = FlatFolder.open(args.embeddings)
        if flat is not None:
            index.attach(flat, dtype=args.dtype, refer=args.refer)
        index.record = dataclasses.replace(index.record, rescore=args.rescore)
        index.save(args.index, replace_existing=True)
        if encoded is not None:
            shutil.rmtree(encoded)
    kept = IndexRecord.read(args.index).vectors
    where = f"{kept['dtype']} vectors{' in ' + kept['flat'] if 'flat' in kept else ''}" if kept else "no vectors"
    cli.say(f"{args.index}: {len(index):,} documents, {where}")


def _exporter(directory: str, backend: str | None) -> Callable[[Path], object] | None:
    """Return what copies the query encoder's folder and exports it for ``backend``, if one is named."""
    if backend is None:
        return query_encoder_copier(directory)
    from jpq_pyserini.encoders import backends
    from jpq_pyserini.encoders.text_encoder import load_text_encoder

    model = load_text_encoder(str(query_encoder_path(directory)))

    def copy(folder: Path) -> None:
        shutil.copytree(Path(directory) / QUERY_ENCODER, folder)
        backends.export(model, folder, backend)

    return copy


@contextlib.contextmanager
def _new(output: str | os.PathLike) -> Iterator[None]:
    """Hold the lock of an output that must not exist yet."""
    with locked(output):
        refuse_existing(output)
        yield


def _bars(args: argparse.Namespace | None = None) -> bool:
    """Tell whether to show progress bars: on a terminal, and always while texts are encoded."""
    return sys.stderr.isatty() or bool(args and args.corpus)
