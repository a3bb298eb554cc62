"""What takes part in a race: systems over random data, or over a real collection and index directories made from it."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from jpq_pyserini.bench.latency.queries import EncodedQueries, encoded_queries
from jpq_pyserini.bench.latency.race import Contender, Settings, race
from jpq_pyserini.bench.latency.results import Race
from jpq_pyserini.bench.latency.runs import Runs
from jpq_pyserini.bench.systems import SYSTEMS, Data, System
from jpq_pyserini.cli import note, progress
from jpq_pyserini.data.flat import FlatFolder
from jpq_pyserini.data.runs import named_paths
from jpq_pyserini.data.topics import read_qrels, read_topics
from jpq_pyserini.errors import JPQError
from jpq_pyserini.index import IndexRecord
from jpq_pyserini.index.vectors import encode_rows, write_vectors
from jpq_pyserini.names import DOCID, QUERY_ENCODER

_RANDOM = ("flat", "pq8", "fastscan", "fastscan-rounded", "ivf-fastscan", "scann")
_REAL = ("flat", "hnsw", "scann", "annoy")
_ROWS = 1 << 16


def system_names(args) -> list[str]:
    """Return the systems to race, those that cannot take part in this kind of race left out.

    Raises:
        JPQError: one is unknown, or takes part as an index directory only.
    """
    names = list(args.systems or (_REAL if args.embeddings else _RANDOM))
    if names == ["all"]:
        names = [name for name, each in SYSTEMS.items() if not (args.embeddings and each.takes == "codes")]
    elif args.lucene and "bm25" not in names:
        names.insert(0, "bm25")
    if unknown := [name for name in names if name not in SYSTEMS]:
        raise JPQError(f"--systems {unknown[0]} is unknown: choose from all, {', '.join(SYSTEMS)}")
    if args.embeddings and (layouts := [name for name in names if SYSTEMS[name].takes == "codes"]):
        raise JPQError(f"--systems {layouts[0]} is a layout of our own: name a directory of it, --index NAME=DIR")
    return names


def random_race(count: int, args, settings: Settings, names: Sequence[str], scratch: Path) -> Race:
    """Race over random vectors (for systems that take those) and random codes."""
    rng = np.random.default_rng(settings.seed)
    data = Data(count, args.dimension, args.bytes[0], seed=settings.seed)
    systems = [SYSTEMS[name] for name in names]
    if any(each.takes == "vectors" and each.memory(data) / 1e9 <= settings.memory_limit for each in systems):
        data = replace(data, vectors=str(scratch / f"{count}.npy"))
        vectors = np.lib.format.open_memmap(str(data.vectors), "w+", np.float32, (count, args.dimension))
        for start, part in zip(range(0, count, _ROWS), _parts(rng, count, args.dimension), strict=True):
            vectors[start : start + _ROWS] = part
        del vectors
    if settings.rescore:
        data = _stored(data, scratch / f"{count}.safetensors", settings.vectors, _parts(rng, count, args.dimension))
    queries = _unit_vectors(rng, settings.queries, args.dimension)
    entries = [
        Contender(name, title, each.name, sized, queries, group=each.title)
        for each in systems
        for name, title, sized in _sizes(each, data, args.bytes)
    ]
    result = race(f"random, {count:,} documents", data, entries, settings, note, progress)
    for path in filter(None, (data.vectors, data.stored)):
        os.unlink(path)
    return result


def _sizes(system: System, data: Data, sizes: Sequence[int]) -> Iterator[tuple[str, str, Data]]:
    """Yield name, title and data of a system, for each size if it has one to choose."""
    sized = [replace(data, bytes=size) for size in sizes]
    if len(sizes) == 1 or not (system.takes == "codes" or system.label(sized[0]) != system.label(sized[1])):
        yield system.name, system.label(sized[0]), sized[0]
        return
    for each in sized:
        told = f", {each.bytes} bytes" if system.takes == "codes" else ""
        yield f"{system.name}-{each.bytes}", system.label(each) + told, each


def _parts(rng: np.random.Generator, count: int, dimension: int) -> Iterator[np.ndarray]:
    return (_unit_vectors(rng, min(_ROWS, count - start), dimension) for start in range(0, count, _ROWS))


def _stored(data: Data, path: Path, dtype: str, otherwise: Iterable[np.ndarray] = ()) -> Data:
    """Write the vectors file of a second stage: of the data's own embeddings, or of others where it has none."""
    if data.vectors:
        vectors = data.embeddings()
        otherwise = (vectors[start : start + _ROWS] for start in range(0, data.count, _ROWS))
    write_vectors(path, dtype, data.count, data.dimension, (encode_rows(part, dtype) for part in otherwise))
    return replace(data, stored=str(path))


