"""The race itself: start the systems, let them answer in turns, collect seconds, memory and effectiveness."""

import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from jpq_pyserini.bench.latency.results import COLD, Point, Race, mode_name, name_of
from jpq_pyserini.bench.latency.runs import Runs, ranked, run_file_name
from jpq_pyserini.bench.latency.workers import Worker
from jpq_pyserini.bench.systems import SYSTEMS, Data, SettingError
from jpq_pyserini.cli import bounded, natural_int, positive_int
from jpq_pyserini.errors import JPQError
from jpq_pyserini.index.vectors import DEFAULT_DTYPE, DTYPES, row_bytes
from jpq_pyserini.timing import Timing, summary


def _setting(default, text: str, kind=positive_int):
    return field(default=default, metadata={"help": text, "type": kind})


@dataclass(frozen=True)
class Settings:
    """Settings of a race; the command line is made from these fields."""

    hits: int = _setting(100, "hits per query, in runs too; with --qrels at least 100, for R@100")
    queries: int = _setting(256, "random data: number of queries")
    rounds: int = _setting(7, "timing rounds; in each, every system answers some of the queries")
    queries_a_round: int = _setting(8, "single queries that each system answers in a round; of batches it is one")
    batch: int = _setting(64, "queries in a batch")
    threads: int = _setting(
        os.cpu_count() or 1,
        "also time with N threads; single-thread timings are always taken (default: all CPUs)",
    )
    memory_limit: float = _setting(8.0, "leave out systems that would need more GB of memory", bounded(float, 0))
    rescore: int = _setting(
        0,
        "also search compressed systems in two stages, their best N documents scored again with the vectors on disk; "
        "0: do not",
        natural_int,
    )
    vectors: str = field(
        default=DEFAULT_DTYPE, metadata={"help": "with --rescore, how the vectors on disk are kept", "choices": DTYPES}
    )
    cold: bool = field(
        default=False,
        metadata={"help": "with --rescore, also time single queries with none of the vectors in the page cache"},
    )
    sweep: bool = field(default=True, metadata={"help": "with --qrels, try several values of nprobe, efSearch etc."})
    seed: int = _setting(42, "random seed", natural_int)


@dataclass(frozen=True)
class Contender:
    """One system with its data.

    Attributes:
        name, title: what results call it.
        system: key of ``SYSTEMS``.
        data: what it is built from.
        queries: (Q, D) float32, all of them, or their texts for systems that take texts.
        docids: external ids by row; only for runs.
        group: what points of one system share in plots; the title when None.
        encode_ms: milliseconds of encoding one query; None for random ones.
        training: of an index directory, what its record says of its training.
    """

    name: str
    title: str
    system: str
    data: Data
    queries: np.ndarray | Sequence[str]
    docids: Sequence[str] | None = None
    group: str | None = None
    encode_ms: float | None = None
    training: Mapping[str, Any] = field(default_factory=dict)


def _ignore(line: str) -> None:
    pass


def race(
    collection: str,
    data: Data,
    entries: Sequence[Contender],
    settings: Settings,
    note: Callable[[str], None] = _ignore,
    progress: Callable[[str], None] = _ignore,
    runs: Runs | None = None,
) -> Race:
    """Race the entries.

    Args:
        collection, data: what it is called, and its size.
        entries: what takes part.
        settings: how.
        note: called with a line about each entry that is left out.
        progress: called with a line about each step.
        runs: where a TREC run of each point goes, and what it is judged by; None writes and judges none.
    """
    workers: dict[str, Worker] = {}
    left_out = {}
    try:
        for entry in entries:
            try:
                _check_possible(entry, settings)
                progress(f"building {entry.title} ({entry.data.count:,} documents)")
                workers[entry.name] = Worker(entry.system, entry.data, entry.queries)
            except JPQError as error:
                left_out[entry.title] = str(error)
                note(f"left out: {entry.title}: {error}")
        points: list[Point] = []
        of_points: dict[str, Worker] = {}
        for entry in entries:
            if entry.name in workers:
                points += _points(entry, workers[entry.name], settings, runs, progress)
                of_points |= {point.name: workers[entry.name] for point in points if point.name not in of_points}
        times = _times(points, of_points, settings, progress)
    finally:
        for worker in workers.values():
            worker.close()
    points = [replace(point, times=each) for point, each in zip(points, times, strict=True)]
    return Race(collection, data.count, data.dimension, points, left_out)


