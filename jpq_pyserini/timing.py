"""Seconds that were measured, in a few figures that all reports share."""

from collections.abc import Sequence

import numpy as np


def summary(seconds: Sequence[float]) -> dict[str, float]:
    """Return median, 95th percentile and least in milliseconds a query, and queries a second at the median."""
    median = float(np.median(seconds))
    p95 = float(np.percentile(seconds, 95))
    return {
        "median_ms": 1e3 * median,
        "p95_ms": 1e3 * p95,
        "least_ms": 1e3 * float(np.min(seconds)),  # what a machine that others use as well would do alone
        "qps": 1 / median,
        "samples": len(seconds),
    }
