"""``jpq scale``: what it puts together is what was in the shards, and its figures are those of real work."""

import json

import numpy as np
import pytest

from jpq_pyserini.bench import distributed
from jpq_pyserini.index import JPQIndex

from helpers.collection import lines


def test_shards_are_put_together(tmp_path):
    N, M, seed = 5000, 8, 3
    found = distributed.measure_merge(N, M, tmp_path, seed)
    index = JPQIndex.open(tmp_path / "index", verify=True)
    rng = np.random.default_rng(seed)
    rng.standard_normal((M, 256, 768 // M), dtype=np.float32)  # the centroids
    parts = [rng.integers(0, 256, (rows, M), dtype=np.uint8) for rows in (2048, 2048, 904)]
    np.testing.assert_array_equal(index.codes, np.concatenate(parts))
    assert (found["rows"], found["m"], found["shards"]) == (N, M, len(parts))
    assert index.docids[-1] == f"msmarco_passage_{N - 1:09d}"
    assert found["bytes"] == sum(file.stat().st_size for file in (tmp_path / "index").iterdir())
    assert found["peak_memory"] > N * M
    assert all(found[name] > 0 for name in ("check_docids", "gather", "build", "write"))


def test_the_command_writes_all_figures(tiny, tmp_path, monkeypatch, capsys):
    pytest.importorskip("ray", reason="Ray is not installed: its version is recorded")
    ray = {"start_ray": 1.0, "start_workers": 1.0, "per_piece": 0.25}  # measured in tests/distributed
    monkeypatch.setattr(distributed, "measure_ray", lambda workers, pieces: ray)
    (tmp_path / "corpus.jsonl").write_text(lines(0, 4500))
    arguments = ["--rows", "1000", "3000", "--m", "16", "--work", str(tmp_path), "--like", str(tiny / "index")]
    distributed.main([*arguments, "--corpus", str(tmp_path / "corpus.jsonl"), "--output", str(tmp_path / "out.json")])
    written = json.loads((tmp_path / "out.json").read_text())
    assert [each["rows"] for each in written["merge"]] == [1000, 3000]
    assert written["ray"] == ray
    assert written["worker"]["count_per_second"] > written["worker"]["code_per_second"] > 0
    assert {"ray", "faiss-cpu"} & set(written["versions"])
    assert "per piece 0.2500 s" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus.jsonl", "out.json"]
