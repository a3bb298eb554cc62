"""What a system found as a run: hits in trec_eval's order, the facts of its file; the runs in one table.

The hits made here have the scores that trec_eval reads where Pyserini wrote them, with six decimals.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jpq_pyserini.data.topics import read_qrels, read_topics
from jpq_pyserini.eval.comparison import compare
from jpq_pyserini.eval.facts import Facts, write_facts
from jpq_pyserini.eval.report import FORMS, form_of, write_forms
from jpq_pyserini.index.exact import as_trec_eval_reads, best_first

ONE_BY_ONE = "batch 1, threads 1"


def ranked(scores: np.ndarray, rows: np.ndarray, docids: Sequence[str]) -> list[dict[str, float]]:
    """Return what each query found, docid to score, best first, ties by docid descending.

    Args:
        scores: (Q, k), higher is better.
        rows: (Q, k), -1 for none.
        docids: external ids by row.
    """
    hits = []
    for their_scores, their_rows in zip(scores, rows, strict=True):
        found = their_rows >= 0
        read, kept = as_trec_eval_reads(their_scores[found].astype(np.float64)), their_rows[found]
        order = best_first(read, kept, docids, len(kept))
        hits.append({docids[int(kept[at])]: float(read[at]) for at in order})
    return hits


def run_file_name(name: str, setting: str) -> str:
    """Return the run's file name for a system and its setting: ``hnsw.efSearch-64.txt``.

    >>> run_file_name("OPQ 48x8", "nprobe 4")
    'OPQ-48x8.nprobe-4.txt'
    """
    plain = [re.sub(r"[^\w.+-]+", "-", part).strip("-") for part in (name, setting) if part]
    return ".".join(plain) + ".txt"


def shown_name(point: dict) -> str:
    """Return what tables call a point of a race: the system, and its setting if it has one."""
    return ", ".join(filter(None, [point["title"], point["setting"]]))


def write_point_facts(folder: Path, point: dict, hits: int, command: str, versions: dict[str, str]) -> None:
    """Write the facts of a point of a race beside its run."""
    facts = Facts(
        title=shown_name(point),
        group=point["group"],
        documents=point["documents"],
        bytes_per_document=point["bytes_per_document"],
        ms_per_query=point["times"][ONE_BY_ONE]["median_ms"],
        encode_ms_per_query=point["encode_ms"],
        threads=1,
        hits=hits,
        build_seconds=point["build_seconds"],
        command=command,
        versions=versions,
    )
    write_facts(folder / point["run"], facts)


def write_comparison(points: Sequence[dict], args, hits: int, note) -> tuple[str, list[Path]]:
    """Compare the chosen points by ``eval.compare``, on the judged queries among the topics.

    Args:
        points: of a race, their runs and facts in OUT/runs.
        args: ``topics``, ``qrels``, ``against`` (name of a system or index, or None) and ``output`` are used.
        hits: depth of the runs.
        note: called with a line about what is odd.

    Returns:
        The table as text, and what was written: OUT/systems.html, systems.md and systems.json.
    """
    chosen, folder = [point for point in points if point["chosen"]], Path(args.output)
    runs = {shown_name(point): folder / "runs" / point["run"] for point in chosen}
    against = next((shown_name(point) for point in chosen if point["name"] == args.against), None)
    topics = read_topics(args.topics)
    qrels = {qid: judged for qid, judged in read_qrels(args.qrels).items() if qid in topics}
    measures = ["RR@10", "nDCG@10", *(f"R@{depth}" for depth in (100, 1000) if depth <= hits)]
    comparison = compare(runs, qrels, measures, against=against, topics=topics, with_hits=True, note=note)
    written = [folder / f"systems.{ending}" for ending in ("html", "md", "json")]
    write_forms(comparison, {path: form_of(path) for path in written}, qrels=args.qrels, topics=args.topics)
    return FORMS["text"][0](comparison), written


def choose(points: Sequence[dict], tolerance: float, as_fast_as: str | None = None) -> None:
    """Set ``chosen`` on every point: True for the one setting of each system that a table of systems should show.

    Args:
        points: of a race; those with the same name are settings of one system.
        tolerance: the fastest setting is chosen whose first measure is within this share of the system's best.
        as_fast_as: name of a system: choose the most effective setting that is at least as fast as that system's
            fastest, or the fastest when none is. So the paper's table 1 compares non-exhaustive systems.
    """
    settings = {}
    for point in points:
        settings.setdefault(point["name"], []).append(point)
    limit = min((_milliseconds(point) for point in settings.get(as_fast_as, ())), default=None)
    for of_system in settings.values():
        best = max(map(_value, of_system))
        if limit is None:
            good = [point for point in of_system if _value(point) >= (1 - tolerance) * best]
            chosen = min(good, key=_milliseconds)
        else:
            fast = [point for point in of_system if _milliseconds(point) <= limit]
            chosen = max(fast, key=_value) if fast else min(of_system, key=_milliseconds)
        for point in of_system:
            point["chosen"] = point is chosen


def _milliseconds(point: dict) -> float:
    return point["times"][ONE_BY_ONE]["median_ms"]


def _value(point: dict) -> float:
    return next(iter(point["effectiveness"].values()), 0.0)
