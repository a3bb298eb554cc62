"""Compare searchers side by side: ``python -m jpq_pyserini.bench.latency --help``."""

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from jpq_pyserini.bench.latency.queries import EncodedQueries, encoded_queries
from jpq_pyserini.bench.latency.race import Entry, Settings, race
from jpq_pyserini.bench.latency.report import as_json, as_markdown, draw, versions
from jpq_pyserini.bench.latency.runs import choose, write_comparison, write_point_facts
from jpq_pyserini.bench.systems import SYSTEMS, Data
from jpq_pyserini.cli import (
    add_dataclass_arguments,
    command_line,
    dataclass_from_arguments,
    note,
    progress,
    run_main,
)
from jpq_pyserini.data.flat import FlatFolder
from jpq_pyserini.data.runs import named_paths
from jpq_pyserini.errors import JPQError
from jpq_pyserini.names import DOCID, QUERY_ENCODER
from jpq_pyserini.storage import new_file

_SYNTHETIC = ("flat", "pq8", "fastscan", "fastscan-rounded", "ivf-fastscan", "scann")
_REAL = ("flat", "hnsw", "scann", "annoy")
_ROWS = 1 << 16
_EXAMPLE = """\
examples:
  random vectors and codes, sizes of your choice:
    python -m jpq_pyserini.bench.latency --documents 1000000 --output out
  a real collection, all systems of the paper, with effectiveness; JPQ, DPQ and the like are index directories:
    python -m jpq_pyserini.bench.latency --systems all --embeddings squad-flat --lucene squad-lucene --bytes 48 \\
        --index JPQ=jpq48 --index fast=jpq96x4 --topics queries.test.tsv --qrels qrels.test.txt --output out

All systems answer the same queries in turns, each in a process of its own. OUT gets latency.json, latency.md and plots;
with a real collection also OUT/runs, a TREC run of each system and setting with its facts beside it, and, with qrels,
systems.html and systems.md: effectiveness with significance marks, size and speed of all systems in one table, as
python -m jpq_pyserini.eval.compare makes it. Systems that are not installed are listed with what to install:
pip install 'jpq_pyserini[baselines]' brings most.
"""


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line, race the systems, write the report."""
    args = _parser().parse_args(argv)
    settings = dataclass_from_arguments(Settings, args)
    names = _names(args)
    _check_against(args, names)
    if args.qrels and settings.hits < 100:
        raise JPQError(f"--hits {settings.hits}: R@100 needs 100 at least")
    output = Path(args.output)
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="latency-", dir=output) as scratch:
        if args.embeddings:
            races = [_real(args, settings, names, Path(scratch))]
        else:
            races = [_synthetic(count, args, settings, names, Path(scratch)) for count in args.documents]
    for each in races:
        choose(each["points"], args.tolerance, args.as_fast_as)
    command = command_line("jpq_pyserini.bench.latency", argv)
    for name, text in (
        ("latency.json", as_json(races, settings, command)),
        ("latency.md", as_markdown(races, command)),
    ):
        with new_file(output / name) as file:
            file.write(text)
    plots = draw(races, output)
    sys.stdout.write(as_markdown(races, command))
    print("wrote", ", ".join(str(output / name) for name in ("latency.json", "latency.md", *plots)))
    if args.embeddings:
        _tell_of_runs(races[0]["points"], args, settings, command)


def _names(args) -> list[str]:
    """Return the systems to race, those that cannot take part in this kind of race left out."""
    names = list(args.systems or (_REAL if args.embeddings else _SYNTHETIC))
    if names == ["all"]:
        names = [name for name, each in SYSTEMS.items() if not (args.embeddings and each.takes == "codes")]
    elif args.lucene and "bm25" not in names:
        names.insert(0, "bm25")
    if unknown := [name for name in names if name not in SYSTEMS]:
        raise JPQError(f"--systems {unknown[0]} is unknown: choose from all, {', '.join(SYSTEMS)}")
    if args.embeddings and (layouts := [name for name in names if SYSTEMS[name].takes == "codes"]):
        raise JPQError(f"--systems {layouts[0]} is a layout of our own: name a directory of it, --index NAME=DIR")
    return names


def _check_against(args, names: Sequence[str]) -> None:
    """Raise :class:`JPQError` now, rather than after the race, if there will be nothing to test against."""
    if args.against is None:
        return
    if not args.qrels:
        raise JPQError("--against needs --qrels: without judgements nothing is tested")
    there = [
        *names,
        *(argument.partition("=")[0] if "=" in argument else Path(argument).name for argument in args.index),
    ]
    if args.against not in there:
        raise JPQError(f"--against {args.against}: no such system here, there are {', '.join(there)}")


def _tell_of_runs(points: list[dict], args, settings: Settings, command: str) -> None:
    """Write the facts of the runs and, with judgements, one table of the chosen ones; say what is where."""
    folder = Path(args.output) / "runs"
    for point in points:
        write_point_facts(folder, point, settings.hits, command, versions())
    print(f"wrote {len(points)} runs with their facts in {folder}")
    if args.qrels:
        text, written = write_comparison(points, args, settings.hits, note)
        sys.stdout.write(text)
        print("wrote", ", ".join(map(str, written)))


def _synthetic(count: int, args, settings: Settings, names: Sequence[str], scratch: Path) -> dict:
    """Race over random vectors (for systems that want them) and random codes."""
    rng = np.random.default_rng(settings.seed)
    wanted = [SYSTEMS[name] for name in names]
    data = Data(count, args.dimension, args.bytes, seed=settings.seed)
    vectors = None
    if any(each.takes == "vectors" and each.memory(data) / 1e9 <= settings.memory_limit for each in wanted):
        vectors = str(scratch / f"{count}.npy")
        array = np.lib.format.open_memmap(vectors, "w+", np.float32, (count, args.dimension))
        for start in range(0, count, _ROWS):
            part = rng.standard_normal((min(_ROWS, count - start), args.dimension), dtype=np.float32)
            array[start : start + len(part)] = part / np.linalg.norm(part, axis=1, keepdims=True)
        del array
    queries = rng.standard_normal((settings.queries, args.dimension), dtype=np.float32)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    data = replace(data, vectors=vectors)
    entries = [Entry(each.name, each.label(data), each.name, data, queries, group=each.title) for each in wanted]
    result = race(entries, settings, note, progress)
    if vectors:
        os.unlink(vectors)
    return {"collection": f"random, {count:,} documents", "documents": count, "dimension": args.dimension, **result}


def _real(args, settings: Settings, names: Sequence[str], scratch: Path) -> dict:
    """Race over a flat folder and index directories made from it."""
    from jpq_pyserini.data.topics import read_qrels, read_topics
    from jpq_pyserini.index import IndexRecord

    if not args.topics:
        raise JPQError("--topics is missing: real collections need real queries")
    flat = FlatFolder.open(args.embeddings)
    qrels = read_qrels(args.qrels) if args.qrels else None
    topics = {qid: text for qid, text in read_topics(args.topics).items() if qrels is None or qid in qrels}
    indexes = {name: (path, IndexRecord.read(path)) for name, path in _named(args.index).items()}
    count, dimension = flat.embeddings.shape
    cache = args.cache or Path(args.output) / "queries"
    vectors = str(scratch / "vectors.npy")
    np.save(vectors, flat.embeddings)
    data = Data(count, dimension, args.bytes, vectors, docids=str(Path(args.embeddings) / DOCID), seed=settings.seed)
    queries = _queries(args.encoder or _document_encoder(indexes), topics, dimension, cache)
    entries = []
    for each in (SYSTEMS[name] for name in names):
        if each.takes == "texts":
            theirs, encoded = replace(data, index=args.lucene), EncodedQueries(list(topics.values()), 0.0)
        else:
            theirs, encoded = data, queries
        entries.append(_entry(each.name, each.label(theirs), each.name, theirs, encoded, flat, each.title))
    for name, (directory, record) in indexes.items():
        if record.count != count:
            raise JPQError(f"{directory} has {record.count:,} documents, {args.embeddings} {count:,}: name its own")
        system = {"pq": "pq8"}.get(record.layout, record.layout)
        own = directory / QUERY_ENCODER
        encoded = _queries(str(own), topics, dimension, cache) if own.is_dir() else queries
        entries.append(
            _entry(name, name, system, replace(data, vectors=None, bytes=0, index=str(directory)), encoded, flat)
        )
    runs = Path(args.output) / "runs"
    runs.mkdir(exist_ok=True)
    result = race(entries, settings, note, progress, qrels=qrels, qids=list(topics), runs=runs)
    return {"collection": str(args.embeddings), "documents": count, "dimension": dimension, **result}


def _entry(name: str, title: str, system: str, data: Data, encoded: EncodedQueries, flat, group=None) -> Entry:
    return Entry(name, title, system, data, encoded.vectors, flat.docids, group, encoded.milliseconds)


def _queries(encoder: str, topics: dict[str, str], dimension: int, cache) -> EncodedQueries:
    encoded = encoded_queries(encoder, topics, cache)
    if encoded.vectors.shape[1] != dimension:
        raise JPQError(
            f"{encoder} gives {encoded.vectors.shape[1]} dimensions, the embeddings {dimension}: name their encoder"
        )
    return encoded


def _named(arguments: Sequence[str]) -> dict[str, Path]:
    """Return name to path of ``--index`` words."""
    return {name: Path(path) for name, path in named_paths(arguments, "--index", "DIR").items()}


def _document_encoder(indexes: dict) -> str:
    for _, record in indexes.values():
        if record.encoder.get("name_or_path"):
            return record.encoder["name_or_path"]
    raise JPQError("--encoder is missing: name the encoder that made the embeddings")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m jpq_pyserini.bench.latency",
        description="Compare searchers side by side: time, size, memory and, on real data, effectiveness.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--output", required=True, metavar="OUT", help="folder to write to")
    add("--systems", nargs="*", metavar="S", help=f"all, or some of {', '.join(SYSTEMS)}")
    add("--documents", type=int, nargs="+", default=[1_000_000], metavar="N", help="random: sizes (default: 1000000)")
    add("--dimension", type=int, default=768, metavar="D", help="random: dimension (default: 768)")
    add("--bytes", type=int, default=96, metavar="B", help="bytes a document of compressed systems (default: 96)")
    add("--embeddings", metavar="FLAT", help="real: flat folder of the collection")
    add("--index", action="append", default=[], metavar="[NAME=]DIR", help="real: JPQ index directory; repeat")
    add("--lucene", metavar="DIR", help="real: Lucene index of the collection, for BM25")
    add("--topics", metavar="T", help="real: queries, as Pyserini takes them")
    add("--qrels", metavar="Q", help="real: judgements; adds RR@10 and R@100")
    add("--encoder", metavar="E", help="real: encoder of the embeddings (default: the one that the indexes name)")
    add("--cache", metavar="DIR", help="real: folder of encoded queries, read before anything is encoded (OUT/queries)")
    add(
        "--tolerance",
        type=float,
        default=0.01,
        metavar="X",
        help="of a system's settings the main table shows the fastest that loses at most this share (default: 0.01)",
    )
    add("--as-fast-as", metavar="NAME", help="or the best that is as fast as this system or index")
    add("--against", metavar="NAME", help="real: test the others against this system or index: paired t-test")
    add_dataclass_arguments(parser, Settings)
    return parser


if __name__ == "__main__":
    run_main(main)
