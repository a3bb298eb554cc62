"""Several index directories searched as one: the same hits, in the same order, as of the one they would merge to.

Each shard scores its own documents and gives its best; these are put in the order of :mod:`jpq_pyserini.index.exact`.
In two-stage search the shards first propose candidates, of which those that the whole index would have taken are scored
with their vectors. (The layouts with inverted lists are the exception: each shard visits lists of its own.)
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from jpq_pyserini.data.docids import JoinedDocids
from jpq_pyserini.errors import JPQError
from jpq_pyserini.index.attached import join_vectors
from jpq_pyserini.index.directory import IndexDirectory
from jpq_pyserini.index.exact import ExactIndex, best_first
from jpq_pyserini.index.record import FLAT_LAYOUT, IndexRecord, write_values
from jpq_pyserini.index.rescoring import default_candidates, scored_index
from jpq_pyserini.index.shards import check_shards
from jpq_pyserini.json_text import read_json
from jpq_pyserini.names import RECORD, SHARDS
from jpq_pyserini.storage import new_directory, sha256_of

#: Calls a method of :class:`~jpq_pyserini.index.exact.ExactIndex` on every shard, each with its own arguments.
Ask = Callable[[str, Sequence[tuple]], list[Any]]


class ShardedIndex:
    """Takes the place of a ``faiss.Index`` in a searcher, as :class:`~jpq_pyserini.index.exact.ExactIndex` does.

    Args:
        ask: reaches the shards, wherever they are.
        docids: of each shard, by row.
        dimension: D.
        rescored: whether the shards score candidates with their vectors.
        candidates: how many of all shards together; None: :func:`~jpq_pyserini.index.rescoring.default_candidates`.
    """

    def __init__(
        self,
        ask: Ask,
        docids: Sequence[Sequence[str]],
        dimension: int,
        rescored: bool = False,
        candidates: int | None = None,
    ):
        self._ask, self._rescored, self._number = ask, rescored, candidates
        self.docids, self.d = JoinedDocids(docids), dimension
        self.metric_type = faiss.METRIC_INNER_PRODUCT
        self._firsts = np.cumsum([0, *map(len, docids)])  # of each shard, and the number of all

    @property
    def ntotal(self) -> int:
        """N of all shards."""
        return int(self._firsts[-1])

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Search with queries (B, D) float32; returns scores (B, k) float32 and rows (B, k) int64, -1 for none."""
        if k < 1:
            raise JPQError(f"{k} hits: ask for at least 1")
        k = min(k, self.ntotal)
        found = self._rescore(queries, k) if self._rescored else self._of_all("search", queries, k)
        scores = np.full((len(queries), k), np.finfo(np.float32).min, dtype=np.float32)
        rows = np.full((len(queries), k), -1, dtype=np.int64)
        for b, (score, row) in enumerate(found):
            order = best_first(score, row, self.docids, k)
            scores[b, : len(order)], rows[b, : len(order)] = score[order], row[order]
        return scores, rows

    def search_and_reconstruct(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Search, and give the vectors of what was found: scores, rows, and (B, k, D) float32."""
        scores, rows = self.search(queries, k)
        vectors = np.zeros((*rows.shape, self.d), dtype=np.float32)
        vectors[rows >= 0] = self.vectors_of(rows[rows >= 0])
        return scores, rows, vectors

    def reconstruct(self, row: int) -> np.ndarray:
        """Rebuild one document: (D,) float32, unrotated."""
        return self.vectors_of(np.array([row]))[0]

    def vectors_of(self, rows: np.ndarray) -> np.ndarray:
        """Rebuild documents: (n,) int64 give (n, D) float32."""
        places = self._places(rows)
        vectors = np.empty((len(rows), self.d), dtype=np.float32)
        asked = [(rows[place] - first,) for place, first in zip(places, self._firsts[:-1], strict=True)]
        for place, theirs in zip(places, self._ask("vectors_of", asked), strict=True):
            vectors[place] = theirs
        return vectors

    def _of_all(self, method: str, queries: np.ndarray, k: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return, by query, scores and rows of what the shards found; rows are those of all shards."""
        found = self._ask(method, [(queries, k)] * (len(self._firsts) - 1))
        together = []
        for b in range(len(queries)):
            theirs = [(scores[b][rows[b] >= 0], rows[b][rows[b] >= 0]) for scores, rows in found]
            shifted = [rows + first for (_, rows), first in zip(theirs, self._firsts[:-1], strict=True)]
            together.append((np.concatenate([scores for scores, _ in theirs]), np.concatenate(shifted)))
        return together

    def _rescore(self, queries: np.ndarray, k: int) -> list[tuple[np.ndarray, np.ndarray]]:
        wanted = max(k, default_candidates(k) if self._number is None else self._number)
        chosen = []
        for scores, rows in self._of_all("propose", queries, wanted):
            chosen.append(rows[np.lexsort((rows, -scores))[:wanted]])
        places = [self._places(rows) for rows in chosen]
        asked = [
            (queries, [rows[place[shard]] - first for rows, place in zip(chosen, places, strict=True)])
            for shard, first in enumerate(self._firsts[:-1])
        ]
        found = self._ask("scores_of", asked)
        together = []
        for b, (rows, place) in enumerate(zip(chosen, places, strict=True)):
            scores = np.empty(len(rows), dtype=np.float32)
            for shard, theirs in enumerate(found):
                scores[place[shard]] = theirs[b]
            together.append((scores, rows))
        return together

    def _places(self, rows: np.ndarray) -> list[np.ndarray]:
        """Return, by shard, where in ``rows`` its own are."""
        shards = np.searchsorted(self._firsts, rows, side="right") - 1
        return [np.flatnonzero(shards == shard) for shard in range(len(self._firsts) - 1)]


def in_threads(indexes: Sequence[ExactIndex]) -> Ask:
    """Reach shards that are open in this process, in as many threads as Faiss was told to take."""

    def ask(method: str, arguments: Sequence[tuple]) -> list[Any]:
        threads = faiss.omp_get_max_threads()

        def answer(index: ExactIndex, given: tuple):
            if threads > 1:
                faiss.omp_set_num_threads(max(1, threads // len(indexes)))  # of this thread of the pool
            return getattr(index, method)(*given)

        if threads == 1:
            return [answer(index, given) for index, given in zip(indexes, arguments, strict=True)]
        with ThreadPoolExecutor(min(threads, len(indexes))) as pool:
            return list(pool.map(answer, indexes, arguments))

    return ask


def open_shards(
    directories: Sequence[str | os.PathLike], *, vectors: bool = True, mmap: bool = False, checked: bool = False
) -> list[IndexDirectory]:
    """Open index directories that are to be searched as one.

    Args:
        directories: in order.
        vectors, mmap: as :meth:`IndexDirectory.open` takes them.
        checked: they were found to fit together before, and have not changed.

    Raises:
        JPQError: one of them is damaged or uncompressed, they have different codecs, encoders or layouts, a docid
            comes twice, or only some have vectors.
    """
    shards = [IndexDirectory.open(path, codec=not checked, vectors=vectors, mmap=mmap) for path in directories]
    for shard in shards:
        if shard.record.layout == FLAT_LAYOUT:
            raise JPQError(f"{shard.path} is an uncompressed index, without codes: search it by itself")
    if not checked:
        check_shards(shards, "searched as one")
    if vectors:
        join_vectors([(shard.name, shard.vectors) for shard in shards])
    return shards


def search_shards(
    shards: Sequence[IndexDirectory], rescore: int | None = None, margin: int | None = None, proposer=lambda parts: None
) -> ShardedIndex:
    """Return what searches opened shards in this process; arguments as :func:`scored_index` takes them.

    ``proposer`` is called with each shard.
    """
    indexes = [scored_index(parts, rescore, margin, proposer(parts)) for parts in shards]
    rescored = rescore != 0 and (rescore is not None or bool(shards[0].record.vectors))
    docids = [parts.docids for parts in shards]
    return ShardedIndex(in_threads(indexes), docids, shards[0].record.dimension, rescored, rescore)


def write_shards(directories: Sequence[str | os.PathLike], output: str | os.PathLike) -> int:
    """Write a folder that stands for index directories, which stay where they are; returns their documents.

    Raises:
        JPQError: as :func:`open_shards`, or ``output`` exists.
    """
    shards = open_shards(directories)
    with new_directory(output) as partial:
        home = Path(os.path.realpath(output))
        entries = [
            {
                "path": os.path.relpath(os.path.realpath(shard.path), home),
                "documents": shard.record.count,
                "record_sha256": sha256_of(shard.path / RECORD),
            }
            for shard in shards
        ]
        write_values(partial / SHARDS, {"format_version": 1, "shards": entries})
    return sum(shard.record.count for shard in shards)


def shard_directories(index: str | os.PathLike | Sequence[str | os.PathLike]) -> list[Path] | None:
    """Return the index directories that a sequence, or a folder of :func:`write_shards`, names; None for one index.

    Raises:
        JPQError: the folder's file is damaged, or a shard is missing or was changed after it was written.
    """
    if not isinstance(index, str | os.PathLike):
        return [Path(each) for each in index]
    file = Path(index) / SHARDS
    if not file.is_file():
        return None
    remedy = "write it again with `python -m jpq_pyserini.index shards`"
    entries = read_json(file, remedy)
    try:
        named = [(Path(os.path.realpath(index)) / entry["path"], entry["record_sha256"]) for entry in entries["shards"]]
    except (KeyError, TypeError) as error:
        raise JPQError(f"{file} names no shards ({error!r}): {remedy}") from None
    for path, digest in named:
        IndexRecord.read(path)
        if sha256_of(path / RECORD) != digest:
            raise JPQError(f"{path} was changed after {file} was written: {remedy}")
    return [Path(os.path.normpath(path)) for path, _ in named]
