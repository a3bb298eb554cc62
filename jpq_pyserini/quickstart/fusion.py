"""The weight of BM25 in a hybrid run, from the scores alone."""

from pathlib import Path

from jpq_pyserini.data.runs import read_run
from jpq_pyserini.eval.fusion.fusing import balanced_weights


def balanced_alpha(dense: Path, sparse: Path) -> float:
    """Return the ``--alpha`` with which BM25 and dense scores spread equally over a query's hits, on average.

    Pyserini adds ``alpha`` times the sparse score to the dense one; cosines differ by tenths, BM25 by tens.
    No judgements are used, so it may be taken from the test queries' own runs.

    Args:
        dense, sparse: TREC run files.

    Returns:
        Two significant digits; 1.0 if either run has no spread.
    """
    of_dense, of_sparse = balanced_weights([read_run(path) for path in (dense, sparse)])
    return float(f"{of_sparse / of_dense:.2g}")