def _check_possible(entry: Contender, settings: Settings) -> None:
    system = SYSTEMS[entry.system]
    if (missing := system.missing_requirement()) is not None:
        raise JPQError(missing)
    gigabytes = system.memory(entry.data) / 1e9
    if gigabytes > settings.memory_limit:
        raise JPQError(f"would need about {gigabytes:.0f} GB of memory (--memory-limit {settings.memory_limit:g})")


def _points(entry: Contender, worker: Worker, settings: Settings, runs: Runs | None, progress) -> list[Point]:
    """Return a point for each value of the system's setting that fits; one without a setting, or without qrels."""
    name, values = SYSTEMS[entry.system].setting or (None, (None,))
    if runs is None or runs.qrels is None or not settings.sweep:
        values = (None,)
    points = []
    stages = [0, settings.rescore] if settings.rescore and _rescorable(entry) else [0]
    for value, candidates in itertools.product(values, stages):
        try:
            worker.ask("set", value, candidates)
        except SettingError:
            continue
        title = f"{entry.title}, rescored" if candidates else entry.title
        worker.ask("time", 1, 1, settings.hits, 2)  # warm up
        setting, run, effectiveness = "" if value is None else f"{name} {value}", None, {}
        if runs is not None and entry.docids is not None:
            run = run_file_name(name_of(entry.name, candidates), setting)
            scores, rows = worker.ask("hits", settings.hits, settings.threads)
            hits = ranked(scores, rows, entry.docids)
            effectiveness = runs.write(run, hits)
            progress(f"{title} {setting}: {effectiveness}")
        point = Point(
            name=name_of(entry.name, candidates),
            title=title,
            group=f"{entry.group}, rescored" if entry.group and candidates else entry.group or title,
            setting=setting,
            value=value,
            documents=entry.data.count,
            bytes_per_document=worker.facts["bytes"] / entry.data.count,
            memory_bytes=worker.ask("memory"),
            build_seconds=worker.facts["build_seconds"],
            encode_ms=entry.encode_ms,
            run=run,
            effectiveness=effectiveness,
            times={},
            training_vectors=_training_vectors(entry),
            training_queries=entry.training.get("training_queries", 0),
            rescored=candidates,
            disk_bytes_per_document=row_bytes(settings.vectors, entry.data.dimension) if candidates else 0,
        )
        points.append(point)
    return points


def _rescorable(entry: Contender) -> bool:
    return SYSTEMS[entry.system].rescorable and entry.data.stored is not None


def _training_vectors(entry: Contender) -> int:
    if entry.training:
        return min(entry.training.get("config", {}).get("opq_sample", 0), entry.data.count)
    most = SYSTEMS[entry.system].trained_on
    return entry.data.count if most is None else min(most, entry.data.count)


def _times(points: Sequence[Point], workers, settings: Settings, progress) -> list[dict[str, Timing]]:
    """Return mode to time for each point, all taken in turns; cold ones last, since they leave no vectors in memory."""
    warm = {
        mode_name(batch, threads): (batch, threads)
        for threads in sorted({1, settings.threads})
        for batch in sorted({1, settings.batch})
    }
    seconds: list[dict[str, list[float]]] = [{} for _ in points]
    for modes in (warm, {COLD: (1, 1)} if settings.cold else {}):
        for number in range(settings.rounds if modes else 0):
            progress(f"round {number + 1} of {settings.rounds}{' with cold vectors' if COLD in modes else ''}")
            for mode, (batch, threads) in modes.items():
                for point, taken in zip(points, seconds, strict=True):
                    if mode == COLD and not point.rescored:
                        continue
                    worker = workers[point.name]
                    worker.ask("set", point.value, point.rescored)
                    repeat = settings.queries_a_round if batch == 1 else 1
                    asked = worker.ask("time", batch, threads, settings.hits, repeat, mode == COLD)
                    taken.setdefault(mode, []).extend(asked)
    return [{mode: summary(each) for mode, each in taken.items()} for taken in seconds]
