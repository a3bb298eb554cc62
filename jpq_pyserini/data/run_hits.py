"""Negatives out of a run file, read line by line: what is kept is an int32 row a negative, no docids."""

import functools
import math
import os
from collections.abc import Container, Iterator, Mapping, Sequence
from itertools import groupby, islice
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from jpq_pyserini.data.lines import columns_of, is_comment, text_lines
from jpq_pyserini.data.topics import TrainingQuery
from jpq_pyserini.errors import JPQError

_TREC, _MSMARCO = 6, 3  # columns
_FORMS = "a run has lines 'qid Q0 docid rank score tag' (TREC) or 'qid docid rank' (MS MARCO)"
_DOCIDS_KEPT = 1 << 20  # whose rows need no second look-up


class _Hit(NamedTuple):
    """A line of a run, by its number: the higher ``worth``, the better."""

    qid: str
    docid: str
    worth: float
    line: int


def best_irrelevant(
    path: str | os.PathLike,
    training: Sequence[TrainingQuery],
    rows: Mapping[str, int],
    count: int,
    progress: bool = True,
) -> np.ndarray:
    """Return the best irrelevant documents of each query in a run, by score (TREC) or rank (MS MARCO).

    Documents of equal score keep the order of the file.

    Args:
        path: the run of the training topics, .gz too; the lines of a query are together, other queries are left out.
        training: the queries, with their relevant documents.
        rows: docid → row.
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
    row_of = functools.lru_cache(_DOCIDS_KEPT)(rows.get)
    done, missing, first_missing = np.zeros(len(training), bool), 0, None
    with tqdm(total=len(training), desc="run", unit="query", disable=not progress, leave=False) as bar:
        for qid, lines in groupby(_hits(path, positions), lambda hit: hit.qid):
            position, hits = positions[qid], list(lines)
            _check_once(hits, path, done[position])
            done[position] = True
            hits.sort(key=lambda hit: -hit.worth)
            ranked = [row_of(hit.docid) for hit in hits]
            if None in ranked:
                missing += ranked.count(None)
                first_missing = first_missing or hits[ranked.index(None)]
                continue
            relevant = set(training[position].rows)
            best = list(islice((row for row in ranked if row not in relevant), count))
            table[position, : len(best)] = best
            bar.update()
    if missing:
        raise JPQError(
            f"{path}:{first_missing.line}: document {first_missing.docid!r} is not in the collection ({missing:,} such "
            f"hits, {len(rows):,} documents, the first one {next(iter(rows), None)!r}): give a run on this collection"
        )
    if not done.any():
        raise JPQError(
            f"--negatives-run {path}: has none of the {len(training):,} training queries (first id "
            f"{next(iter(positions), None)!r}): give the run of the topics of --topics"
        )
    return table


def _hits(path: str | os.PathLike, wanted: Container[str]) -> Iterator[_Hit]:
    """Yield the lines of ``wanted`` queries."""
    columns = None
    for number, line in text_lines(path):
        if is_comment(line):
            continue
        cells = columns_of(line)
        if columns is None and len(cells) in (_TREC, _MSMARCO):
            columns = len(cells)
        if len(cells) != columns:
            if not cells:
                continue
            as_before = f", not {columns} as before" if columns else ""
            raise JPQError(f"{path}:{number}: {len(cells)} columns in {line[:60]!r}{as_before}: {_FORMS}")
        if cells[0] not in wanted:
            continue
        if columns == _TREC:
            yield _Hit(cells[0], cells[2], _score(cells[4], path, number), number)
        else:
            yield _Hit(cells[0], cells[1], -_rank(cells[2], path, number), number)
    if columns is None:
        raise JPQError(f"{path} is empty: {_FORMS}")


def _score(text: str, path: str | os.PathLike, number: int) -> float:
    try:
        score = float(text)
    except ValueError:
        score = math.nan
    if not math.isfinite(score):
        raise JPQError(f"{path}:{number}: score {text!r} is no finite number: {_FORMS}")
    return score


def _rank(text: str, path: str | os.PathLike, number: int) -> int:
    if not (text.isdecimal() and int(text) > 0):
        raise JPQError(f"{path}:{number}: rank {text!r} is no positive integer: {_FORMS}")
    return int(text)


def _check_once(hits: Sequence[_Hit], path: str | os.PathLike, seen: bool) -> None:
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
