"""Where a run's time goes."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class Stopwatch:
    """Wall time of a run, in all and by phase; continues where a stopped run's checkpoint left off.

    Attributes:
        seconds: by phase, in the order in which phases began.
        device: waited for at both ends of a phase, because a GPU works behind Python's back.
    """

    def __init__(self):
        self.seconds: dict[str, float] = {}
        self.device = torch.device("cpu")
        self._earlier, self._started = 0.0, time.perf_counter()
        self._under_way: tuple[str, float] | None = None

    @property
    def total(self) -> float:
        """Seconds since the stopwatch was made, and those of the runs it continues from."""
        return self._earlier + time.perf_counter() - self._started

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the time spent in a ``with`` block to ``seconds[name]``; phases do not nest."""
        self._wait()
        self._under_way = name, time.perf_counter()
        try:
            yield
        finally:
            self._wait()
            self.seconds, self._under_way = self.so_far(), None

    def so_far(self) -> dict[str, float]:
        """Seconds by phase, with those of the phase that is under way."""
        if self._under_way is None:
            return dict(self.seconds)
        name, started = self._under_way
        return self.seconds | {name: self.seconds.get(name, 0.0) + time.perf_counter() - started}

    def state(self) -> dict:
        """What :meth:`resume` takes; JSON."""
        return {"seconds": self.so_far(), "total": self.total}

    def resume(self, state: dict) -> None:
        """Add the time of a stopped run, up to its last checkpoint."""
        self._earlier += state["total"]
        for name, seconds in state["seconds"].items():
            self.seconds[name] = self.seconds.get(name, 0.0) + seconds

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
