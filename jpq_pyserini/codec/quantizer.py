"""The codec: rotation, centroids and codes of a product quantizer (the paper's section 2.4).

One letter, one meaning, here and everywhere: D dimension, M sub-vectors, K centroids a sub-vector, N documents,
B queries.
"""

import dataclasses
import os

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from jpq_pyserini.codec.assignment import Nearest, ScoreAware
from jpq_pyserini.codec.neighbours import Neighbourhood
from jpq_pyserini.errors import JPQError

_ROWS = 1 << 12  # embeddings rotated at once
# Names in codec.safetensors of what a ScoreAware assignment is made of: (weight, shrinkage, neighbours).
_ASSIGNMENT = {"anisotropy": float, "shrinkage": float, "neighbours": int}


@dataclasses.dataclass(frozen=True)
class ProductQuantizer:
    """A product quantizer with the two sets of centroids that JPQ needs.

    Attributes:
        centroids: (M, K, D/M) float32, c_ij of equation 7, as trained: what documents are *scored* with.
        assignment_centroids: (M, K, D/M) float32, as OPQ left them: what documents are *assigned* to, by L2. JPQ never
            recomputes codes (section 3.3), so a document added later must be coded as the first ones were.
        rotation: (D, D) float32, orthonormal, applied as ``x @ rotation.T`` before splitting (OPQ); None for plain PQ.
        assignment: how documents are assigned to centroids: :class:`~jpq_pyserini.codec.assignment.Nearest`, as in the
            paper, or :class:`~jpq_pyserini.codec.assignment.ScoreAware`.
    """

    centroids: np.ndarray
    assignment_centroids: np.ndarray
    rotation: np.ndarray | None = None
    assignment: Nearest | ScoreAware = dataclasses.field(default_factory=Nearest)

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

    def rotate_directions(self, across: np.ndarray) -> np.ndarray:
        """Rotate (n, J, D) directions as :meth:`rotate` does embeddings."""
        return across if self.rotation is None else across @ self.rotation.T

    def encode(self, embeddings: np.ndarray) -> np.ndarray:
        """Assign (N, D) embeddings to *assignment* centroids (eq. 8, 9); returns codes (N, M) uint8.

        If codes depend on neighbours, these are looked for among the embeddings, unless :meth:`beside` has said where.
        """
        embeddings = self._checked(embeddings)
        assignment = self.assignment.among(embeddings)
        codes = np.empty((len(embeddings), self.m), dtype=np.uint8)
        for start in range(0, len(embeddings), _ROWS):
            codes[start : start + _ROWS] = assignment.choose(embeddings[start : start + _ROWS], self)
        return codes

    def beside(self, neighbourhood: Neighbourhood | None) -> "ProductQuantizer":
        """Return the same codec, which looks for the neighbours of documents there; None changes nothing."""
        if neighbourhood is None or not isinstance(self.assignment, ScoreAware):
            return self
        return dataclasses.replace(self, assignment=dataclasses.replace(self.assignment, neighbourhood=neighbourhood))

    def decode(self, codes: np.ndarray, rotated: bool = False) -> np.ndarray:
        """Rebuild d† of equation 8 with the *trained* centroids: codes (N, M) → (N, D) float32.

        They are rotated back, or left in the space of the sub-vectors if ``rotated``.
        """
        documents = self.centroids[np.arange(self.m), codes].reshape(len(codes), self.dimension)
        return documents if rotated or self.rotation is None else documents @ self.rotation

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

    def save(self, path: str | os.PathLike, *, beside_index: bool = False) -> None:
        """Write safetensors: both sets of centroids, rotation, and the numbers of a score-aware assignment.

        Args:
            path: the file.
            beside_index: leave out what a Faiss index beside it holds: rotation, centroids, and the assignment
                centroids as well if they are the same, as before any training.
        """
        tensors = {}
        if not beside_index:
            tensors["centroids"] = self.centroids
        if not (beside_index and np.array_equal(self.assignment_centroids, self.centroids)):
            tensors["assignment_centroids"] = self.assignment_centroids
        if self.rotation is not None and not beside_index:
            tensors["rotation"] = self.rotation
        numbers = self.assignment.weight, self.assignment.shrinkage, self.assignment.neighbours
        for name, number in zip(_ASSIGNMENT, numbers, strict=True):
            if number:
                tensors[name] = np.array([number], dtype=np.float64)
        save_file(tensors, path)

    @classmethod
    def load(
        cls, path: str | os.PathLike, inside: tuple[np.ndarray, np.ndarray | None] | None = None
    ) -> "ProductQuantizer":
        """Read what :meth:`save` wrote.

        Args:
            path: the file.
            inside: centroids and rotation of the Faiss index beside it, for what the file leaves out.

        Raises:
            JPQError: the file is missing, truncated or something else.
        """
        tensors = _tensors(path)
        centroids, rotation = tensors.get("centroids"), tensors.get("rotation")
        if centroids is None:
            if inside is None:
                raise JPQError(f"{path} is no readable codec without the index beside it: name the index directory")
            centroids, rotation = inside
        try:
            return cls(centroids, tensors.get("assignment_centroids", centroids), rotation, _assignment_of(tensors))
        except JPQError as error:
            raise JPQError(f"{path}: {error}") from error

    @staticmethod
    def load_assignment(path: str | os.PathLike) -> Nearest | ScoreAware:
        """Read how documents are assigned from what :meth:`save` wrote; errors as :meth:`load`."""
        return _assignment_of(_tensors(path))

    def _checked(self, embeddings: np.ndarray) -> np.ndarray:
        embeddings = np.asarray(embeddings, dtype=np.float32)
        if embeddings.ndim != 2 or embeddings.shape[1] != self.dimension:
            raise JPQError(
                f"embeddings of shape {embeddings.shape} do not fit a codec of dimension {self.dimension}: "
                "use the encoder that the codec was trained with"
            )
        return embeddings


def _tensors(path: str | os.PathLike) -> dict[str, np.ndarray]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise JPQError(f"{path} is no readable codec ({error}): copy it again from where it was built") from error


def _assignment_of(tensors: dict[str, np.ndarray]) -> Nearest | ScoreAware:
    numbers = [as_(tensors[name][0]) if name in tensors else as_(0) for name, as_ in _ASSIGNMENT.items()]
    return ScoreAware(*numbers) if any(numbers) else Nearest()
