"""The layouts with inverted lists: ``ivf`` and ``ivf-fastscan``. Codes are those of the collection, not residuals."""

import ctypes
from dataclasses import dataclass, field

import faiss
import numpy as np
from tqdm import tqdm

from jpq_pyserini.codec.codes import pack_codes, unpack_codes
from jpq_pyserini.codec.quantizer import ProductQuantizer
from jpq_pyserini.errors import JPQError
from jpq_pyserini.index.layouts.exhaustive import BLOCK, copy_centroids, place_in_block

_ROWS = 1 << 14  # documents decoded at once
_SAMPLE_A_LIST = 256  # Faiss's k-means uses no more
_ITERATIONS = 20


@dataclass(frozen=True)
class Coarse:
    """What an inverted file needs besides codes.

    Attributes:
        centroids: (nlist, D) float32, in rotated space. A document is in the list of the nearest one by L2; a query
            visits the ``nprobe`` lists whose centroids have the largest inner product with it.
        nprobe: lists a query visits.
        note: how the centroids were made, for ``jpq.json``.
    """

    centroids: np.ndarray
    nprobe: int
    note: dict = field(default_factory=dict)

    def __post_init__(self):
        if not 1 <= self.nprobe <= len(self.centroids):
            raise JPQError(f"nprobe {self.nprobe} with {len(self.centroids)} lists: must be from 1 to that number")


