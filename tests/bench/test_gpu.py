"""The benchmark for GPUs runs to its end on a CPU, on small sizes, and keeps what it has when its time is over."""

import json

from jpq_pyserini.bench.gpu import __main__ as gpu
from jpq_pyserini.bench.gpu.clock import Clock, OutOfTimeError
from jpq_pyserini.bench.gpu.models import random_texts, word


def test_all_parts_run_on_a_cpu(tmp_path, capsys):
    output = tmp_path / "gpu.json"
    gpu.main(["--output", str(output), "--device", "cpu"])
    record = json.loads(output.read_text())
    kinds = [point["what"] for point in record["points"]]
    assert {"memory bandwidth", "codes", "training", "encoding"} <= set(kinds)
    codes = [point for point in record["points"] if point["what"] == "codes"]
    assert {point["batch"] for point in codes} == {1, 4}
    assert all(point["ms"] > 0 and point["same_hits"] == 1 for point in codes)
    training = {point["way"]: point for point in record["points"] if point["what"] == "training"}
    assert all(set(training[way]["seconds"]) == {"encode", "search", "loss", "update"} for way in training)
    assert f"{len(kinds)} measurements" in capsys.readouterr().out


def test_a_part_without_time_says_so_and_the_next_begins(tmp_path, monkeypatch):
    def late(self):
        raise OutOfTimeError("the time of this part is over")

    monkeypatch.setattr(Clock, "left", late)
    monkeypatch.setattr("jpq_pyserini.bench.gpu.search.memory_bandwidth", lambda device: 1e9)
    output = tmp_path / "gpu.json"
    gpu.main(["--output", str(output), "--device", "cpu", "--parts", "search", "training"])
    failed = [point for point in json.loads(output.read_text())["points"] if "failed" in point]
    assert {point["what"] for point in failed} >= {"codes", "training"}
    assert all(point["failed"] for point in failed)


def test_words_are_distinct_and_texts_have_the_length():
    assert len({word(number) for number in range(2000)}) == 2000
    lengths = [len(text.split()) for text in random_texts(300, 60, seed=1)]
    assert min(lengths) >= 30
    assert max(lengths) <= 90
    assert abs(sum(lengths) / 300 - 60) < 5
