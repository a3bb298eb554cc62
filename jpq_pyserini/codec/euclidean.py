"""Inner product as Euclidean distance.

A document x gets one more component, √(Φ² − |x|²), Φ the largest norm of all, and a query q a zero there: then
|q − x|² = |q|² + Φ² − 2⟨q, x⟩, so the nearest documents are those of the largest inner product (Bachrach et al., RecSys
2014, "Speeding up the Xbox recommender system using a Euclidean transformation for inner-product spaces").
"""

import numpy as np


def missing_lengths(vectors: np.ndarray) -> tuple[float, np.ndarray]:
    """Return Φ², and the component √(Φ² − |x|²) of each of (N, D) float32 vectors as (N,) float64."""
    squares = np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64)
    largest = float(squares.max())
    return largest, np.sqrt(largest - squares)
