"""The race itself: start the systems, let them answer in turns, collect seconds, memory and effectiveness."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from jpq_pyserini.bench.latency.runs import ranked, run_file_name
from jpq_pyserini.bench.latency.workers import Worker
from jpq_pyserini.bench.systems import SYSTEMS, Data
from jpq_pyserini.data.runs import write_run
from jpq_pyserini.errors import JPQError
from jpq_pyserini.eval.measures import evaluate, mean
from jpq_pyserini.timing import summary

_MEASURES = ("RR@10", "R@100")


def _setting(default, text: str, shown: str | None = None):
    return field(default=default, metadata={"help": f"{text} (default: {shown or default})"})


@dataclass(frozen=True)
class Settings:
    """Settings of a race; the command line is made from these fields."""

    hits: int = _setting(100, "hits a query; runs have as many, and R@100 needs 100")
    queries: int = _setting(256, "queries that are timed, in turn; real queries beyond them only count as judged")
    rounds: int = _setting(7, "rounds in which every system answers some queries")
    queries_a_round: int = _setting(8, "queries one by one in a round; batches are one a round")
    batch: int = _setting(64, "size of a batch")
    threads: int = _setting(os.cpu_count() or 1, "threads, besides one", "all")
    memory_limit: float = _setting(8.0, "GB of memory a system may need; larger ones are left out")
    sweep: bool = _setting(True, "try several values of nprobe, efSearch …, where there are qrels")
    seed: int = _setting(42, "seed of everything random")


@dataclass(frozen=True)
class Entry:
    """One system with its data.

    Attributes:
        name, title: what results call it.
        system: key of ``SYSTEMS``.
        data: what it is built from.
        queries: (Q, D) float32, all of them, or their texts for systems that take texts.
        docids: external ids by row; only for effectiveness and runs.
        group: what points of one system share in plots; the title when None.
        encode_ms: milliseconds of encoding one query; None for random ones.
    """

    name: str
    title: str
    system: str
    data: Data
    queries: np.ndarray | Sequence[str]
    docids: Sequence[str] | None = None
    group: str | None = None
    encode_ms: float | None = None


def _ignore(line: str) -> None:
    pass


def race(
    entries: Sequence[Entry],
    settings: Settings,
    note: Callable[[str], None] = _ignore,
    progress: Callable[[str], None] = _ignore,
    *,
    qrels: Mapping | None = None,
    qids: Sequence[str] = (),
    runs: Path | None = None,
) -> dict:
    """Race the entries.

    Args:
        entries: what takes part.
        settings: how.
        note: called with a line about each entry that is left out.
        progress: called with a line about each step.
        qrels, qids: judgements, and the query ids in the order of the entries' queries.
        runs: folder for a TREC run of each point, which ``point["run"]`` then names.

    Returns:
        ``{"points": [...], "left_out": {title: reason}}``. A point has name, title, group, setting, documents,
        bytes_per_document, memory_bytes, build_seconds, encode_ms, effectiveness and times:
        ``{"batch 1, threads 1": {median_ms, p95_ms, qps}, …}``.
    """
    workers, left_out = {}, {}
    for entry in entries:
        reason = _why_not(entry, settings)
        if reason is None:
            progress(f"building {entry.title} ({entry.data.count:,} documents)")
            try:
                workers[entry.name] = Worker(entry.system, entry.data, entry.queries)
            except JPQError as error:
                reason = str(error)
        if reason is not None:
            left_out[entry.title] = reason
            note(f"left out: {entry.title}: {reason}")
    try:
        points = []
        for entry in entries:
            if entry.name in workers:
                points += _points(entry, workers[entry.name], settings, qrels, qids, runs, progress)
        _take_times(points, workers, settings, progress)
    finally:
        for worker in workers.values():
            worker.close()
    for point in points:
        point["times"] = {name: asdict(summary(seconds)) for name, seconds in point["times"].items()}
    return {"points": points, "left_out": left_out}


def _why_not(entry: Entry, settings: Settings) -> str | None:
    system = SYSTEMS[entry.system]
    if (missing := system.why_not()) is not None:
        return missing
    gigabytes = system.memory(entry.data) / 1e9
    if gigabytes > settings.memory_limit:
        return f"would need about {gigabytes:.0f} GB of memory (--memory-limit {settings.memory_limit:g})"
    return None


def _points(entry: Entry, worker: Worker, settings: Settings, qrels, qids, runs, progress) -> list[dict]:
    """Return a point for each value of the system's setting; one for systems that have none, and without qrels."""
    setting, values = SYSTEMS[entry.system].setting or (None, (None,))
    if qrels is None or not settings.sweep:
        values = (None,)
    points = []
    for value in values:
        if value is not None:
            try:
                worker.ask("set", value)
            except JPQError as error:
                if "must be from 1 to" in str(error):  # more probes than lists
                    continue
                raise
        worker.ask("time", 1, 1, settings.hits, 2)  # warm up
        point = {
            "name": entry.name,
            "title": entry.title,
            "group": entry.group or entry.title,
            "setting": "" if value is None else f"{setting} {value}",
            "value": value,
            "documents": entry.data.count,
            "bytes_per_document": worker.facts["bytes"] / entry.data.count,
            "build_seconds": worker.facts["build_seconds"],
            "encode_ms": entry.encode_ms,
            "effectiveness": {},
            "times": {},
        }
        if qrels is not None or runs is not None:
            hits = ranked(*worker.ask("hits", settings.hits, settings.threads), entry.docids)
        if runs is not None:
            point["run"] = run_file_name(entry.name, point["setting"])
            write_run(runs / point["run"], zip(qids, hits, strict=True), Path(point["run"]).stem)
        if qrels is not None:
            point["effectiveness"] = _effectiveness(hits, qrels, qids)
            progress(f"{entry.title} {point['setting']}: {point['effectiveness']}")
        point["memory_bytes"] = worker.ask("memory")
        points.append(point)
    return points


def _effectiveness(hits: Sequence[dict[str, float]], qrels, qids) -> dict[str, float]:
    values = evaluate(dict(zip(qids, hits, strict=True)), {qid: qrels[qid] for qid in qids}, _MEASURES)
    return {measure: round(mean(values[measure]), 4) for measure in _MEASURES}


def _take_times(points: list[dict], workers: dict[str, Worker], settings: Settings, progress) -> None:
    modes = [(batch, threads) for threads in sorted({1, settings.threads}) for batch in sorted({1, settings.batch})]
    for number in range(settings.rounds):
        progress(f"round {number + 1} of {settings.rounds}")
        for batch, threads in modes:
            for point in points:
                worker = workers[point["name"]]
                if point["value"] is not None:
                    worker.ask("set", point["value"])
                repeat = settings.queries_a_round if batch == 1 else 1
                name = f"batch {batch}, threads {threads}"
                seconds = worker.ask("time", batch, threads, settings.hits, repeat)
                point["times"].setdefault(name, []).extend(seconds)
