"""Time searchers side by side: ``python -m jpq_pyserini.eval.latency --help``."""

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jpq_pyserini.eval.latency_report import as_json, as_markdown, draw
from jpq_pyserini.eval.race import Entry, Settings, race
from jpq_pyserini.eval.systems import SYSTEMS, Data

from jpq_pyserini.cli import add_dataclass_arguments, dataclass_from_arguments, run_main
from jpq_pyserini.errors import JPQError
from jpq_pyserini.flat import FlatFolder
from jpq_pyserini.names import QUERY_ENCODER
from jpq_pyserini.storage import new_file

_SYNTHETIC = ("flat", "pq8", "fastscan", "fastscan-rounded", "ivf-fastscan", "scann")
_REAL = ("flat", "hnsw", "scann", "annoy")
_ROWS = 1 << 16
_EXAMPLE = """\
examples:
  random vectors and codes, sizes of your choice:
    python -m jpq_pyserini.eval.latency --documents 1000000 --output out
  a real collection, with effectiveness:
    python -m jpq_pyserini.eval.latency --embeddings squad-flat --index JPQ=jpq48 --index fast=jpq96x4 \\
        --topics queries.test.tsv --qrels qrels.test.txt --output out

All systems answer the same queries in turns, each in a process of its own. OUT gets latency.json, latency.md and plots.
"""


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line, race the systems, write the report."""
    args = _parser().parse_args(argv)
    settings = dataclass_from_arguments(Settings, args)
    os.makedirs(args.output, exist_ok=True)
    names = args.systems or (_REAL if args.embeddings else _SYNTHETIC)
    if unknown := [name for name in names if name not in SYSTEMS]:
        raise JPQError(f"--systems {unknown[0]} is unknown: choose from {', '.join(SYSTEMS)}")
    with tempfile.TemporaryDirectory(prefix="latency-", dir=args.output) as scratch:
        if args.embeddings:
            runs = [_real(args, settings, names, Path(scratch))]
        else:
            runs = [_synthetic(count, args, settings, names, Path(scratch)) for count in args.documents]
    command = "python -m jpq_pyserini.eval.latency " + " ".join(sys.argv[1:] if argv is None else argv)
    for name, text in (("latency.json", as_json(runs, settings, command)), ("latency.md", as_markdown(runs, command))):
        with new_file(Path(args.output) / name) as file:
            file.write(text)
    plots = draw(runs, Path(args.output))
    sys.stdout.write(as_markdown(runs, command))
    print("wrote", ", ".join(str(Path(args.output) / name) for name in ("latency.json", "latency.md", *plots)))


def _synthetic(count: int, args, settings: Settings, names: Sequence[str], scratch: Path) -> dict:
    """Race over random vectors (for systems that want them) and random codes."""
    rng = np.random.default_rng(settings.seed)
    wanted = [SYSTEMS[name] for name in names]
    fits = {each.name: each.memory(count, args.dimension, args.bytes) / 1e9 for each in wanted}
    vectors = None
    if any(each.needs_vectors and fits[each.name] <= settings.memory_limit for each in wanted):
        vectors = str(scratch / f"{count}.npy")
        array = np.lib.format.open_memmap(vectors, "w+", np.float32, (count, args.dimension))
        for start in range(0, count, _ROWS):
            part = rng.standard_normal((min(_ROWS, count - start), args.dimension), dtype=np.float32)
            array[start : start + len(part)] = part / np.linalg.norm(part, axis=1, keepdims=True)
        del array
    queries = rng.standard_normal((settings.queries, args.dimension), dtype=np.float32)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    data = Data(count, args.dimension, args.bytes, vectors, seed=settings.seed)
    entries = [Entry(each.name, each.title, each.name, data, queries) for each in wanted]
    result = race(entries, settings, _note)
    if vectors:
        os.unlink(vectors)
    return {"collection": f"random, {count:,} documents", "documents": count, "dimension": args.dimension, **result}


def _real(args, settings: Settings, names: Sequence[str], scratch: Path) -> dict:
    """Race over a flat folder and index directories made from it."""
    from jpq_pyserini.topics import read_qrels, read_topics

    if not args.topics:
        raise JPQError("--topics is missing: real collections need real queries")
    flat = FlatFolder.open(args.embeddings)
    qrels = read_qrels(args.qrels) if args.qrels else None
    topics = {qid: text for qid, text in read_topics(args.topics).items() if qrels is None or qid in qrels}
    indexes = _named_directories(args.index)
    encoder = args.encoder or _document_encoder(indexes)
    vectors = str(scratch / "vectors.npy")
    np.save(vectors, flat.embeddings)
    count, dimension = flat.embeddings.shape
    queries = _encode(encoder, topics)
    data = Data(count, dimension, args.bytes, vectors, seed=settings.seed)
    entries = [Entry(name, SYSTEMS[name].title, name, data, queries, flat.docids) for name in names]
    for name, (directory, record) in indexes.items():
        if record.count != count:
            raise JPQError(f"{directory} has {record.count:,} documents, {args.embeddings} {count:,}: name its own")
        system = {"pq": "pq8"}.get(record.layout, record.layout)
        own = _encode(str(directory / QUERY_ENCODER), topics) if (directory / QUERY_ENCODER).is_dir() else queries
        entries.append(Entry(name, name, system, Data(count, dimension, 0, index=str(directory)), own, flat.docids))
    result = race(entries, settings, _note, qrels=qrels, qids=list(topics))
    return {"collection": str(args.embeddings), "documents": count, "dimension": dimension, **result}


def _named_directories(arguments: Sequence[str]) -> dict:
    from jpq_pyserini.index import IndexRecord

    named = {}
    for argument in arguments:
        name, equals, path = argument.partition("=")
        name, path = (name, path) if equals else (Path(argument).name, argument)
        if name in named:
            raise JPQError(f"two indexes are called {name!r}: name them with --index NAME=DIR")
        named[name] = (Path(path), IndexRecord.read(path))
    return named


def _document_encoder(indexes: dict) -> str:
    for _, record in indexes.values():
        if record.encoder.get("name_or_path"):
            return record.encoder["name_or_path"]
    raise JPQError("--encoder is missing: name the encoder that made the embeddings")


def _encode(encoder: str, topics: dict[str, str]) -> np.ndarray:
    from jpq_pyserini.text_encoder import embed_queries, load_text_encoder

    return embed_queries(load_text_encoder(encoder, max_length=32), list(topics.values()))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m jpq_pyserini.eval.latency",
        description="Time searchers side by side, with their memory and, on real data, their effectiveness.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--output", required=True, metavar="OUT", help="folder to write to")
    add("--systems", nargs="*", metavar="S", help=f"from {', '.join(SYSTEMS)}")
    add("--documents", type=int, nargs="+", default=[1_000_000], metavar="N", help="random: sizes (default: 1000000)")
    add("--dimension", type=int, default=768, metavar="D", help="random: dimension (default: 768)")
    add("--bytes", type=int, default=96, metavar="B", help="bytes a document of compressed systems (default: 96)")
    add("--embeddings", metavar="FLAT", help="real: flat folder of the collection")
    add("--index", action="append", default=[], metavar="[NAME=]DIR", help="real: JPQ index directory; repeat")
    add("--topics", metavar="T", help="real: queries, as Pyserini takes them")
    add("--qrels", metavar="Q", help="real: judgements; adds RR@10 and R@100")
    add("--encoder", metavar="E", help="real: encoder of the embeddings (default: the one that the indexes name)")
    add_dataclass_arguments(parser, Settings)
    return parser


def _note(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    run_main(main)
