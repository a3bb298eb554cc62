"""Search over codes: our kernels, decoding in tiles, and other libraries on the GPU, at the same sizes."""

from collections.abc import Iterator
from functools import partial

import numpy as np
import torch

from jpq_pyserini.bench.gpu.clock import Clock
from jpq_pyserini.bench.gpu.others import SYSTEMS, Maker
from jpq_pyserini.codec import ProductQuantizer, pack_codes
from jpq_pyserini.index.scan_choice import fastest_scan
from jpq_pyserini.index.torch_search import best_by_codes, byte_codebook, can_scan

D = 768


def points(clock: Clock, device: str, small: bool) -> Iterator[dict]:
    """Yield a measurement for each size, batch and way of searching; the most telling sizes come first.

    Each has ``ms`` (median milliseconds a batch), ``ms_a_query``, and for codes ``bandwidth_share``: the bytes of the
    codes over the time, as a share of what the card's memory gives (measured by a copy), ``same_hits``: the share of
    the top k that the tiles find too, and ``chosen``: whether a search that is left to choose takes this way.
    """
    sizes = [(20_000, 12, 8), (2_000, 24, 4)] if small else [
        (8_841_823, 96, 8), (1_000_000, 96, 8), (8_841_823, 32, 8), (8_841_823, 64, 4), (1_000_000, 32, 8),
    ]  # fmt: skip
    batches = (1, 4) if small else (32, 1, 512)
    bandwidth = memory_bandwidth(device)
    yield {"what": "memory bandwidth", "bytes_a_second": bandwidth}
    k = 20 if small else 100
    done: set[tuple] = set()
    for documents, m, nbits in sizes:
        codec, codes = random_codes(documents, m, nbits)
        yield from _ours(clock, device, codec, codes, batches, k, bandwidth)
        if nbits == 8:
            yield from _others(clock, device, documents, m, batches, k, done)


def random_codes(documents: int, m: int, nbits: int = 8, seed: int = 0) -> tuple[ProductQuantizer, np.ndarray]:
    """Return a codec without rotation and codes (N, M) uint8, both random: they cost what real ones cost."""
    rng = np.random.default_rng(seed)
    centroids = (rng.standard_normal((m, 1 << nbits, D // m)) * 0.05).astype(np.float32)
    return ProductQuantizer(centroids, centroids), rng.integers(0, 1 << nbits, (documents, m), dtype=np.uint8)


def random_queries(batch: int, seed: int = 1) -> np.ndarray:
    """Return (B, D) float32."""
    return np.random.default_rng(seed).standard_normal((batch, D)).astype(np.float32)


def memory_bandwidth(device: str) -> float:
    """Bytes a second that a copy within the device's memory reads and writes."""
    source = torch.empty(1 << (28 if device.startswith("cuda") else 24), dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    milliseconds = Clock(60).milliseconds(lambda: target.copy_(source), device, repeats=5)
    return 2 * source.numel() / (milliseconds / 1000)


def _ours(clock: Clock, device: str, codec, codes, batches, k, bandwidth) -> Iterator[dict]:
    dtype = torch.float16 if device.startswith("cuda") else torch.float32
    book = torch.from_numpy(byte_codebook(codec)).to(device, dtype).contiguous()
    held = torch.from_numpy(pack_codes(codes, codec.nbits)).to(device)
    ways = ["tiles"] + (["multiply", "look_up"] if device.startswith("cuda") else [])
    size = {"what": "codes", "documents": len(codes), "bytes": held.shape[1], "nbits": codec.nbits}
    for batch in batches:
        queries = torch.from_numpy(random_queries(batch)).to(device, dtype)
        found = {}
        chosen = fastest_scan(held, book, queries, k) if can_scan(held) else "tiles"
        for way in ways:
            if way == "look_up" and batch > 32:
                continue  # as many passes over the codes as queries
            point = {**size, "way": way, "batch": batch}

            def search(way=way, queries=queries):
                return best_by_codes(held, book, queries, k, scan=way)

            try:
                found[way] = search()[1]
                milliseconds = clock.milliseconds(search, device)
            except Exception as error:  # out of time or memory, a kernel that does not compile
                yield {**point, "failed": reason(error)}
                continue
            share = held.numel() / (milliseconds / 1000) / bandwidth
            same = {"same_hits": _shared(found[way], found["tiles"])} if "tiles" in found else {}
            yield {**point, **_times(milliseconds, batch), "bandwidth_share": share, **same, "chosen": way == chosen}


def _shared(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Return the share of rows (B, k) that are among the expected ones of the same query."""
    queries = torch.arange(len(found), device=found.device).unsqueeze(1) << 40  # so that queries are told apart
    return torch.isin(found + queries, expected + queries).float().mean().item()


def _others(clock: Clock, device: str, documents: int, m: int, batches, k, done: set) -> Iterator[dict]:
    """The same search by every other library; one that is not there is listed with the reason.

    ``done`` collects flat indexes, which are the same for every number of bytes.
    """
    for library, makers_of in SYSTEMS.items():
        size = {"what": library, "documents": documents, "bytes": m}
        try:
            makers = makers_of(device, documents, m, D, k)
        except Exception as error:  # a library that does not load has its own reasons
            yield {**size, "failed": reason(error)}
            continue
        for way, make in makers.items():
            if (library, documents, way) in done:
                continue
            if way.startswith("flat"):
                done.add((library, documents, way))
            yield from _timed_system(clock, device, {**size, "way": way}, make, batches)
            if device.startswith("cuda"):
                torch.cuda.empty_cache()  # makes room for the next


def _timed_system(clock: Clock, device: str, point: dict, make: Maker, batches) -> Iterator[dict]:
    try:
        clock.left()
        search = make()
    except Exception as error:  # each library has its own types
        yield {**point, "failed": reason(error)}
        return
    for batch in batches:
        queries = torch.from_numpy(random_queries(batch)).to(device)
        try:
            milliseconds = clock.milliseconds(partial(search, queries), device)
            yield {**point, "batch": batch, **_times(milliseconds, batch)}
        except Exception as error:
            yield {**point, "batch": batch, "failed": reason(error)}


def _times(milliseconds: float, batch: int) -> dict:
    return {"ms": milliseconds, "ms_a_query": milliseconds / batch}


def reason(error: Exception) -> str:
    """The first line of what went wrong."""
    return (str(error) or type(error).__name__).splitlines()[0][:300]
