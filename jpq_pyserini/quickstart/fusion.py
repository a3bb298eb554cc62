"""The weight of BM25 in a hybrid run, from the scores alone."""

from pathlib import Path


def balanced_alpha(dense: Path, sparse: Path) -> float:
    """Return the ``--alpha`` with which BM25 and dense scores spread equally over a query's hits, on average.

    Pyserini adds ``alpha`` times the sparse score to the dense one; cosines differ by tenths, BM25 by tens.
    No judgements are used, so it may be taken from the test queries' own runs.

    Args:
        dense, sparse: TREC run files.

    Returns:
        Two significant digits; 1.0 if either run has no spread.
    """
    spreads = [_mean_spread(path) for path in (dense, sparse)]
    return float(f"{spreads[0] / spreads[1]:.2g}") if all(spreads) else 1.0


def _mean_spread(path: Path) -> float:
    """Return the mean over queries of the best score minus the worst one."""
    bounds: dict[str, tuple[float, float]] = {}
    with open(path, encoding="utf-8") as file:
        for line in file:
            qid, _, _, _, score, _ = line.split()
            value = float(score)
            low, high = bounds.get(qid, (value, value))
            bounds[qid] = (min(low, value), max(high, value))
    return sum(high - low for low, high in bounds.values()) / len(bounds) if bounds else 0.0
