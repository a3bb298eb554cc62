"""One loop takes all times: it leaves the warm-up out, goes in turns, and gives threads back."""

import time

import faiss
import pytest
import torch

from jpq_pyserini.timing import measure, measure_in_turns, summary, timed, use_threads


def test_summary():
    found = summary([0.001] * 19 + [0.1])
    assert found.median_ms == pytest.approx(1.0)
    assert 1.0 < found.p95_ms < 100
    assert found.least_ms == pytest.approx(1.0)
    assert found.qps == pytest.approx(1000)
    assert found.samples == 20


def test_the_first_calls_warm_up():
    seconds = measure(time.sleep, [0.2, 0.2, 0.01, 0.02], warm_up=2)
    assert [0.01 <= seconds[0] < 0.2, 0.02 <= seconds[1] < 0.2, len(seconds)] == [True, True, 2]
    assert len(measure(time.sleep, [0.0] * 3, warm_up=3)) == 3  # nothing but warm-up: better than no figure
    assert timed(int, "11", 2)[0] == 3


def test_functions_take_turns():
    called = []
    functions = {name: lambda argument, name=name: called.append((name, argument)) for name in ("a", "b")}
    seconds = measure_in_turns(functions, [1, 2, 3], warm_up=1)
    assert called == [("a", 1), ("b", 1), ("a", 2), ("b", 2), ("a", 3), ("b", 3)]
    assert {name: len(each) for name, each in seconds.items()} == {"a": 2, "b": 2}


def test_threads_are_given_back():
    def threads():
        return faiss.omp_get_max_threads(), torch.get_num_threads()

    before = threads()
    seen = []
    with use_threads(3):
        measure(lambda _: seen.append(threads()), [None], threads=2)
        assert threads() == (3, 3)
    with pytest.raises(ZeroDivisionError):
        measure(lambda _: 1 / 0, [None], threads=2)
    assert seen == [(2, 2)]
    assert threads() == before
