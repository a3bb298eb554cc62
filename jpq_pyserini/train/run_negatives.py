"""Negatives from a run file, read line by line: what is kept is one int32 row per negative, no docids."""

import functools
import logging
import os
from collections.abc import Mapping, Sequence
from itertools import groupby, islice

import numpy as np
from tqdm import tqdm

from jpq_pyserini.data.runs import Row, rows
from jpq_pyserini.data.topics import TrainingQuery
from jpq_pyserini.errors import JPQError

logger = logging.getLogger(__name__)

_DOCIDS_KEPT = 1 << 20  # whose rows need no second look-up


def negatives_of_run(
    path: str | os.PathLike,
    training: list[TrainingQuery],
    row_of: Mapping[str, int],
    count: int,
    progress: bool = True,
) -> tuple[list[TrainingQuery], np.ndarray]:
    """Read the best ``count`` irrelevant documents of each training query from a run.

    Args:
        path, training, row_of, count, progress: as for :func:`best_irrelevant`.

    Returns:
        the training queries that have any, and their negatives, (Q, count) int32 rows, -1 for none.

    Raises:
        JPQError: a bad run, or one that has negatives for no query.
    """
    table = best_irrelevant(path, training, row_of, count, progress)
    kept = np.flatnonzero(table[:, 0] >= 0)
    left_out = len(training) - len(kept)
    if not len(kept):
        raise JPQError(f"--negatives-run {path}: all its hits are relevant: give one with more hits")
    if left_out:
        logger.warning("%s: %d of %d training queries have no irrelevant hit, left out", path, left_out, len(training))
        training, table = [training[position] for position in kept.tolist()], table[kept]
    return training, table


def best_irrelevant(
    path: str | os.PathLike,
    training: Sequence[TrainingQuery],
    row_of: Mapping[str, int],
    count: int,
    progress: bool = True,
) -> np.ndarray:
    """Return the best irrelevant documents of each query in a run, by score (TREC) or rank (MS MARCO).

    Documents of equal score keep the order of the file.

    Args:
        path: the run of the training topics, .gz too; the lines of a query are together, other queries are left out.
        training: the queries, with their relevant documents.
        row_of: docid → row.
        count: n̂, documents wanted for each query.
        progress: show a bar.

    Returns:
        (Q, count) int32 rows, best first; -1 where a query has fewer.

    Raises:
        JPQError: no such file, a malformed line, a document twice for a query, a query in two places, none of the
            queries, docids that are not in the collection.
    """
    if not os.path.isfile(path):
        raise JPQError(f"--negatives-run {path}: no such file")
    positions = {query.qid: position for position, query in enumerate(training)}
    table = np.full((len(training), count), -1, np.int32)
    index_row = functools.lru_cache(_DOCIDS_KEPT)(row_of.get)
    done, missing = np.zeros(len(training), bool), 0
    first_missing: Row | None = None
    hits_of_queries = groupby((row for row in rows(path) if row.qid in positions), lambda row: row.qid)
    with tqdm(total=len(training), desc="run", unit="query", disable=not progress, leave=False) as bar:
        for qid, lines in hits_of_queries:
            position, hits = positions[qid], list(lines)
            _check_once(hits, path, done[position])
            done[position] = True
            hits.sort(key=lambda hit: -hit.score)
            ranked = [index_row(hit.docid) for hit in hits]
            if None in ranked:
                missing += ranked.count(None)
                first_missing = first_missing or hits[ranked.index(None)]
                continue
            relevant = set(training[position].rows)
            best = list(islice((row for row in ranked if row is not None and row not in relevant), count))
            table[position, : len(best)] = best
            bar.update()
    if first_missing is not None:
        raise JPQError(
            f"{path}:{first_missing.line}: document {first_missing.docid!r} is not in the collection ({missing:,} such "
            f"hits, {len(row_of):,} documents, the first one {next(iter(row_of), None)!r}): "
            "give a run on this collection"
        )
    if not done.any():
        raise JPQError(
            f"--negatives-run {path}: has none of the {len(training):,} training queries (first id "
            f"{next(iter(positions), None)!r}): give the run of the topics of --topics"
        )
    return table


def _check_once(hits: Sequence[Row], path: str | os.PathLike, seen: bool) -> None:
    """Refuse a query that came before, and a document that comes twice for a query."""
    if seen:
        raise JPQError(
            f"{path}:{hits[0].line}: query {hits[0].qid!r} came before, with others between: bring the lines of a "
            "query together (sort -s -k1,1)"
        )
    docids = set()
    for hit in hits:
        if hit.docid in docids:
            raise JPQError(f"{path}:{hit.line}: document {hit.docid!r} is listed twice for query {hit.qid!r}: keep one")
        docids.add(hit.docid)