def _unit_vectors(rng: np.random.Generator, count: int, dimension: int) -> np.ndarray:
    vectors = rng.standard_normal((count, dimension), dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def real_race(args, settings: Settings, names: Sequence[str], scratch: Path) -> Race:
    """Race over a flat folder and index directories made from it; writes a run of each point.

    Raises:
        JPQError: topics or an encoder are missing, or the index directories do not fit the embeddings.
    """
    if not args.topics:
        raise JPQError("--topics is missing: real collections need real queries")
    flat = FlatFolder.open(args.embeddings)
    qrels = read_qrels(args.qrels) if args.qrels else None
    topics = {qid: text for qid, text in read_topics(args.topics).items() if qrels is None or qid in qrels}
    if not topics:
        raise JPQError(f"{args.topics}: none of its queries is judged in {args.qrels}")
    paths = {name: Path(path) for name, path in named_paths(args.index, "--index", "DIR").items()}
    records = {name: IndexRecord.read(path) for name, path in paths.items()}
    count, dimension = flat.embeddings.shape
    vectors = str(scratch / "vectors.npy")
    np.save(vectors, flat.embeddings)
    data = Data(count, dimension, args.bytes[0], vectors, docids=str(Path(args.embeddings) / DOCID), seed=settings.seed)
    if settings.rescore:
        data = _stored(data, scratch / "vectors.safetensors", settings.vectors)

    def encoded(encoder: str) -> EncodedQueries:
        found = encoded_queries(encoder, topics, args.cache or Path(args.output) / "queries")
        if found.vectors.shape[1] != dimension:
            raise JPQError(
                f"{encoder} gives {found.vectors.shape[1]} dimensions, the embeddings {dimension}: name their encoder"
            )
        return found

    queries = encoded(args.encoder or _document_encoder(records))
    entries = []
    for each in (SYSTEMS[name] for name in names):
        of_texts = each.takes == "texts"
        theirs = replace(data, index=args.lucene) if of_texts else data
        asked = EncodedQueries(np.array(list(topics.values()), dtype=object), 0.0) if of_texts else queries
        for name, title, sized in _sizes(each, theirs, args.bytes):
            entries.append(_entry(name, title, each.name, sized, asked, flat, each.title))
    for name, record in records.items():
        if record.count != count:
            raise JPQError(f"{paths[name]} has {record.count:,} documents, {args.embeddings} {count:,}: name its own")
        own = paths[name] / QUERY_ENCODER
        theirs = replace(data, bytes=0, index=str(paths[name]))
        layout = {"pq": "pq8"}.get(record.layout, record.layout)
        group = name.rstrip(" -_0123456789") or name  # JPQ of JPQ16 and JPQ48
        entry = _entry(name, name, layout, theirs, encoded(str(own)) if own.is_dir() else queries, flat, group)
        entries.append(replace(entry, training=record.training or {}))
    runs = Runs(Path(args.output) / "runs", list(topics), qrels)
    runs.folder.mkdir(exist_ok=True)
    return race(str(args.embeddings), data, entries, settings, note, progress, runs)


def _entry(name: str, title: str, system: str, data: Data, queries: EncodedQueries, flat, group=None) -> Contender:
    return Contender(name, title, system, data, queries.vectors, flat.docids, group, queries.milliseconds)


def _document_encoder(records: Mapping[str, IndexRecord]) -> str:
    for record in records.values():
        if name := record.encoder.get("name_or_path"):
            return name
    raise JPQError("--encoder is missing: name the encoder that made the embeddings")
