"""Seconds measured, and the few figures of them that all reports share."""

import contextlib
import sys
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Timing:
    """What many measurements of one operation come to.

    Attributes:
        median_ms, p95_ms: median and 95th percentile, in milliseconds a query.
        least_ms: the smallest, which is what a machine that nobody else uses would take.
        qps: queries a second at the median.
        samples: how many measurements there were.
    """

    median_ms: float
    p95_ms: float
    least_ms: float
    qps: float
    samples: int


def summary(seconds: Sequence[float]) -> Timing:
    """Summarise measured ``seconds`` a query; at least one."""
    median, p95, least = np.median(seconds), np.percentile(seconds, 95), np.min(seconds)
    return Timing(1e3 * float(median), 1e3 * float(p95), 1e3 * float(least), 1 / float(median), len(seconds))


def timed(function: Callable, *arguments) -> tuple[Any, float]:
    """Call ``function(*arguments)``; returns what it returned, and the seconds it took."""
    started = time.perf_counter()
    result = function(*arguments)
    return result, time.perf_counter() - started


def measure(function: Callable, arguments: Iterable, warm_up: int = 0, threads: int | None = None) -> list[float]:
    """Time ``function(argument)`` for one argument after the other.

    Args:
        function: what is timed.
        arguments: what it is called with, call by call.
        warm_up: so many calls at the start do not count, unless there are no others.
        threads: that Faiss and PyTorch may use meanwhile; None: as they are set.

    Returns:
        The seconds of each call that counts.
    """
    return measure_in_turns({None: function}, arguments, warm_up, threads)[None]


def measure_in_turns(
    functions: Mapping[Hashable, Callable],
    arguments: Iterable,
    warm_up: int = 0,
    threads: int | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[Any, list[float]]:
    """Time several functions, each argument with all of them in turn, so that all meet the same state of the machine.

    Args:
        functions: by name.
        arguments, warm_up, threads: as for :func:`measure`.
        clock: gives seconds; ``time.process_time`` counts those of this process only.

    Returns:
        Name to the seconds of each call that counts.
    """
    taken: dict[Any, list[float]] = {name: [] for name in functions}
    with use_threads(threads):
        for argument in arguments:
            for name, function in functions.items():
                started = clock()
                function(argument)
                taken[name].append(clock() - started)
    return {name: seconds[warm_up:] or seconds for name, seconds in taken.items()}


@contextlib.contextmanager
def use_threads(count: int | None) -> Iterator[None]:
    """Let Faiss and PyTorch, where they are loaded, compute with ``count`` threads meanwhile; None changes nothing."""
    pools = []  # of each library, how its threads are read and set
    if count is not None and (faiss := sys.modules.get("faiss")):
        pools.append((faiss.omp_get_max_threads, faiss.omp_set_num_threads))
    if count is not None and (torch := sys.modules.get("torch")):
        pools.append((torch.get_num_threads, torch.set_num_threads))
    before = [read() for read, _ in pools]
    try:
        for _, write in pools:
            write(count)
        yield
    finally:
        for (_, write), threads in zip(pools, before, strict=True):
            write(threads)
