"""Ray: a cluster is joined, or one started on this machine, and workers get pieces of work, again if they die."""

import contextlib
import os
import socket
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from jpq_pyserini.errors import JPQError, reason_of

_PATIENCE = 5.0  # seconds in which a machine has to answer
_OBJECT_STORE = 100 << 20  # bytes; between processes go only names, numbers and hits
RETRIES = 20  # of one piece of work whose workers die; more are no accident

_STARTED_HERE = Path(os.environ.get("RAY_TMPDIR", "/tmp"), "ray", "ray_current_cluster")  # what `auto` means

_INSTALL = "install it with `pip install 'jpq_pyserini[distributed]'`"


@contextlib.contextmanager
def connected(address: str | None, cpus: int) -> Iterator[Any]:
    """Join a Ray cluster and yield the module ``ray``; what was started or joined here is left at the end.

    Args:
        address: ``HOST:PORT`` of a cluster, or ``auto`` for the one that this machine is part of. None starts Ray on
            this machine alone, on loopback.
        cpus: how many this machine is taken to have at least, where Ray is started here.

    Raises:
        JPQError: Ray is not installed, or no cluster answers.
    """
    loaded = sys.modules.get("ray")
    before = loaded is not None and loaded.is_initialized()
    ray = join(address, cpus)
    try:
        yield ray
    finally:
        if not before:
            ray.shutdown()


def join(address: str | None, cpus: int):
    """Join as :func:`connected` does, and stay; does nothing where this process has joined already."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere
    if address is None or address.startswith(("127.", "localhost:")):  # read when Ray is imported: only use loopback
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    try:
        import ray
    except ImportError:
        remedy = f"{_INSTALL}, or make shards one at a time with `jpq index build --shard-id`"
        raise JPQError(f"Ray is not installed: {remedy}") from None
    if ray.is_initialized():
        return ray
    quiet: dict[str, Any] = {"configure_logging": False, "log_to_driver": False, "logging_level": "ERROR"}
    if address is None:
        here: dict[str, Any] = {"include_dashboard": False, "object_store_memory": _OBJECT_STORE}
        ray.init(address="local", num_cpus=max(cpus, os.cpu_count() or 1), **here, **quiet)
        return ray
    try:
        _check_answer(address)
        ray.init(address=address, **quiet)
    except (OSError, RuntimeError, ValueError) as error:  # ConnectionError is an OSError
        raise JPQError(
            f"no Ray cluster answers at {address} ({reason_of(error)}): start one with `ray start --head`, name the "
            "HOST:PORT that it prints, or leave --address out to use this machine alone"
        ) from None
    return ray


def _check_answer(address: str) -> None:
    if address == "auto" and _STARTED_HERE.is_file():  # Ray itself would ask one that is gone for minutes
        address = os.environ.get("RAY_ADDRESS") or _STARTED_HERE.read_text().strip()
    if address != "auto":
        host, _, port = address.rpartition(":")
        if not host or not port.isdecimal():
            raise ValueError("not HOST:PORT")
        socket.create_connection((host, int(port)), _PATIENCE).close()


def worker_count(ray, wanted: int | None, threads: int, gpus: float) -> int:
    """Return how many workers of so many CPUs and GPUs each to start: as many as ``wanted``, or as fit.

    Raises:
        JPQError: not one fits.
    """
    has = ray.cluster_resources()
    fit = int(has.get("CPU", 0) / threads)
    if gpus:
        fit = min(fit, int(has.get("GPU", 0) / gpus))
    if fit < 1:
        raise JPQError(
            f"the cluster has {has.get('CPU', 0):g} CPUs and {has.get('GPU', 0):g} GPUs, too few for one worker of "
            f"{threads} and {gpus:g}: give smaller --threads or --num-gpus, or add machines"
        )
    return min(wanted or fit, fit)


class Pool:
    """Workers that each do one piece of work at a time; dead ones are replaced, and their piece is done again.

    So no more is in flight than there are workers.

    Args:
        ray: the module.
        make: starts a worker, an actor.
        size: how many.
    """

    def __init__(self, ray, make: Callable[[], Any], size: int):
        self._ray, self._make = ray, make
        self._free: list[Any] = [None] * size  # None: to be started

    def run(self, pieces: Sequence[tuple[str, tuple]], done: Callable[[Any], object]) -> None:
        """Do all pieces, each a method and its arguments, and call ``done`` with each result as it comes.

        Raises:
            JPQError: a piece raised it, or its workers died again and again.
        """
        waiting, deaths = deque(enumerate(pieces)), Counter[int]()
        running: dict[Any, tuple[int, Any]] = {}
        try:
            while waiting or running:
                while waiting and self._free:
                    number, (method, arguments) = waiting.popleft()
                    worker = self._free.pop() or self._make()
                    running[getattr(worker, method).remote(*arguments)] = number, worker
                if not waiting:
                    self.release()  # a worker that waits for a place may have it
                (ready,), _ = self._ray.wait(list(running), num_returns=1)
                number, worker = running.pop(ready)
                try:
                    result = self._ray.get(ready)
                except self._ray.exceptions.RayTaskError as error:
                    raise error.cause from None
                except self._ray.exceptions.RayError as error:  # the worker died, or its machine
                    deaths[number] += 1
                    if deaths[number] > RETRIES:
                        raise JPQError(
                            f"{RETRIES} workers died of the same piece of work, {number} ({reason_of(error)}): give it "
                            "more memory, or fewer --workers a machine"
                        ) from None
                    end(self._ray, worker)
                    self._free.append(None)
                    waiting.appendleft((number, pieces[number]))
                else:
                    self._free.append(worker)
                    done(result)
        except BaseException:
            for _, worker in running.values():  # what they do is of no use any more
                end(self._ray, worker)
            raise

    def release(self) -> None:
        """End the workers that have nothing to do."""
        for worker in filter(None, self._free):
            end(self._ray, worker)
        self._free = [None] * len(self._free)


def end(ray, actor) -> None:
    """End an actor, whatever state it is in."""
    with contextlib.suppress(ray.exceptions.RayError, ValueError):
        ray.kill(actor)
