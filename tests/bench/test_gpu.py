"""The benchmark for GPUs runs to its end on a CPU, on small sizes, and keeps what it has when its time is over."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from jpq_pyserini.bench.gpu import __main__ as gpu
from jpq_pyserini.bench.gpu import others
from jpq_pyserini.bench.gpu.clock import Clock, OutOfTimeError
from jpq_pyserini.bench.gpu.models import random_texts, word
from jpq_pyserini.bench.gpu.search import random_queries


@pytest.mark.slow
def test_all_parts_run_on_a_cpu(tmp_path, capsys):
    output = tmp_path / "gpu.json"
    gpu.main(["--output", str(output), "--device", "cpu"])
    record = json.loads(output.read_text())
    kinds = [point["what"] for point in record["points"]]
    assert {"memory bandwidth", "codes", "torch", "training", "encoding"} <= set(kinds)
    codes = [point for point in record["points"] if point["what"] == "codes"]
    assert {(point["batch"], point["nbits"]) for point in codes} == {(1, 8), (4, 8), (1, 4), (4, 4)}
    assert all(point["ms"] > 0 and point["same_hits"] == 1 and point["chosen"] for point in codes)
    missing = {point["what"]: point["failed"] for point in record["points"] if "failed" in point}
    assert set(missing) <= {"faiss-gpu", "cuVS"}  # what is not installed is listed with the reason
    assert all(missing.values())
    training = {point["way"]: point for point in record["points"] if point["what"] == "training"}
    assert all(set(training[way]["seconds"]) == {"encode", "search", "loss", "update"} for way in training)
    assert f"{len(kinds)} measurements" in capsys.readouterr().out


@pytest.mark.slow
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


def test_systems_are_searched_for_what_they_were_filled_with():
    queries = torch.from_numpy(random_queries(3))
    (make,) = others.torch_makers("cpu", 300, 12, queries.shape[1], 5).values()
    vectors = np.concatenate([block for _, block in others._blocks(300, queries.shape[1])])
    assert np.array_equal(make()(queries)[1], np.argsort(-queries.numpy() @ vectors.T, axis=1)[:, :5])


def test_cuvs_gets_what_its_functions_take(monkeypatch):
    """Signatures as in cuVS 26.10's reference; a stand-in of numpy answers."""
    called = []

    def build(parameters, dataset):
        called.append(("build", parameters, len(dataset)))
        return []

    def extend(index, new_vectors, new_indices):
        assert len(new_vectors) == len(new_indices)
        return [*index, *new_indices.tolist()]

    ivf_pq = SimpleNamespace(
        IndexParams=lambda n_lists, *, metric, pq_bits, pq_dim, kmeans_trainset_fraction, add_data_on_build: pq_dim,
        SearchParams=lambda n_probes, *, lut_dtype: (n_probes, lut_dtype),
        build=build,
        extend=extend,
        search=lambda parameters, index, queries, k: (len(index), len(queries), k),
    )
    brute_force = SimpleNamespace(
        build=lambda dataset, metric: (metric, len(dataset)), search=lambda index, queries, k: (*index, len(queries), k)
    )
    modules = {"cuvs.neighbors.brute_force": brute_force, "cuvs.neighbors.ivf_pq": ivf_pq}
    monkeypatch.setattr(others.importlib, "import_module", modules.__getitem__)
    monkeypatch.setattr(others, "_BLOCK", 200)
    makers = list(others.cuvs_makers("cpu", 500, 12, 24, 5).values())
    queries = torch.zeros((3, 24))
    assert [make()(queries) for make in makers] == [("inner_product", 500, 3, 5), (500, 3, 5)]
    assert called == [("build", 12, 200)]


def test_words_are_distinct_and_texts_have_the_length():
    assert len({word(number) for number in range(2000)}) == 2000
    lengths = [len(text.split()) for text in random_texts(300, 60, seed=1)]
    assert min(lengths) >= 30
    assert max(lengths) <= 90
    assert abs(sum(lengths) / 300 - 60) < 5
