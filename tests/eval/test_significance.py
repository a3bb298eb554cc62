"""Paired t-test, marks and corrections, against published values and hand-worked ones."""

import pytest

from jpq_pyserini.errors import JPQError
from jpq_pyserini.eval.significance import corrected, mark, paired_t_test


def test_paired_t_test_against_a_table():
    # Student's sleep data (1908): t(9) = 4.0621, p = 0.00283.
    drug1 = dict(enumerate((0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0)))
    drug2 = dict(enumerate((1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4)))
    assert paired_t_test(drug2, drug1) == pytest.approx(0.00283289, abs=1e-8)
    assert paired_t_test(drug1, dict(drug1)) == 1.0
    assert paired_t_test({1: 1.0, 2: 1.0}, {1: 0.5, 2: 0.5}) == 0.0
    assert [mark(p) for p in (0.001, 0.01, 0.049, 0.05, None)] == ["**", "*", "*", "", ""]
    with pytest.raises(JPQError, match="at least two queries"):
        paired_t_test({1: 1.0}, {1: 0.0})


def test_corrections_worked_by_hand():
    p_values = [0.01, 0.04, 0.03, 0.005, 0.9]
    assert corrected(p_values, "none") == p_values
    assert corrected(p_values, "bonferroni") == pytest.approx([0.05, 0.2, 0.15, 0.025, 1.0])
    # Holm: 5 × 0.005, 4 × 0.01, 3 × 0.03; 2 × 0.04 = 0.08 is less than 0.09 and is raised to it; 0.9.
    assert corrected(p_values, "holm") == pytest.approx([0.04, 0.09, 0.09, 0.025, 0.9])
    assert corrected([], "holm") == []
    with pytest.raises(JPQError, match="unknown correction 'fdr': there are none, bonferroni, holm"):
        corrected(p_values, "fdr")
