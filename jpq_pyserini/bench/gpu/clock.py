"""The time a part of the run has, and how an operation on a GPU is timed."""

import statistics
import time
from collections.abc import Callable

from jpq_pyserini.timing import measure


class OutOfTimeError(Exception):
    """The part's time is over."""


class Clock:
    """The time of one part.

    Args:
        seconds: that it has from now on.
    """

    def __init__(self, seconds: float):
        self._ends = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds left; raises :class:`OutOfTimeError` when there are none."""
        left = self._ends - time.monotonic()
        if left <= 0:
            raise OutOfTimeError("the time of this part is over")
        return left

    def is_over(self) -> bool:
        """Tell whether no time is left."""
        return time.monotonic() >= self._ends

    def milliseconds(self, function: Callable, device: str, repeats: int = 10) -> float:
        """Median milliseconds of ``function()``, its work on the GPU included; fewer repeats where time is short.

        Raises:
            OutOfTimeError: there is none left.
        """

        def once(_=None):
            function()
            if device.startswith("cuda"):
                import torch

                torch.cuda.synchronize()

        left = self.left()
        first = measure(once, [None, None], warm_up=1)[0]  # kernels are compiled by the first call
        count = max(1, min(repeats, int(0.2 * left / max(first, 1e-6))))
        return 1000 * statistics.median(measure(once, [None] * count))
