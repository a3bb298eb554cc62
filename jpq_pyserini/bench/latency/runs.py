"""What a system found as a run: hits in trec_eval's order, the facts of its file; the runs in one table.

The hits made here have the scores that trec_eval reads where Pyserini wrote them, with six decimals.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jpq_pyserini.bench.latency.results import Point
from jpq_pyserini.data.runs import write_run
from jpq_pyserini.data.topics import read_qrels, read_topics
from jpq_pyserini.eval.comparison import compare
from jpq_pyserini.eval.facts import Facts, write_facts
from jpq_pyserini.eval.measures import evaluate, mean
from jpq_pyserini.eval.report import FORMS, form_of, write_forms
from jpq_pyserini.lazy import Later

exact = Later("jpq_pyserini.index.exact")

_MEASURES = ("RR@10", "R@100")


@dataclass(frozen=True)
class Runs:
    """Where the runs of a race go, and what they are judged by.

    Attributes:
        folder: of the run files.
        qids: query ids, in the order of the systems' queries.
        qrels: judgements; None when there are none.
    """

    folder: Path
    qids: Sequence[str]
    qrels: Mapping[str, Mapping[str, int]] | None = None

    def write(self, name: str, hits: Sequence[dict[str, float]]) -> dict[str, float]:
        """Write what was found for all queries as a run; returns measure to mean, nothing without qrels."""
        write_run(self.folder / name, zip(self.qids, hits, strict=True), Path(name).stem)
        if self.qrels is None:
            return {}
        judged = {qid: self.qrels[qid] for qid in self.qids}
        values = evaluate(dict(zip(self.qids, hits, strict=True)), judged, _MEASURES)
        return {measure: round(mean(values[measure]), 4) for measure in _MEASURES}


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
        read, kept = exact.as_trec_eval_reads(their_scores[found].astype(np.float64)), their_rows[found]
        order = exact.best_first(read, kept, docids, len(kept))
        hits.append({docids[int(kept[at])]: float(read[at]) for at in order})
    return hits


def run_file_name(name: str, setting: str) -> str:
    """Return the run's file name for a system and its setting: ``hnsw.efSearch-64.txt``.

    >>> run_file_name("OPQ 48x8", "nprobe 4")
    'OPQ-48x8.nprobe-4.txt'
    """
    plain = [re.sub(r"[^\w.+-]+", "-", part).strip("-") for part in (name, setting) if part]
    return ".".join(plain) + ".txt"


def write_point_facts(folder: Path, point: Point, hits: int, command: str, versions: dict[str, str]) -> None:
    """Write the facts of a point of a race beside its run."""
    facts = Facts(
        title=point.shown,
        group=point.group,
        documents=point.documents,
        bytes_per_document=point.bytes_per_document,
        ms_per_query=point.milliseconds,
        encode_ms_per_query=point.encode_ms,
        threads=1,
        hits=hits,
        build_seconds=point.build_seconds,
        command=command,
        versions=versions,
    )
    write_facts(folder / str(point.run), facts)


def write_comparison(
    chosen: Sequence[Point],
    folder: Path,
    topics: str,
    qrels: str,
    hits: int,
    against: str | None = None,
    note: Callable[[str], None] = lambda line: None,
) -> tuple[str, list[Path]]:
    """Compare points by ``eval.compare``, on the judged queries among the topics.

    Args:
        chosen: points of a race, one a system; their runs are in FOLDER/runs.
        folder: the benchmark's output.
        topics, qrels: files, or names that Pyserini knows.
        hits: depth of the runs.
        against: name of the system or index that the others are tested against.
        note: called with a line about what is odd.

    Returns:
        The table as text, and what was written: FOLDER/systems.html, systems.md and systems.json.
    """
    runs = {point.shown: folder / "runs" / str(point.run) for point in chosen}
    compared_with = next((point.shown for point in chosen if point.name == against), None)
    texts = read_topics(topics)
    judged = {qid: grades for qid, grades in read_qrels(qrels).items() if qid in texts}
    measures = ["RR@10", "nDCG@10", *(f"R@{depth}" for depth in (100, 1000) if depth <= hits)]
    comparison = compare(runs, judged, measures, against=compared_with, topics=texts, with_hits=True, note=note)
    written = [folder / f"systems.{ending}" for ending in ("html", "md", "json")]
    write_forms(comparison, {path: form_of(path) for path in written}, qrels=qrels, topics=topics)
    return FORMS["text"][0](comparison), written
