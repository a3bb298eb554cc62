"""How documents are assigned to centroids: to the nearest ones, or so that scores are kept."""

import dataclasses
import math
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from jpq_pyserini.codec.codes import assign
from jpq_pyserini.codec.neighbours import Neighbourhood
from jpq_pyserini.codec.score_aware import improve_codes
from jpq_pyserini.errors import JPQError

if TYPE_CHECKING:
    from jpq_pyserini.codec.quantizer import ProductQuantizer


@dataclasses.dataclass(frozen=True)
class Nearest:
    """The nearest centroid of each sub-vector, as in the paper (equation 9)."""

    weight: ClassVar[float] = 0.0
    shrinkage: ClassVar[float] = 0.0
    neighbours: ClassVar[int] = 0

    def choose(self, embeddings: np.ndarray, codec: "ProductQuantizer") -> np.ndarray:
        """Return codes (n, M) uint8 for (n, D) float32 embeddings, by the codec's assignment centroids."""
        return assign(codec.rotate(embeddings), codec.assignment_centroids)

    def among(self, embeddings: np.ndarray) -> "Nearest":
        """Return itself: a document's nearest centroids do not depend on other documents."""
        return self


@dataclasses.dataclass(frozen=True)
class ScoreAware:
    """The codes that cost least by :mod:`jpq_pyserini.codec.score_aware` and :mod:`jpq_pyserini.codec.neighbours`.

    Attributes:
        weight: h ≥ 0, the extra weight of quantization error parallel to the document.
        shrinkage: β ≥ 0, the uniform relative error along the document that is not penalised.
        neighbours: J ≥ 0, the neighbours of a document in whose directions error is penalised, too.
        neighbourhood: where they are looked for; not part of what is saved.

    Raises:
        JPQError: a number is negative or not finite.
    """

    weight: float
    shrinkage: float = 0.0
    neighbours: int = 0
    neighbourhood: Neighbourhood | None = dataclasses.field(default=None, compare=False, repr=False)

    def __post_init__(self):
        for name in ("weight", "shrinkage", "neighbours"):
            number = getattr(self, name)
            if not (math.isfinite(number) and number >= 0):
                raise JPQError(f"score-aware codes with {name} {number}: it must be a number of at least 0")

    def choose(self, embeddings: np.ndarray, codec: "ProductQuantizer") -> np.ndarray:
        """Return codes (n, M) uint8 for (n, D) float32 embeddings, by the codec's assignment centroids."""
        rotated, centroids = codec.rotate(embeddings), codec.assignment_centroids
        across = codec.rotate_directions(self.neighbourhood.across(embeddings)) if self.neighbourhood else None
        return improve_codes(rotated, assign(rotated, centroids), centroids, self.weight, self.shrinkage, across)

    def among(self, embeddings: np.ndarray) -> "ScoreAware":
        """Return the same, which looks for neighbours among (n, D) embeddings if it needs any and has no place yet."""
        if not self.neighbours or self.neighbourhood is not None or not len(embeddings):
            return self
        return dataclasses.replace(self, neighbourhood=Neighbourhood(embeddings, self.neighbours))
