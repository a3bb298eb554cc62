"""RR@10 on the dev queries while training, from row numbers: no run file, no docids."""

from collections.abc import Sequence

import numpy as np
from torch import Tensor

CUTOFF = 10


def reciprocal_rank(found: Tensor | np.ndarray, relevant: Sequence[Sequence[int]]) -> float:
    """Mean RR@10.

    Args:
        found: (B, ≥ 10) rows, best first.
        relevant: the relevant rows of each query.

    Returns:
        The mean over all B queries of 1/rank of the first relevant document among the first 10; 0 when there is none.
    """
    total = 0.0
    for rows, wanted in zip(found[:, :CUTOFF].tolist(), relevant, strict=True):
        wanted = set(wanted)
        total += next((1.0 / rank for rank, row in enumerate(rows, 1) if row in wanted), 0.0)
    return total / max(1, len(found))
