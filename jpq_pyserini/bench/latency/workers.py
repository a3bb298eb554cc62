"""Systems in processes of their own: memory is measured apart, and timings can be taken in turns."""

import gc
import multiprocessing
from collections.abc import Sequence
from importlib import import_module

import numpy as np

from jpq_pyserini.bench import procfs
from jpq_pyserini.bench.systems import SYSTEMS, Data
from jpq_pyserini.errors import JPQError, reason_of
from jpq_pyserini.index.vectors import StoredVectors
from jpq_pyserini.timing import measure, timed


class Worker:
    """A system in a child process.

    Args:
        system: a key of ``SYSTEMS``.
        data: what it is built from.
        queries: (Q, D) float32, or Q texts.

    Attributes:
        facts: ``bytes`` and ``build_seconds``.

    Raises:
        JPQError: it could not be built; the message has the reason.
    """

    def __init__(self, system: str, data: Data, queries: np.ndarray | Sequence[str]):
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, system, data, queries), daemon=True)
        self._process.start()
        theirs.close()
        self._system = system
        self.facts = self._answer()

    def ask(self, what: str, *arguments):
        """Call a method of the child's :class:`_Server` and wait for what it returns.

        Raises:
            JPQError: what the child raised, or its end; :class:`SettingError` stays one.
        """
        self._pipe.send((what, arguments))
        return self._answer()

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        self._process.join(10)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def _answer(self):
        try:
            answer = self._pipe.recv()
        except (EOFError, OSError):
            self._process.join(10)
            raise JPQError(
                f"{self._system}: its process ended with status {self._process.exitcode}: too little memory, perhaps"
            ) from None
        if isinstance(answer, JPQError):
            raise type(answer)(f"{self._system}: {answer}")
        return answer


class _Server:
    def __init__(self, system: str, data: Data, queries: np.ndarray | Sequence[str]):
        import_module("faiss")  # before memory is first measured
        self._before = procfs.resident()
        self._queries = queries if isinstance(queries, np.ndarray) else np.array(queries, dtype=object)
        self._vectors = StoredVectors.open(data.stored) if data.stored else None
        self._next = 0
        self._system, seconds = timed(SYSTEMS[system].build, data)
        self._system.threads(1)
        self._searcher, self._stages = self._system, {0: self._system}
        seconds += self._system.earlier_seconds
        self.facts = {"bytes": self._system.bytes, "build_seconds": round(seconds, 1)}
        gc.collect()  # what building took and gave back does not count

    def set(self, value, candidates: int) -> None:
        """Give the system's setting a value, None for none; score so many candidates again, 0 for none."""
        if value is not None:
            self._system.set(value)
        if candidates not in self._stages:
            self._stages[candidates] = self._system.rescored(self._vectors, candidates)
        self._searcher = self._stages[candidates]
        procfs.start_peak()

    def memory(self) -> int:
        """Return the most memory that it took since it was last set, its vectors on disk left out, in bytes."""
        return procfs.peak() - self._before

    def time(self, batch: int, threads: int, k: int, repeat: int, cold: bool = False) -> list[float]:
        """Search ``repeat`` batches of the next queries; returns seconds a query, one number a batch.

        ``cold``: before each, the vectors on disk are dropped from the page cache.
        """
        self._system.threads(threads)
        places = np.arange(self._next, self._next + repeat * batch) % len(self._queries)
        self._next += repeat * batch
        batches = [self._queries[part] for part in places.reshape(repeat, batch)]
        taken = []
        for each in batches:
            if cold and self._vectors is not None:
                self._vectors.drop_from_cache()
            taken += measure(lambda queries: self._searcher.search(queries, k), [each])
        return [seconds / batch for seconds in taken]

    def hits(self, k: int, threads: int) -> tuple[np.ndarray, np.ndarray]:
        """Return what is found for all queries: scores (Q, k) float32 and rows (Q, k) int64."""
        self._system.threads(threads)
        found = [self._searcher.search(self._queries[i : i + 64], k) for i in range(0, len(self._queries), 64)]
        scores, rows = zip(*found, strict=True)
        return np.concatenate(scores).astype(np.float32), np.concatenate(rows).astype(np.int64)


def _serve(pipe, system: str, data: Data, queries: np.ndarray) -> None:
    try:
        server = _Server(system, data, queries)
        pipe.send(server.facts)
    except Exception as error:
        pipe.send(_told(error))
        return
    while True:
        try:
            what, arguments = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            pipe.send(getattr(server, what)(*arguments))
        except Exception as error:
            pipe.send(_told(error))


def _told(error: Exception) -> JPQError:
    """Return the error as one with a single line."""
    if isinstance(error, JPQError):
        return error
    return JPQError(f"{type(error).__name__}: {reason_of(error)}")
