"""The codec: rotation, centroids and codes of a product quantizer (the paper's section 2.4).

One letter, one meaning, here and everywhere: D dimension, M sub-vectors, K centroids a sub-vector, N documents,
B queries.
"""

import dataclasses
import math
import os

import faiss
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from jpq_pyserini.codec.neighbours import Neighbourhood
from jpq_pyserini.codec.score_aware import improve_codes
from jpq_pyserini.errors import JPQError

_ROWS = 1 << 12  # embeddings rotated at once
_COSTS = {"anisotropy": float, "shrinkage": float, "neighbours": int}  # numbers that are kept if they are not 0
# Distances made at once while assigning. Where D/M ≥ 16, Faiss makes a table of all N·M·K of them: 16,384 × 768 at M=48
# take 805 MB and 6.4 s so, 17 MB and 1.4 s in parts of this size, which stay in the cache.
_DISTANCES = 1 << 22


@dataclasses.dataclass(frozen=True)
class ProductQuantizer:
    """A product quantizer with the two sets of centroids that JPQ needs.

    Attributes:
        centroids: (M, K, D/M) float32, c_ij of equation 7, as trained: what documents are *scored* with.
        assignment_centroids: (M, K, D/M) float32, as OPQ left them: what documents are *assigned* to, by L2. JPQ never
            recomputes codes (section 3.3), so a document added later must be coded as the first ones were.
        rotation: (D, D) float32, orthonormal, applied as ``x @ rotation.T`` before splitting (OPQ); None for plain PQ.
        anisotropy: h of :mod:`jpq_pyserini.codec.score_aware`: what an error along a document costs more than one
            across it when its codes are chosen; 0 takes the nearest centroids (equation 9).
        shrinkage: β of the same module: the share of its norm that an error along a document may have for nothing.
        neighbours: J of :mod:`jpq_pyserini.codec.neighbours`: towards how many neighbours errors cost more; 0: none.
    """

    centroids: np.ndarray
    assignment_centroids: np.ndarray
    rotation: np.ndarray | None = None
    anisotropy: float = 0.0
    shrinkage: float = 0.0
    neighbours: int = 0

    def __post_init__(self):
        M, K, sub_dimension = self.centroids.shape
        D = M * sub_dimension
        if self.assignment_centroids.shape != (M, K, sub_dimension):
            raise JPQError(
                f"assignment centroids of shape {self.assignment_centroids.shape} do not fit centroids of shape "
                f"{self.centroids.shape}: both come from one training, take them from one codec.safetensors"
            )
        if self.rotation is not None and self.rotation.shape != (D, D):
            raise JPQError(f"a rotation of shape {self.rotation.shape} does not fit centroids of dimension {D}")
        if not (math.isfinite(self.anisotropy) and self.anisotropy >= 0):
            raise JPQError(f"an anisotropy of {self.anisotropy}: it must be a number of at least 0")
        if not (math.isfinite(self.shrinkage) and self.shrinkage >= 0 and self.neighbours >= 0):
            raise JPQError(f"a shrinkage of {self.shrinkage} and {self.neighbours} neighbours: numbers of at least 0")
        if K not in (16, 256):
            raise JPQError(f"{K} centroids a sub-vector: only 16 (4 bits) and 256 (8 bits) are supported")
        for name in ("centroids", "assignment_centroids", "rotation"):
            array = getattr(self, name)
            if array is not None:
                object.__setattr__(self, name, np.ascontiguousarray(array, dtype=np.float32))

    @property
    def dimension(self) -> int:
        """D, the dimension of the embeddings."""
        return self.centroids.shape[0] * self.centroids.shape[2]

    @property
    def m(self) -> int:
        """M, the number of sub-vectors."""
        return self.centroids.shape[0]

    @property
    def k(self) -> int:
        """K, the number of centroids a sub-vector."""
        return self.centroids.shape[1]

    @property
    def nbits(self) -> int:
        """Bits a code: 8 for K=256, 4 for K=16."""
        return self.k.bit_length() - 1

    @property
    def bytes_per_document(self) -> int:
        """What a document costs in the index: M·nbits/8, rounded up."""
        return (self.m * self.nbits + 7) // 8

    def rotate(self, embeddings: np.ndarray) -> np.ndarray:
        """Rotate (B, D) embeddings into the space of the sub-vectors; returns (B, D) float32."""
        embeddings = self._checked(embeddings)
        return embeddings if self.rotation is None else embeddings @ self.rotation.T

    def encode(self, embeddings: np.ndarray, reference: Neighbourhood | None = None) -> np.ndarray:
        """Assign (N, D) embeddings to *assignment* centroids: the nearest (eq. 8, 9), or as ``anisotropy`` says.

        Args:
            embeddings: (N, D).
            reference: where ``neighbours`` are looked for; None: among ``embeddings``. They may be in it themselves.

        Returns:
            codes (N, M) uint8.
        """
        embeddings = self._checked(embeddings)
        if self.neighbours and reference is None and len(embeddings):
            reference = Neighbourhood(embeddings, self.neighbours)
        codes = np.empty((len(embeddings), self.m), dtype=np.uint8)
        for start in range(0, len(embeddings), _ROWS):
            part = embeddings[start : start + _ROWS]
            rotated = self.rotate(part)
            chosen = assign(rotated, self.assignment_centroids)
            if self.anisotropy or self.neighbours:
                across = self.rotate_directions(reference.across(part)) if self.neighbours else None
                costs = self.assignment_centroids, self.anisotropy, self.shrinkage, across
                chosen = improve_codes(rotated, chosen, *costs)
            codes[start : start + _ROWS] = chosen
        return codes

    def rotate_directions(self, across: np.ndarray) -> np.ndarray:
        """Rotate (n, J, D) directions as :meth:`rotate` does embeddings."""
        return across if self.rotation is None else across @ self.rotation.T

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Rebuild d† of equation 8 with the *trained* centroids: codes (N, M) → (N, D) float32, rotated back."""
        rotated = self.centroids[np.arange(self.m), codes].reshape(len(codes), self.dimension)
        return rotated if self.rotation is None else rotated @ self.rotation

    def lookup_tables(self, queries: np.ndarray) -> np.ndarray:
        """Return τ of equation 11 for (B, D) query embeddings: (B, M, K) float32, inner products with the centroids."""
        sub_vectors = self.rotate(queries).reshape(len(queries), self.m, -1)
        return np.matmul(sub_vectors.transpose(1, 0, 2), self.centroids.transpose(0, 2, 1)).transpose(1, 0, 2)

    def scores(self, queries: np.ndarray, codes: np.ndarray) -> np.ndarray:
        """Score every query against every document by equation 12.

        Args:
            queries: (B, D) unrotated query embeddings.
            codes: (N, M) uint8.

        Returns:
            (B, N) float32 of s†(q, d). A plain reference: B·N·M additions in numpy.
        """
        tables = self.lookup_tables(queries)
        scores = np.zeros((len(queries), len(codes)), dtype=np.float32)
        for i in range(self.m):
            scores += tables[:, i, codes[:, i]]
        return scores

    def with_centroids(self, centroids: np.ndarray) -> "ProductQuantizer":
        """Return the same codec scored with other (M, K, D/M) centroids; assignments stay."""
        return dataclasses.replace(self, centroids=centroids)

    def save(self, path: str | os.PathLike) -> None:
        """Write safetensors: both sets of centroids, and the other attributes if there are any."""
        tensors = {"centroids": self.centroids, "assignment_centroids": self.assignment_centroids}
        if self.rotation is not None:
            tensors["rotation"] = self.rotation
        for name in _COSTS:
            if getattr(self, name):
                tensors[name] = np.array([getattr(self, name)], dtype=np.float64)
        save_file(tensors, path)

    @classmethod
    def load(cls, path: str | os.PathLike) -> "ProductQuantizer":
        """Read what :meth:`save` wrote; :class:`JPQError` when the file is missing, truncated or something else."""
        try:
            tensors = load_file(path)
            costs = {name: as_(tensors[name][0]) for name, as_ in _COSTS.items() if name in tensors}
            return cls(tensors["centroids"], tensors["assignment_centroids"], tensors.get("rotation"), **costs)
        except (OSError, SafetensorError, KeyError) as error:
            raise JPQError(f"{path} is no readable codec ({error}): copy it again from where it was built") from error

    def _checked(self, embeddings: np.ndarray) -> np.ndarray:
        embeddings = np.asarray(embeddings, dtype=np.float32)
        if embeddings.ndim != 2 or embeddings.shape[1] != self.dimension:
            raise JPQError(
                f"embeddings of shape {embeddings.shape} do not fit a codec of dimension {self.dimension}: "
                "use the encoder that the codec was trained with"
            )
        return embeddings


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
