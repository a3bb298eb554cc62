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
from jpq_pyserini.data.embeddings import open_embeddings
from jpq_pyserini.data.flat import Embeddings, FlatFolder
from jpq_pyserini.errors import JPQError
from jpq_pyserini.index.attached import growing_dtype
from jpq_pyserini.index.collection import JPQIndex
from jpq_pyserini.index.description import as_text
from jpq_pyserini.index.directory import query_encoder_copier
from jpq_pyserini.index.embedding import embed_corpus
from jpq_pyserini.index.record import IndexRecord, check_record, check_verified, encoder_settings, query_encoder_path
from jpq_pyserini.index.sharded import write_shards
from jpq_pyserini.index.shards import refuse_repeated
from jpq_pyserini.index.sources import Source
from jpq_pyserini.index.vectors import DEFAULT_DTYPE
from jpq_pyserini.names import QUERY_ENCODER, VECTORS
from jpq_pyserini.storage import locked, refuse_existing


def describe(args: argparse.Namespace) -> None:
    """Print what the record says."""
    record = IndexRecord.read(args.index)
    check_record(args.index)
    if args.verify:
        check_verified(args.index)
    cli.say(json.dumps(dataclasses.asdict(record), indent=2) if args.json else as_text(Path(args.index), record))


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
        truncate_dim=args.truncate_dim,
        backend=args.encoder_backend,
        batch_size=args.batch_size,
        device=args.device,
        resume=args.resume,
        shard=_shard(args),
        id_field=args.id_field,
        text_fields=args.text_fields,
    )
    N, D = flat.embeddings.shape
    cli.say(f"{args.output}: {N:,} embeddings of dimension {D}")


def _source(args: argparse.Namespace) -> Source:
    names = ("corpus", "embeddings", "encoder", "device", "batch_size", "resume", "docids", "id_field", "text_fields")
    return Source(**{name: getattr(args, name) for name in names}, shard=_shard(args), backend=args.encoder_backend)


def _shard(args: argparse.Namespace) -> tuple[int, int] | None:
    """Return --shard-id and --shard-num, where a command has them and they were given."""
    shard, shards = getattr(args, "shard_id", None), getattr(args, "shard_num", None)
    if (shard is None) != (shards is None):
        raise JPQError("--shard-id and --shard-num go together: give both, or leave both out")
    return None if shard is None or shards is None else (shard, shards)


def add(args: argparse.Namespace) -> None:
    """Code new documents and append them."""
    output = args.index if args.in_place else args.output
    with locked(output) if args.in_place else _new(output):
        index, source = JPQIndex.open(args.index, verify=True), _source(args)
        refuse_repeated((args.index, index.docids), (source.name, source.docids))  # before the slow part
        dtype = None if index.vectors is None else growing_dtype(index.vectors)
        codes = source.codes(index, output, neighbourhood_of(index.codec, index.codes, _bars(args)), _bars(args), dtype)
        more: dict[str, Any] = {"source": source.name, "progress": _bars(), "vectors": source.vectors}
        grown = index.add_codes(codes, source.docids, **more)
        copier = None if args.in_place else query_encoder_copier(args.index)
        grown.save(output, copier, replace_existing=args.in_place)
        source.forget()
    cli.say(f"{output}: {len(grown):,} documents, {len(source.docids):,} of them new")


def merge(args: argparse.Namespace) -> None:
    """Join shards; codes are copied as they are."""
    with _new(args.output):
        parts = [JPQIndex.open(path, verify=True) for path in args.indexes]
        merged = JPQIndex.merge(parts, progress=_bars())
        merged.save(args.output, query_encoder_copier(args.indexes[0]))
    cli.say(f"{args.output}: {len(merged):,} documents of {len(args.indexes)} indexes")


def shards(args: argparse.Namespace) -> None:
    """Write what names shards."""
    with _new(args.output):
        documents = write_shards(args.indexes, args.output)
    cli.say(f"{args.output}: {documents:,} documents in {len(args.indexes)} shards, searched as one")


def build(args: argparse.Namespace) -> None:
    """Code another collection with a trained codec."""
    with _new(args.output):
        like, source = JPQIndex.open(args.like, verify=True), _source(args)
        refuse_repeated((source.name, source.docids))
        dtype = args.vectors or ("none" if like.vectors is None else growing_dtype(like.vectors))
        codes = source.codes(like, args.output, progress=_bars(args), vectors=None if dtype == "none" else dtype)
        more: dict[str, Any] = {"source": source.name, "progress": _bars(), "vectors": source.vectors}
        built = like.zero_shot(codes, source.docids, **more, shard=source.shard)
        built.save(args.output, query_encoder_copier(args.like))
        source.forget()
    cli.say(f"{args.output}: {len(built):,} documents, codec and encoders of {args.like}")


