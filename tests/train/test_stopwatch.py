"""The time of a run by phase, over a stop and a resumption, by a clock that the test moves."""

import json
import time

import pytest

from jpq_pyserini.train.stopwatch import Stopwatch


def test_phases_and_resumption(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def spend(watch, **phases):
        for name, seconds in phases.items():
            with watch.phase(name):
                now[0] += seconds

    first = Stopwatch()
    spend(first, load=2, encode=3)
    spend(first, encode=4)
    now[0] += 1  # in no phase
    assert (first.seconds, first.total) == ({"load": 2, "encode": 7}, 10)
    with first.phase("checkpoint"):
        now[0] += 0.5
        state = json.loads(json.dumps(first.state()))  # written before the phase is over
    assert state == {"seconds": {"load": 2, "encode": 7, "checkpoint": 0.5}, "total": 10.5}

    second = Stopwatch()
    spend(second, load=1)
    second.resume(state)
    spend(second, encode=2, write=5)
    assert second.seconds == {"load": 3, "encode": 9, "checkpoint": 0.5, "write": 5}
    assert second.total == 18.5


def test_a_phase_that_fails_counts_too():
    watch = Stopwatch()
    with pytest.raises(ValueError, match="no"), watch.phase("load"):
        raise ValueError("no")
    assert list(watch.seconds) == ["load"]
    assert watch.so_far() == watch.seconds
