"""The processes that hold the shards of an index, one each, and how they are asked; no Pyserini in them."""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from jpq_pyserini.distributed.cluster import RETRIES, end
from jpq_pyserini.errors import JPQError, reason_of
from jpq_pyserini.index.directory import IndexDirectory
from jpq_pyserini.index.rescoring import scored_index

_PAUSE = 0.5  # seconds before a shard that was lost is asked again


class ShardServer:
    """Holds one shard; opened when it is first asked.

    Args:
        directory: the index directory.
        rescore: as :func:`~jpq_pyserini.index.rescoring.scored_index` takes it.
        threads: CPU threads.
    """

    def __init__(self, directory: str, rescore: int | None, threads: int):
        self._directory, self._rescore, self._threads = directory, rescore, threads
        self._index: Any = None

    def open(self) -> SimpleNamespace:
        """Open the shard; returns what :func:`~jpq_pyserini.index.shards.check_shards` looks at besides docids."""
        import faiss

        faiss.omp_set_num_threads(self._threads)
        parts = IndexDirectory.open(self._directory, vectors=self._rescore != 0)
        self._index = scored_index(parts, self._rescore)
        has = self._rescore != 0 and parts.vectors is not None
        return SimpleNamespace(name=parts.name, path=parts.path, codec=parts.codec, record=parts.record, vectors=has)

    def ask(self, method: str, *given) -> Any:
        """Call a method of the opened shard (:class:`~jpq_pyserini.index.exact.ExactIndex`)."""
        if self._index is None:
            self.open()
        return getattr(self._index, method)(*given)


class ShardServers:
    """The actors of all shards; what died is started again, wherever there is room, and asked again."""

    def __init__(self, ray, directories: Sequence[Path], rescore: int | None, threads: int):
        self._ray, self._threads = ray, threads
        self._given = [(os.path.abspath(directory), rescore, threads) for directory in directories]
        self._actors = [self._start(shard) for shard in range(len(self._given))]

    def open(self) -> list[Any]:
        """Open all shards at once; returns what :meth:`ShardServer.open` does of each."""
        return self._of_all("open", [()] * len(self._given))

    def __call__(self, method: str, arguments: Sequence[tuple]) -> list[Any]:
        """Ask every shard, as :data:`~jpq_pyserini.index.sharded.Ask` does."""
        return self._of_all("ask", [(method, *given) for given in arguments])

    def close(self) -> None:
        """End the actors."""
        for actor in self._actors:
            end(self._ray, actor)

    def _start(self, shard: int):
        spread = {"num_cpus": self._threads, "scheduling_strategy": "SPREAD"}
        return self._ray.remote(ShardServer).options(**spread).remote(*self._given[shard])

    def _of_all(self, method: str, arguments: Sequence[tuple]) -> list[Any]:
        asked = [getattr(actor, method).remote(*given) for actor, given in zip(self._actors, arguments, strict=True)]
        return [self._answer(shard, method, arguments[shard], answer) for shard, answer in enumerate(asked)]

    def _answer(self, shard: int, method: str, given: tuple, answer) -> Any:
        for _ in range(RETRIES):
            try:
                return self._ray.get(answer)
            except self._ray.exceptions.RayTaskError as error:
                raise error.cause from None
            except self._ray.exceptions.RayError as error:  # the actor died, or its machine
                reason = reason_of(error)
                end(self._ray, self._actors[shard])
                time.sleep(_PAUSE)
                self._actors[shard] = self._start(shard)
                answer = getattr(self._actors[shard], method).remote(*given)
        raise JPQError(
            f"the process that holds {self._given[shard][0]} died again and again ({reason}): give it memory"
        )