def convert(args: argparse.Namespace) -> None:
    """Write the same codes in another layout; the query encoder is copied, or exported."""
    with _new(args.output):
        index = JPQIndex.open(args.index, verify=True)
        converted = index.convert(
            args.layout or index.record.layout,
            nlist=args.nlist,
            nprobe=args.nprobe,
            embeddings=open_embeddings(args.embeddings, args.docids).embeddings if args.embeddings else None,
            seed=args.seed,
            progress=_bars(),
        )
        path = converted.save(args.output, _exporter(args.index, args.encoder_backend))
    cli.say(f"{path}: {len(converted):,} documents, layout {converted.record.layout}")


def vectors(args: argparse.Namespace) -> None:
    """Give an index its documents' vectors, take them away, or set the number of candidates, in its place."""
    new = bool(args.embeddings or args.corpus)
    kept_as_they_are = not (new or args.remove)  # only the number of candidates changes
    if args.refer and not args.embeddings:
        raise JPQError("--refer goes with --embeddings: leave it out")
    if args.dtype and (args.refer or not new):
        raise JPQError("--dtype is for vectors that are written: leave it out")
    if args.remove and args.rescore is not None:
        raise JPQError(f"--rescore {args.rescore} needs the document vectors: leave it or --remove out")
    if kept_as_they_are and args.rescore is None:
        raise JPQError("nothing to do: give --embeddings, --corpus, --remove or --rescore")
    with locked(args.index):
        check_verified(args.index, but=None if kept_as_they_are else VECTORS)
        index = JPQIndex.open(args.index, vectors=kept_as_they_are)
        if kept_as_they_are and index.vectors is None:
            raise JPQError(f"{args.index} has no vectors to rescore with: give --embeddings or --corpus too")
        with _encoded_again(args) if args.corpus else contextlib.nullcontext() as flat:
            if args.embeddings:
                flat = open_embeddings(args.embeddings, args.docids)
            if flat is not None:
                index.attach(flat, dtype=args.dtype or DEFAULT_DTYPE, refer=args.refer)
            index.record = dataclasses.replace(index.record, rescore=args.rescore)
            index.save(args.index, replace_existing=True)
    kept = IndexRecord.read(args.index).vectors
    where = f"{kept['dtype']} vectors{' in ' + kept['flat'] if 'flat' in kept else ''}" if kept else "no vectors"
    cli.say(f"{args.index}: {len(index):,} documents, {where}")


@contextlib.contextmanager
def _encoded_again(args: argparse.Namespace) -> Iterator[Embeddings | None]:
    """Yield the embeddings of ``--corpus``, in a hidden folder beside the index.

    It is removed unless the disk is full or the command is killed; then it waits for ``--resume``.
    """
    index = Path(os.path.realpath(args.index))
    folder = index.with_name(f".{index.name}.vectors")
    if folder.exists() and not args.resume:
        shutil.rmtree(folder)
    if not folder.exists():
        settings = encoder_settings(args.index, args.encoder)
        made_so = {"prefix": settings["passage_prefix"]}
        made_so |= {name: settings[name] for name in ("pooling", "l2_norm", "max_length", "truncate_dim")}
        how = {"device": args.device, "batch_size": args.batch_size, "resume": args.resume}
        how |= {"id_field": args.id_field, "text_fields": args.text_fields}
        embed_corpus(args.corpus, settings["name_or_path"], folder, **made_so, **how)
    try:
        yield FlatFolder.open(folder)
    except JPQError:  # they are not those of the index
        shutil.rmtree(folder)
        raise
    shutil.rmtree(folder)


def _exporter(directory: str, backend: str | None) -> Callable[[Path], object] | None:
    """Return what copies the query encoder's folder and exports it for ``backend``.

    If none is named, and the folder asks for none and has no export yet, it gets the one that CPUs run by default.
    """
    from jpq_pyserini.encoders.text_encoder import EXPORTED, is_jpq_encoder, load_text_encoder, saved_settings

    copier, source = query_encoder_copier(directory), Path(directory) / QUERY_ENCODER
    if backend is None and (not is_jpq_encoder(source) or {"backend", EXPORTED} & set(saved_settings(source))):
        return copier
    from jpq_pyserini.encoders import backends

    try:
        model = load_text_encoder(str(query_encoder_path(directory)))
    except JPQError as error:
        if backend is not None:
            raise
        cli.note(f"the query encoder is copied as it is: {error}")
        return copier

    def copy(folder: Path) -> None:
        shutil.copytree(source, folder)
        if backend is not None:
            backends.export(model, folder, backend)
        elif (why := backends.export_checked(model, folder)) is not None:
            cli.note(f"CPUs will run the query encoder with torch, since it cannot be exported to ONNX: {why}")

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
