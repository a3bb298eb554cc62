"""Which way of scanning codes is the fastest on this GPU: measured once for a shape, then remembered.

Reckoning would not do: what wins depends on the card, on M, on the number of bits and on the batch.
"""

import time

from torch import Tensor

from jpq_pyserini.index.torch_search import best_by_codes

TILES = "tiles"
WAYS = ("multiply", "look_up", TILES)
_SAMPLE = 1 << 20  # documents that are searched to measure: less than a millisecond each time on a GPU of today
_REPEATS = 3  # after one that compiles the kernel
_MOST = 32  # queries for which `look_up` is tried: it reads the codes once for each

_chosen: dict[tuple, str] = {}


def fastest_scan(codes: Tensor, book: Tensor, queries: Tensor, k: int) -> str:
    """Return one of :data:`WAYS`; a kernel that fails on this machine is not chosen.

    Args:
        codes, book, queries, k: as for :func:`~jpq_pyserini.index.torch_search.best_by_codes`. What was measured holds
            for the same device, codebook shape and dtype, and for batches and collections of about the same size.
    """
    sample = codes[:_SAMPLE]
    shape = (codes.device, tuple(book.shape), book.dtype, (len(queries) - 1).bit_length(), len(sample).bit_length())
    if shape not in _chosen:
        ways = [way for way in WAYS if way != "look_up" or len(queries) <= _MOST]
        seconds = {way: _seconds(way, sample, book, queries, k) for way in ways}
        fastest = min(seconds, key=lambda way: seconds[way])
        _chosen[shape] = fastest if seconds[fastest] < float("inf") else TILES
    return _chosen[shape]


def _seconds(way: str, codes: Tensor, book: Tensor, queries: Tensor, k: int) -> float:
    """Return the least of a few searches; infinity where the way fails."""
    taken = []
    try:
        for _ in range(1 + _REPEATS):
            started = time.perf_counter()
            best_by_codes(codes, book, queries, k, scan=way)[1].cpu()  # waits for the device
            taken.append(time.perf_counter() - started)
    except Exception:  # Triton and its compilers have their own types; what fails here is not needed
        return float("inf")
    return min(taken[1:])
