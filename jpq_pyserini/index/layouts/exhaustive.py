"""The layouts that score every document: ``pq`` and ``fastscan``, and how to read single codes out of them."""

import contextlib
import ctypes
import sys

import faiss
import numpy as np

from jpq_pyserini.codec.codes import pack_codes, unpack_codes
from jpq_pyserini.codec.quantizer import ProductQuantizer

BLOCK = 32  # documents in a block of the fast-scan layouts
# Faiss's search_implem: 15 scans one query after another and keeps candidates in a reservoir. Measured (1M × 96 bytes,
# one thread): for one query as fast as any other, for 64 at once 2.4 ms a query, where the default takes 3.8.
_IMPLEMENTATION = 15
# Faiss interleaves the two halves of a block (perm0 in faiss/impl/fast_scan/pq4_fast_scan.cpp): byte of document r.
_BYTE_OF = np.array([2 * r if r < 8 else 2 * (r - 8) + 1 for r in range(16)])

_HUGE_PAGE = 1 << 21
_MADV_COLLAPSE = 25  # Linux 6.1; older ones refuse, which is no loss


def copy_centroids(centroids: np.ndarray, quantizer: faiss.ProductQuantizer) -> None:
    """Overwrite the centroids of a Faiss quantizer with (M, K, D/M) float32."""
    faiss.copy_array_to_vector(np.ascontiguousarray(centroids, dtype=np.float32).ravel(), quantizer.centroids)


def build_pq(codec: ProductQuantizer, codes: np.ndarray) -> faiss.IndexPQ:
    """Build the ``pq`` layout over codes (N, M), without the rotation.

    Faiss scores with one lookup table a query and float sums: exactly equations 11 and 12.
    """
    index = faiss.IndexPQ(codec.dimension, codec.m, codec.nbits, faiss.METRIC_INNER_PRODUCT)
    index.is_trained = True
    copy_centroids(codec.centroids, index.pq)
    faiss.copy_array_to_vector(pack_codes(codes, codec.nbits).ravel(), index.codes)
    index.ntotal = len(codes)
    return index


def to_fastscan(index: faiss.IndexPQ) -> faiss.IndexPQFastScan:
    """Rearrange 4-bit codes into blocks of 32 documents; the file keeps the fastest implementation's number."""
    fast = faiss.IndexPQFastScan(index, BLOCK)
    fast.implem = _IMPLEMENTATION
    return fast


def use_huge_pages(index: faiss.IndexPQFastScan) -> None:
    """Ask Linux to keep the codes in huge pages, which makes a scan some 10% faster; elsewhere nothing happens.

    Processors prefetch within a page; with 4 kB pages every 43rd document begins a new one. Takes 0.1 s for 100 MB.
    """
    start, end = int(index.codes.get()), int(index.codes.get()) + index.codes.size()
    start, end = -(-start // _HUGE_PAGE) * _HUGE_PAGE, end // _HUGE_PAGE * _HUGE_PAGE
    if sys.platform == "linux" and start < end:
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), _MADV_COLLAPSE)


class PlainCodes:
    """Codes of an ``IndexPQ``: ``codes[rows]`` → (n, M) uint8; a view of Faiss's memory, mapped files included."""

    def __init__(self, index: faiss.IndexPQ):
        self._index = index
        self._m, self._nbits = index.pq.M, index.pq.nbits
        size = index.ntotal * index.pq.code_size
        view = faiss.rev_swig_ptr(index.codes.data(), size) if size else np.empty(0, np.uint8)
        self._codes = view.reshape(index.ntotal, index.pq.code_size)

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        return unpack_codes(self._codes[rows], self._m, self._nbits)


class BlockCodes:
    """Codes of an ``IndexPQFastScan``: ``codes[rows]`` → (n, M) uint8, picked out of the packed blocks."""

    def __init__(self, index: faiss.IndexPQFastScan):
        self._index, self._m = index, index.pq.M
        size = index.codes.size()
        view = faiss.rev_swig_ptr(index.codes.get(), size) if size else np.empty(0, np.uint8)
        self._blocks = view.reshape(-1, index.M2, BLOCK // 2)

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        return pick_from_blocks(self._blocks, rows, self._m)


def pick_from_blocks(blocks: np.ndarray, rows: np.ndarray, m: int) -> np.ndarray:
    """Read codes from fast-scan blocks.

    Args:
        blocks: (blocks, M rounded up to even, 16) uint8. A byte holds the 4-bit codes of documents r and r + 16 of its
            block, the first in the low half.
        rows: (n,) int64, counted through the blocks.
        m: M.

    Returns:
        (n, M) uint8.
    """
    block, byte, half = place_in_block(rows)
    return (blocks[block, :m, byte] >> (4 * half[:, None])) & 0x0F


def place_in_block(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the block of each row, the byte of 16, and which half of it: 0 the low one, 1 the high one, as uint8."""
    block, place = np.divmod(rows, BLOCK)
    half, place = np.divmod(place, BLOCK // 2)
    return block, _BYTE_OF[place], half.astype(np.uint8)