def train_coarse(
    codec: ProductQuantizer,
    codes: np.ndarray,
    nlist: int | None = None,
    nprobe: int | None = None,
    embeddings: np.ndarray | None = None,
    seed: int = 42,
) -> Coarse:
    """Find coarse centroids by k-means.

    Args:
        codec: decodes documents.
        codes: (N, M) uint8; decoded documents are clustered, as the query will meet them, …
        nlist: number of lists; None: 4·√N, but at least 39 documents a list.
        nprobe: lists a query visits; None: a 16th of them.
        embeddings: (n, D) … unless these are given, unrotated.
        seed: of the sample and of k-means.
    """
    N = len(codes)
    if nlist is None:
        nlist = max(1, min(round(4 * N**0.5), N // 39))
    if not 1 <= nlist <= N:
        raise JPQError(f"nlist {nlist} for {N:,} documents: must be from 1 to that number")
    source = codes if embeddings is None else embeddings
    rows = np.random.default_rng(seed).permutation(len(source))[: nlist * _SAMPLE_A_LIST]
    rows.sort()
    if embeddings is None:
        sample = np.concatenate(
            [codec.decode(codes[part], rotated=True) for part in np.array_split(rows, len(rows) // _ROWS + 1)]
        )
    else:
        sample = codec.rotate(np.asarray(embeddings[rows]))
    means = faiss.Kmeans(codec.dimension, nlist, niter=_ITERATIONS, seed=seed, min_points_per_centroid=1)
    means.train(np.ascontiguousarray(sample))
    note = {"coarse": "embeddings" if embeddings is not None else "decoded documents", "seed": seed}
    return Coarse(means.centroids.reshape(nlist, -1), nprobe or max(1, nlist // 16), note)


def build_ivf(
    codec: ProductQuantizer,
    codes: np.ndarray,
    coarse: Coarse,
    progress: bool = False,
    known: np.ndarray | None = None,
) -> faiss.IndexIVFPQ:
    """Build the ``ivf`` layout over codes (N, M), without the rotation; documents of a list keep their order.

    ``known`` (n,) int64 are the lists of the first n documents, where they have been found before.
    """
    nlist = len(coarse.centroids)
    flat = faiss.IndexFlatIP(codec.dimension)
    flat.add(np.ascontiguousarray(coarse.centroids, dtype=np.float32))
    index = faiss.IndexIVFPQ(flat, codec.dimension, nlist, codec.m, codec.nbits, faiss.METRIC_INNER_PRODUCT)
    index.by_residual = False
    index.is_trained = True
    copy_centroids(codec.centroids, index.pq)
    lists = _assign(codec, codes, coarse.centroids, progress, known)
    order = np.argsort(lists, kind="stable")
    bounds = np.searchsorted(lists[order], np.arange(nlist + 1))
    for number in range(nlist):
        ids = order[bounds[number] : bounds[number + 1]].astype(np.int64)
        if len(ids):
            packed = np.ascontiguousarray(pack_codes(codes[ids], codec.nbits))
            index.invlists.add_entries(number, len(ids), faiss.swig_ptr(ids), faiss.swig_ptr(packed))
    index.ntotal = len(codes)
    index.nprobe = coarse.nprobe
    _own(index, flat)
    return index


def to_fastscan(index: faiss.IndexIVFPQ) -> faiss.IndexIVFPQFastScan:
    """Rearrange the 4-bit codes of each list into blocks of 32 documents."""
    fast = faiss.IndexIVFPQFastScan(index, BLOCK)
    fast.nprobe = index.nprobe
    index.own_fields = False
    fast.own_fields = True
    return fast


def coarse_inside(index: faiss.IndexIVF) -> Coarse:
    """Return the coarse centroids and nprobe of an inverted file; the note is in ``jpq.json``."""
    flat = faiss.downcast_index(index.quantizer)
    return Coarse(flat.reconstruct_n(0, flat.ntotal), index.nprobe)


def lists_inside(index: faiss.IndexIVF) -> np.ndarray:
    """Return the list of each row, (N,) int64."""
    lists = np.empty(index.ntotal, dtype=np.int64)
    for number in range(index.nlist):
        size = index.invlists.list_size(number)
        if size:
            lists[faiss.rev_swig_ptr(index.invlists.get_ids(number), size)] = number
    return lists


def released(index: faiss.IndexIVFPQ) -> tuple[np.ndarray, np.ndarray]:
    """Take an inverted file of one list apart, as the authors of JPQ wrote theirs, with Faiss's residual coding.

    Faiss codes the difference to the one coarse centroid: score = ⟨q, coarse⟩ + Σ τ. Adding that centroid to those of
    the sub-vectors gives the same codes and the same scores without it.

    Returns:
        The centroids (M, K, D/M), with the coarse one added, and the codes (N, M), in the order of the ids.

    Raises:
        JPQError: the ids are not 0 to N-1.
    """
    pq, count = index.pq, index.ntotal
    centroids = faiss.vector_to_array(pq.centroids).reshape(pq.M, pq.ksub, pq.dsub)
    if index.by_residual:
        centroids = centroids + index.quantizer.reconstruct(0).reshape(pq.M, 1, pq.dsub)
    ids = faiss.rev_swig_ptr(index.invlists.get_ids(0), count)
    if not np.array_equal(np.sort(ids), np.arange(count)):
        raise JPQError(f"the ids are not 0 to {count - 1:,}, so rows of the collection are unknown: fetch it again")
    return centroids, ListCodes(index)[np.arange(count)]


class ListCodes:
    """Codes of an ``IndexIVFPQ``: ``codes[rows]`` → (n, M) uint8.

    Needs 4 bytes a document to find a row in its list, made at the first use.
    """

    def __init__(self, index: faiss.IndexIVF):
        self._index, self._m, self._nbits = index, index.pq.M, index.pq.nbits
        self._map: tuple[np.ndarray, ...] | None = None

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        if self._map is None:  # assigned at once, so that another thread finds all of it or makes its own
            self._map = (*_places(self._index), *_memory_of_lists(self._index, self._bytes_of_list))
        starts, places, memory, begins = self._map
        found = places[rows].astype(np.int64)
        lists = np.searchsorted(starts, found, side="right") - 1
        return self._pick(memory, begins[lists], found - starts[lists])

    def _bytes_of_list(self, size: int) -> int:
        return size * self._index.code_size

    def _pick(self, memory: np.ndarray, begins: np.ndarray, offsets: np.ndarray) -> np.ndarray:
        """Read the codes of the documents at ``offsets`` (n,) of lists that begin at ``begins`` (n,) in memory."""
        width = self._index.code_size
        packed = memory.take((begins + offsets * width)[:, None] + np.arange(width))
        return unpack_codes(packed, self._m, self._nbits)


class BlockListCodes(ListCodes):
    """Codes of an ``IndexIVFPQFastScan``: ``codes[rows]`` → (n, M) uint8, picked out of the blocks of each list."""

    def _bytes_of_list(self, size: int) -> int:
        return -(-size // BLOCK) * self._index.M2 * BLOCK // 2

    def _pick(self, memory: np.ndarray, begins: np.ndarray, offsets: np.ndarray) -> np.ndarray:
        block, byte, half = place_in_block(offsets)
        first = begins + block * (self._index.M2 * BLOCK // 2) + byte
        pairs = memory.take(first[:, None] + np.arange(0, self._m * BLOCK // 2, BLOCK // 2))
        return (pairs >> (4 * half[:, None])) & 0x0F


def _memory_of_lists(index: faiss.IndexIVF, bytes_of_list) -> tuple[np.ndarray, np.ndarray]:
    """Return one uint8 view from the first list's codes to the last one's, and where each list begins in it, (nlist,).

    Lists lie anywhere in memory. Reading a query's candidates list by list would take a Python loop over some 50 lists;
    in one view it takes one ``take``. What lies between the lists is never touched.
    """
    sizes = [index.invlists.list_size(number) for number in range(index.nlist)]
    filled = [number for number, size in enumerate(sizes) if size]
    begins = np.zeros(index.nlist, dtype=np.int64)
    begins[filled] = [int(index.invlists.get_codes(number)) for number in filled]
    if not filled:
        return np.empty(0, np.uint8), begins
    first = int(begins[filled].min())
    end = max(int(begins[number]) + bytes_of_list(sizes[number]) for number in filled)
    return np.frombuffer((ctypes.c_uint8 * (end - first)).from_address(first), np.uint8), begins - first


def _places(index: faiss.IndexIVF) -> tuple[np.ndarray, np.ndarray]:
    """Return where each list starts, (nlist,) int64, and each row's place when the lists follow each other, (N,)."""
    sizes = np.array([index.invlists.list_size(number) for number in range(index.nlist)], dtype=np.int64)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    places = np.empty(index.ntotal, dtype=np.uint32 if index.ntotal < 1 << 32 else np.int64)
    for number in np.flatnonzero(sizes):
        ids = faiss.rev_swig_ptr(index.invlists.get_ids(int(number)), int(sizes[number]))
        places[ids] = np.arange(starts[number], starts[number] + sizes[number])
    return starts, places


def _assign(codec, codes: np.ndarray, centroids: np.ndarray, progress: bool, known: np.ndarray | None) -> np.ndarray:
    """Return the list of each document, (N,) int64: the nearest centroid of the decoded document by L2."""
    nearest = faiss.IndexFlatL2(codec.dimension)
    nearest.add(np.ascontiguousarray(centroids, dtype=np.float32))
    lists = np.empty(len(codes), dtype=np.int64)
    found = 0 if known is None else len(known)
    if known is not None:
        lists[:found] = known
    with tqdm(total=len(codes) - found, desc="assign", unit="doc", unit_scale=True, disable=not progress) as bar:
        for start in range(found, len(codes), _ROWS):
            part = codes[start : start + _ROWS]
            lists[start : start + _ROWS] = nearest.search(codec.decode(part, rotated=True), 1)[1][:, 0]
            bar.update(len(part))
    return lists


def _own(index: faiss.IndexIVF, quantizer: faiss.Index) -> None:
    """Let the inverted file free its quantizer, so that Python's garbage collection does not."""
    index.own_fields = True
    quantizer.this.disown()
