"""Search over codes: our kernels, decoding in tiles, and Faiss's GPU indexes, at the same sizes."""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch

from jpq_pyserini.bench.gpu.clock import Clock, OutOfTimeError
from jpq_pyserini.codec import ProductQuantizer, pack_codes
from jpq_pyserini.index.torch_search import best_by_codes, byte_codebook

D = 768


def points(clock: Clock, device: str, small: bool) -> Iterator[dict]:
    """Yield a measurement for each size, batch and way of searching; the most telling sizes come first.

    Each has ``ms`` (median milliseconds a batch), ``ms_a_query``, and for codes ``bandwidth_share``: the bytes of the
    codes over the time, as a share of what the card's memory gives (measured by a copy), and ``same_hits``: the share
    of the top k that the tiles find too.
    """
    sizes = [(20_000, 12)] if small else [(8_841_823, 96), (1_000_000, 96), (8_841_823, 32), (1_000_000, 32)]
    batches = (1, 4) if small else (32, 1, 512)
    bandwidth = memory_bandwidth(device)
    yield {"what": "memory bandwidth", "bytes_a_second": bandwidth}
    for documents, m in sizes:
        codec, codes = random_codes(documents, m)
        yield from _ours(clock, device, codec, codes, batches, 20 if small else 100, bandwidth)
        yield from _faiss(clock, documents, m, batches, 20 if small else 100)


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
    for batch in batches:
        queries = torch.from_numpy(random_queries(batch)).to(device, dtype)
        found = {}
        for way in ways:
            if way == "look_up" and batch > 32:
                continue  # as many passes over the codes as queries
            point = {"what": "codes", "way": way, "documents": len(codes), "bytes": held.shape[1], "batch": batch}

            def search(way=way, queries=queries):
                return best_by_codes(held, book, queries, k, scan=way)

            try:
                found[way] = search()[1]
                milliseconds = clock.milliseconds(search, device)
            except (RuntimeError, OutOfTimeError) as error:  # out of memory, a kernel that does not compile
                yield {**point, "failed": reason(error)}
                continue
            same = torch.isin(found[way] + _row_offsets(found[way]), found["tiles"] + _row_offsets(found["tiles"]))
            share = held.numel() / (milliseconds / 1000) / bandwidth
            yield {
                **point,
                **_times(milliseconds, batch),
                "bandwidth_share": share,
                "same_hits": same.float().mean().item(),
            }


def _row_offsets(rows: torch.Tensor) -> torch.Tensor:
    return torch.arange(len(rows), device=rows.device).unsqueeze(1) << 40  # so that queries are told apart


def _faiss(clock: Clock, documents: int, m: int, batches, k) -> Iterator[dict]:
    """Faiss's flat index in float16 and its IVF-PQ, on the GPU; without faiss-gpu a line that says so."""
    import faiss

    if not getattr(faiss, "get_num_gpus", lambda: 0)():
        yield {"what": "faiss-gpu", "documents": documents, "bytes": m, "failed": "this Faiss sees no GPU"}
        return
    resources = faiss.StandardGpuResources()
    makers: dict[str, Callable] = {"flat float16": lambda: _faiss_flat(resources, documents)}
    if m <= 96:
        makers["IVFPQ, 4096 lists, nprobe 32"] = lambda: _faiss_ivfpq(resources, documents, m)
    for name, make in makers.items():
        try:
            index = make()
        except (RuntimeError, OutOfTimeError) as error:
            yield {"what": "faiss-gpu", "way": name, "documents": documents, "bytes": m, "failed": reason(error)}
            continue
        for batch in batches:
            queries = random_queries(batch)
            point = {"what": "faiss-gpu", "way": name, "documents": documents, "bytes": m, "batch": batch}
            try:
                milliseconds = clock.milliseconds(partial(index.search, queries, k), "cuda")
                yield {**point, **_times(milliseconds, batch)}
            except (RuntimeError, OutOfTimeError) as error:
                yield {**point, "failed": reason(error)}
        del index  # makes room for the next


def _faiss_flat(resources, documents: int):
    import faiss

    config = faiss.GpuIndexFlatConfig()
    config.useFloat16 = True
    index = faiss.GpuIndexFlatIP(resources, D, config)
    rng = np.random.default_rng(2)
    block = rng.standard_normal((100_000, D)).astype(np.float32)
    for start in range(0, documents, len(block)):
        index.add(block[: documents - start])
    return index


def _faiss_ivfpq(resources, documents: int, m: int):
    import faiss

    config = faiss.GpuIndexIVFPQConfig()
    config.useFloat16LookupTables = True
    index = faiss.GpuIndexIVFPQ(resources, D, 4096, m, 8, faiss.METRIC_INNER_PRODUCT, config)
    rng = np.random.default_rng(3)
    block = rng.standard_normal((160_000, D)).astype(np.float32)
    index.train(block)
    for start in range(0, documents, len(block)):
        index.add(block[: documents - start])
    index.nprobe = 32
    return index


def _times(milliseconds: float, batch: int) -> dict:
    return {"ms": milliseconds, "ms_a_query": milliseconds / batch}


def reason(error: Exception) -> str:
    """The first line of what went wrong."""
    return (str(error) or type(error).__name__).splitlines()[0][:300]
