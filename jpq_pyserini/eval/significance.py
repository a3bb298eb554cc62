"""Whether two systems differ by more than chance: the paper's paired t-test over queries."""

import warnings
from collections.abc import Mapping, Sequence

from jpq_pyserini.errors import JPQError

#: How p values are corrected when several tests are read together.
CORRECTIONS = ("none", "bonferroni", "holm")


def paired_t_test(values: Mapping[str, float], baseline: Mapping[str, float]) -> float:
    """Return the p value of the two-tailed paired t-test between two systems' per-query values.

    Args:
        values: qid to value of one measure, for one system.
        baseline: The same for the other; same queries.

    Returns:
        p in [0, 1]; 1.0 if the two are equal on every query.

    Raises:
        JPQError: the queries differ, or are fewer than two.
    """
    from scipy.stats import ttest_rel

    if values.keys() != baseline.keys():
        raise JPQError(f"a paired test needs the same queries twice, got {len(values)} and {len(baseline)} that differ")
    if len(values) < 2:
        raise JPQError(f"a paired test needs at least two queries, got {len(values)}: leave --against out")
    pairs = [(values[qid], baseline[qid]) for qid in values]
    if all(one == other for one, other in pairs):
        return 1.0  # scipy: 0 / 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the same difference on every query: p = 0, as it should be
        return float(ttest_rel(*zip(*pairs, strict=True)).pvalue)


def mark(p_value: float | None) -> str:
    """Return the paper's mark: ``**`` for p < 0.01, ``*`` for p < 0.05, else nothing."""
    if p_value is None or p_value >= 0.05:
        return ""
    return "**" if p_value < 0.01 else "*"


def corrected(p_values: Sequence[float], method: str) -> list[float]:
    """Return the p values of one family of tests, each such that comparing it with 0.05 keeps the family's error at 5%.

    Args:
        p_values: of all tests that are read together.
        method: ``none`` (as in the paper), ``bonferroni``, or ``holm`` (Holm 1979: never weaker than Bonferroni, and
            like it without assumptions about how the tests depend on each other).

    Raises:
        JPQError: an unknown method.
    """
    count = len(p_values)
    if method == "none":
        return list(p_values)
    if method == "bonferroni":
        return [min(1.0, count * p) for p in p_values]
    if method != "holm":
        raise JPQError(f"unknown correction {method!r}: there are {', '.join(CORRECTIONS)}")
    adjusted, least = [0.0] * count, 0.0
    for rank, test in enumerate(sorted(range(count), key=p_values.__getitem__)):
        least = max(least, min(1.0, (count - rank) * p_values[test]))  # never below that of a smaller p value
        adjusted[test] = least
    return adjusted
