"""Codes: the nearest centroids of embeddings, and Faiss's packed form of them."""

import faiss
import numpy as np

# Distances made at once while assigning. Where D/M ≥ 16, Faiss makes a table of all N·M·K of them: 16,384 × 768 at M=48
# take 805 MB and 6.4 s so, 17 MB and 1.4 s in parts of this size, which stay in the cache.
_DISTANCES = 1 << 22


def assign(rotated: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """Return the nearest centroids by L2: rotated (N, D), centroids (M, K, D/M) → codes (N, M) uint8."""
    M, K, sub_dimension = centroids.shape
    quantizer = faiss.ProductQuantizer(M * sub_dimension, M, K.bit_length() - 1)
    faiss.copy_array_to_vector(np.ascontiguousarray(centroids).ravel(), quantizer.centroids)
    codes = np.empty((len(rotated), M), dtype=np.uint8)
    rows = max(1, _DISTANCES // (M * K))
    for start in range(0, len(rotated), rows):
        part = np.ascontiguousarray(rotated[start : start + rows])
        codes[start : start + rows] = unpack_codes(quantizer.compute_codes(part), M, quantizer.nbits)
    return codes


def unpack_codes(packed: np.ndarray, m: int, nbits: int) -> np.ndarray:
    """Turn Faiss's packed codes (N, bytes) uint8 into one code a byte: (N, M) uint8."""
    if nbits == 8:
        return packed
    pairs = np.empty((*packed.shape, 2), dtype=np.uint8)
    pairs[..., 0] = packed & 0x0F  # Faiss fills the low half of a byte first
    pairs[..., 1] = packed >> 4
    return pairs.reshape(len(packed), -1)[:, :m]


def pack_codes(codes: np.ndarray, nbits: int) -> np.ndarray:
    """Turn (N, M) uint8 codes into Faiss's packed form, (N, bytes) uint8: the inverse of :func:`unpack_codes`."""
    if nbits == 8:
        return np.ascontiguousarray(codes)
    if codes.shape[1] % 2:
        codes = np.pad(codes, ((0, 0), (0, 1)))
    return codes[:, 0::2] | (codes[:, 1::2] << 4)
