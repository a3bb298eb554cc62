"""One query of a submission: its lines checked against each other and against the corpus, and mended on request."""

import dataclasses
import os
from collections.abc import Iterator, Sequence

import numpy as np

from jpq_pyserini.data.lines import columns_of, quoted, text_lines
from jpq_pyserini.data.runs import Row
from jpq_pyserini.errors import JPQError
from jpq_pyserini.eval.submission.findings import Findings
from jpq_pyserini.names import DOCID


class CorpusDocids:
    """Which docids there are, at 8 bytes each: 64-bit hashes, so that one of 2·10¹² foreign docids passes unseen.

    Args:
        path: a text file with a docid a line (.gz too), or an index folder of Pyserini's with its ``docid``.

    Raises:
        JPQError: no such file, an empty one, or lines that are no docids.
    """

    def __init__(self, path: str | os.PathLike):
        path = os.fspath(path)
        if os.path.isdir(path):
            path = os.path.join(path, DOCID)
        if not os.path.isfile(path):
            raise JPQError(f"{path} is missing: give a text file with a docid a line, or a Faiss index folder")
        self._hashes = np.fromiter((hash(docid) for docid in _docids(path)), dtype=np.int64)
        self._hashes.sort()

    def __len__(self) -> int:
        return len(self._hashes)

    def known(self, docids: Sequence[str]) -> np.ndarray:
        """Return (n,) bool: which of n docids there are."""
        hashes = np.fromiter(map(hash, docids), dtype=np.int64, count=len(docids))
        places = np.minimum(np.searchsorted(self._hashes, hashes), len(self._hashes) - 1)
        return self._hashes[places] == hashes


def _docids(path: str) -> Iterator[str]:
    for number, line in text_lines(path):
        cells = columns_of(line)
        if number == 1 and (len(cells) != 1 or cells[0].startswith("{")):
            raise JPQError(f"{path}:1: {quoted(line)} is no docid: give a text file with one docid a line")
        yield line.strip()


@dataclasses.dataclass(frozen=True)
class Rules:
    """What a query's results must keep to: ``depth`` results at most, all of them in ``corpus`` (None: not checked)."""

    depth: int = 1000
    corpus: CorpusDocids | None = None


def checked(qid: str, rows: list[Row], rules: Rules, findings: Findings) -> list[Row]:
    """Return the rows as they are to be written, with what ``findings.repairs`` allows mended and all noted.

    Unless a repair asks for it, nothing is changed.
    """
    ranks = sorted(row.rank for row in rows if row.rank is not None)
    numbered = len(ranks) == len(rows)
    renumber = not numbered and findings.mends("ranks")
    if numbered and (ranks[0] > 1 or ranks != list(range(ranks[0], ranks[0] + len(ranks)))):
        renumber = findings.add("steps", rows[0].line, f"query {qid}")
    kept = _without_foreign(rows, rules, findings)
    kept = _without_duplicates(kept, qid, findings)
    if not kept:
        return kept
    renumber |= len(kept) < len(rows)
    ordered = _agreeing(kept, qid, findings) if numbered else _by_score(kept, findings)
    renumber |= ordered.remade
    best = ordered.rows
    if len(best) > rules.depth:
        extra = len(best) - rules.depth
        if findings.add("depth", best[rules.depth].line, f"query {qid} has {len(best)}", extra):
            best = best[: rules.depth]
    mended = _untied(best, qid, findings)
    if renumber:
        mended = [row._replace(rank=rank) for rank, row in enumerate(mended, 1)]
        return mended
    as_they_stand = sorted(mended, key=lambda row: row.line)
    if mended == as_they_stand or findings.add("lines", as_they_stand[0].line, f"query {qid}"):
        return mended
    return as_they_stand


@dataclasses.dataclass(frozen=True)
class _Ordered:
    """Rows, best first; ``remade``: their ranks are not those of the file."""

    rows: list[Row]
    remade: bool


def _without_foreign(rows: list[Row], rules: Rules, findings: Findings) -> list[Row]:
    if rules.corpus is None:
        return rows
    known = rules.corpus.known([row.docid for row in rows])
    if known.all():
        return rows
    for row, is_known in zip(rows, known.tolist(), strict=True):
        if not is_known:
            findings.add("corpus", row.line, row.docid)
    return [row for row, is_known in zip(rows, known, strict=True) if is_known] if findings.mends("corpus") else rows


def _without_duplicates(rows: list[Row], qid: str, findings: Findings) -> list[Row]:
    best: dict[str, Row] = {}
    for row in rows:
        if row.docid in best:
            findings.add("duplicates", row.line, f"document {row.docid}, query {qid}")
            if row.score <= best[row.docid].score:
                continue
        best[row.docid] = row
    return list(best.values()) if len(best) < len(rows) and findings.mends("duplicates") else rows


def _agreeing(rows: list[Row], qid: str, findings: Findings) -> _Ordered:
    """Return rows by rank, after a look at whether the scores agree."""
    ranked = sorted(rows, key=lambda row: (row.rank, -row.score))
    scores = single(ranked)
    rises = np.flatnonzero(scores[1:] > scores[:-1])
    if not len(rises):
        return _Ordered(ranked, remade=False)
    above, below = ranked[rises[0]], ranked[rises[0] + 1]
    detail = f"query {qid}, rank {above.rank} scores {above.text}, rank {below.rank} {below.text}"
    findings.rising += bool((scores[1:] >= scores[:-1]).all())
    if not findings.add("contrary", below.line, detail, len(rises)):
        return _Ordered(ranked, remade=False)
    if "scores" in findings.repairs:
        return _Ordered([_scored(row, 1 / place) for place, row in enumerate(ranked, 1)], remade=True)
    return _by_score(ranked, findings)


def _by_score(rows: list[Row], findings: Findings) -> _Ordered:
    """Return rows by descending score; ties as trec_eval has them, or as they stand if they will be told apart."""
    if "ties" not in findings.repairs:
        rows = sorted(rows, key=lambda row: row.docid, reverse=True)
    order = np.argsort(-single(rows), kind="stable")
    return _Ordered([rows[i] for i in order.tolist()], remade=findings.mends("ranks"))


def _untied(rows: list[Row], qid: str, findings: Findings) -> list[Row]:
    """Look for ties that trec_eval orders otherwise; mended, each score is the next below the one above."""
    scores = single(rows)
    tied = [i for i in np.flatnonzero(scores[1:] == scores[:-1]).tolist() if rows[i].docid < rows[i + 1].docid]
    if not tied or not findings.add("ties", rows[tied[0] + 1].line, f"query {qid}", len(tied)):
        return list(rows)
    lowered, mended = scores.copy(), [rows[0]]
    for i in range(1, len(rows)):
        if lowered[i] >= lowered[i - 1]:
            lowered[i] = np.nextafter(lowered[i - 1], np.float32(-np.inf))
            mended.append(_scored(rows[i], float(lowered[i])))
        else:
            mended.append(rows[i])
    return mended


def single(rows: Sequence[Row]) -> np.ndarray:
    """Return (n,) float32 scores: what trec_eval compares."""
    return np.array([row.score for row in rows], dtype=np.float32)


def _scored(row: Row, score: float) -> Row:
    return row._replace(score=score, text=f"{score:.9g}")
