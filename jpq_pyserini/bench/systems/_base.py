"""The interface of a system: what it is built from, what it answers, and what tables say of it."""

import importlib.util
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from jpq_pyserini.errors import JPQError
from jpq_pyserini.index.vectors import StoredVectors

#: The parts of the paper's table 1, with what it has elsewhere around them; tables are in this order.
KINDS = ("sparse", "exhaustive", "non-exhaustive", "compressed", "layout")
_LEAST = np.finfo(np.float32).min


@dataclass(frozen=True)
class Data:
    """What a system is built from.

    Attributes:
        count, dimension: N, D.
        bytes: bytes a document of the compressed systems.
        vectors: file of (N, D) float32 (``numpy.save``), or None for systems that need none.
        index: index directory, ours or Lucene's, or None: random codes.
        stored: vectors file of the same documents, for a second stage; None: there is none.
        docids: file of external ids in row order, for systems that know documents by those.
        seed: of everything random.
    """

    count: int
    dimension: int
    bytes: int
    vectors: str | None = None
    index: str | None = None
    stored: str | None = None
    docids: str | None = None
    seed: int = 42

    def embeddings(self) -> np.memmap:
        """Return the embeddings, (N, D) float32, as a memory map."""
        return np.load(str(self.vectors), mmap_mode="r")

    def sample(self, count: int) -> np.ndarray:
        """Return ``count`` embeddings drawn without replacement, in row order; all when there are fewer."""
        vectors = self.embeddings()
        if count >= len(vectors):
            return np.array(vectors)
        return vectors[np.sort(np.random.default_rng(self.seed).choice(len(vectors), count, replace=False))]


class SettingError(JPQError):
    """A value of a system's setting that this collection has no use for; results go without it."""


class Searcher:
    """A system that has been built.

    Attributes:
        bytes: size of what it keeps on disk, documents' texts and ids left out.
        earlier_seconds: of the building, what another system's building has done for this one already.
    """

    bytes: int
    earlier_seconds: float = 0.0

    def search(self, queries: Sequence, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Search for a batch of queries: (B, D) float32, or B texts for systems that take texts.

        Returns:
            Scores (B, k) float32, best first, higher is better, and rows (B, k) int64, -1 for none.
        """
        raise NotImplementedError

    def set(self, value) -> None:
        """Give the system's setting (nprobe, efSearch, …) a value; only for systems that declare one.

        Raises:
            SettingError: the value makes no sense for this collection.
        """
        raise JPQError(f"setting {value}: this system has none")

    def threads(self, count: int) -> None:
        """Let a batch be searched by ``count`` threads."""

    def rescored(self, vectors: StoredVectors, candidates: int) -> "Searcher":
        """Return the same search in two stages: its best ``candidates``, or k if that is more, by their vectors."""
        return Rescored(self, vectors, candidates)


class Rescored(Searcher):
    """A second stage for any system: the documents it proposes, in the order of their inner products.

    Args:
        searcher: proposes them.
        vectors: of which the rows proposed are read from disk.
        candidates: how many are read for a query, though never fewer than k.
    """

    def __init__(self, searcher: Searcher, vectors: StoredVectors, candidates: int):
        self._searcher, self._vectors, self._candidates, self.bytes = searcher, vectors, candidates, searcher.bytes

    def search(self, queries, k):
        _, proposed = self._searcher.search(queries, max(k, self._candidates))
        return padded((self._best(*each, k) for each in zip(queries, proposed, strict=True)), len(queries), k)

    def _best(self, query: np.ndarray, rows: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        rows = np.sort(rows[rows >= 0])  # as they lie on disk
        scores = self._vectors.read(rows) @ query
        order = np.argsort(-scores, kind="stable")[:k]
        return scores[order], rows[order]


class OneByOne(Searcher):
    """A system whose library answers one query at a time: a subclass says how, with :meth:`one`."""

    _pool: ThreadPoolExecutor | None = None

    def one(self, query: np.ndarray, k: int) -> tuple[Sequence[float], Sequence[int]]:
        """Search for one query, (D,) float32; returns scores and rows, at most k."""
        raise NotImplementedError

    def search(self, queries, k):
        run = map if self._pool is None or len(queries) == 1 else self._pool.map
        return padded(run(lambda query: self.one(query, k), queries), len(queries), k)

    def threads(self, count):
        if self._pool is not None:
            self._pool.shutdown()
        self._pool = ThreadPoolExecutor(count) if count > 1 else None


def padded(found: Iterable[tuple[Sequence[float], Sequence[int]]], batch: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Put what was found for each query, at most k, into scores (B, k) and rows (B, k), -1 for none."""
    scores, rows = np.full((batch, k), _LEAST, np.float32), np.full((batch, k), -1, np.int64)
    for b, (their_scores, their_rows) in enumerate(found):
        scores[b, : len(their_scores)], rows[b, : len(their_rows)] = their_scores, their_rows
    return scores, rows


@dataclass(frozen=True)
class System:
    """One system of the comparison.

    Attributes:
        name: what ``--systems`` calls it.
        title: what the paper calls it; points of one title are joined by a line in plots.
        kind: one of :data:`KINDS`.
        build: makes a :class:`Searcher` from :class:`Data`.
        takes: ``"vectors"``, embeddings; ``"codes"``, those of an index directory, or random ones; ``"texts"``.
        module: what must be importable.
        package: what ``pip`` calls that; the module's name when None.
        install: how to install it when ``pip install`` with the package is not all.
        parameters: what tables say behind the title, given the data.
        setting: what is varied, and its values for real data; None when nothing is.
        copies: how often the embeddings lie in memory while the system is built.
        trained_on: embeddings that building learns from, at most; None: all.
    """

    name: str
    title: str
    kind: str
    build: Callable[[Data], Searcher]
    takes: str = "vectors"
    module: str = "faiss"
    package: str | None = None
    install: str | None = None
    parameters: Callable[[Data], str] | None = None
    setting: tuple[str, tuple] | None = None
    copies: float = 1.0
    trained_on: int | None = 0

    @property
    def rescorable(self) -> bool:
        """Whether its scores are approximate, so that the real vectors on disk can mend them."""
        return self.kind in ("compressed", "layout")

    def label(self, data: Data) -> str:
        """Return title and parameters, as tables show them."""
        return self.title if self.parameters is None else f"{self.title}, {self.parameters(data)}"

    def missing_requirement(self) -> str | None:
        """Return what to install first; None when nothing is missing."""
        if importlib.util.find_spec(self.module) is not None:
            return None
        return f"not installed ({self.install or f'pip install {self.package or self.module}'})"

    def memory(self, data: Data) -> int:
        """Estimate the bytes of memory that building takes."""
        if self.takes == "vectors":
            return int(data.count * (4 * data.dimension * self.copies + 300))
        return data.count * data.bytes * 5 if self.takes == "codes" else 0
