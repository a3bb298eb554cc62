"""The benchmark really runs: random and real collections, systems that are missing or too large, reports and plots."""

import json

import numpy as np
import pytest
from conftest import run_python
from jpq_pyserini.eval import race as races
from jpq_pyserini.eval.latency_report import as_markdown
from jpq_pyserini.eval.lists import measure
from jpq_pyserini.eval.race import Entry, Settings, race, summary
from jpq_pyserini.eval.systems import SYSTEMS, Data

from jpq_pyserini import JPQIndex
from jpq_pyserini.flat import FlatFolder
from jpq_pyserini.text_encoder import embed_queries, load_text_encoder


def test_summary():
    found = summary([0.001] * 19 + [0.1])
    assert found["median_ms"] == pytest.approx(1.0)
    assert 1.0 < found["p95_ms"] < 100
    assert found["qps"] == pytest.approx(1000)


@pytest.mark.slow
def test_random_collection(tmp_path):
    run_python(
        "-m", "jpq_pyserini.eval.latency", "--documents", "2000", "4000", "--dimension", "32", "--bytes", "8",
        "--rounds", "1", "--queries", "16", "--queries-a-round", "2", "--batch", "8", "--threads", "2", "--hits", "10",
        "--systems", "flat", "fastscan", "ivf-fastscan", "annoy", "--memory-limit", "0.01",
        "--output", tmp_path / "out",
    )  # fmt: skip
    record = json.loads((tmp_path / "out" / "latency.json").read_text())
    assert "--documents 2000 4000" in record["command"]
    assert record["settings"]["seed"] == 42
    assert record["versions"]["faiss-cpu"]
    assert [run["documents"] for run in record["runs"]] == [2000, 4000]
    for run in record["runs"]:
        points = {point["name"]: point for point in run["points"]}
        assert {"flat", "fastscan", "ivf-fastscan"} <= points.keys()
        assert points["flat"]["bytes_per_document"] == 128
        assert points["fastscan"]["bytes_per_document"] < points["ivf-fastscan"]["bytes_per_document"] < 128
        for point in points.values():
            assert set(point["times"]) == {f"batch {b}, threads {t}" for b in (1, 8) for t in (1, 2)}
            assert all(0 < times["median_ms"] <= times["p95_ms"] for times in point["times"].values())
            assert point["memory_bytes"] > 0
        assert "annoy" in points or "not installed" in str(run["left_out"])
    assert (tmp_path / "out" / "growth.png").read_bytes().startswith(b"\x89PNG")
    assert "| JPQ fastscan, 4 bits | " in (tmp_path / "out" / "latency.md").read_text()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["growth.png", "latency.json", "latency.md"]


@pytest.mark.slow
def test_real_collection(tiny, tmp_path):
    index = JPQIndex.open(tiny / "index")
    index.convert("ivf-fastscan", nlist=4).save(tmp_path / "lists")
    run_python(
        "-m", "jpq_pyserini.eval.latency", "--embeddings", tiny / "flat", "--topics", tiny / "topics.tsv",
        "--qrels", tiny / "qrels.txt", "--index", f"JPQ={tiny / 'index'}", "--index", f"lists={tmp_path / 'lists'}",
        "--encoder", tiny / "encoder", "--rounds", "1", "--queries-a-round", "2", "--batch", "4", "--threads", "1",
        "--systems", "flat", "--bytes", "4", "--output", tmp_path / "out",
    )  # fmt: skip
    (run,) = json.loads((tmp_path / "out" / "latency.json").read_text())["runs"]
    lists = [point for point in run["points"] if point["name"] == "lists"]
    assert [point["setting"] for point in lists] == ["nprobe 1", "nprobe 2", "nprobe 4"]
    exhaustive = next(point for point in run["points"] if point["name"] == "JPQ")["effectiveness"]
    assert lists[-1]["effectiveness"] == exhaustive  # all lists visited: the same hits
    assert lists[0]["effectiveness"]["R@100"] < exhaustive["R@100"]
    flat = next(point for point in run["points"] if point["name"] == "flat")["effectiveness"]
    queries = [line.rstrip("\n").split("\t")[1] for line in (tiny / "topics.tsv").open()]
    scores = (
        embed_queries(load_text_encoder(str(tiny / "encoder")), queries) @ FlatFolder.open(tiny / "flat").embeddings.T
    )
    ranks = [int((row > row[i]).sum()) for i, row in enumerate(scores)]  # query i's document is d<i>
    assert flat["R@100"] == np.mean([rank < 100 for rank in ranks])
    assert flat["RR@10"] == pytest.approx(np.mean([1 / (rank + 1) if rank < 10 else 0 for rank in ranks]), abs=1e-4)
    for name in ("time-RR10.png", "time-R100.png", "bytes-RR10.png"):
        assert (tmp_path / "out" / name).stat().st_size > 1000


def test_left_out(monkeypatch):
    data = Data(1_000_000, 768, 96)
    queries = np.zeros((1, 768), np.float32)
    monkeypatch.setattr(races.importlib.util, "find_spec", lambda name: None if name == "scann" else name)
    entries = [Entry(name, SYSTEMS[name].title, name, data, queries) for name in ("scann", "flat")]
    result = race(entries, Settings(memory_limit=1))
    assert result["points"] == []
    assert result["left_out"]["ScaNN, 4 bits"] == "not installed (pip install scann)"
    assert "3 GB" in result["left_out"]["flat, float32"]
    report = as_markdown([{"collection": "random", "dimension": 768, "documents": 1, **result}], "command")
    assert "left out: ScaNN, 4 bits: not installed" in report


def test_bad_arguments(tmp_path):
    for options, message in (
        (("--systems", "faiss"), "--systems faiss is unknown"),
        (("--embeddings", "x"), "--topics is missing"),
    ):
        done = run_python("-m", "jpq_pyserini.eval.latency", "--output", tmp_path / "o", *options, check=False)
        assert done.returncode == 1
        assert message in done.stderr
        assert done.stderr.count("\n") == 1


def test_encoding(tiny, tmp_path):
    done = run_python(
        "-m", "jpq_pyserini.eval.encoding", "--index", tiny / "index", "--topics", tiny / "topics.tsv",
        "--qrels", tiny / "qrels.txt", "--rounds", "1", "--output", tmp_path / "encoding.json",
    )  # fmt: skip
    record = json.loads((tmp_path / "encoding.json").read_text())
    assert list(record["backends"]) == ["torch"]
    assert record["backends"]["torch"]["cosine"] == pytest.approx(1)
    assert record["backends"]["torch"]["R@100"] > 0
    assert "model.onnx is missing" in done.stderr


def test_lists_to_visit(tiny):
    index = JPQIndex.open(tiny / "index")
    vectors = index.codec.decode(index.codes[:40])
    relevant = [{row} for row in range(40)]
    everything = measure(index, vectors, relevant, 300, target=1.0, seed=1)
    found = np.argsort(-index.codec.scores(vectors, index.codes), axis=1)[:, :100]
    assert everything["R@100 of all"] == np.mean([row in found[row] for row in range(40)])
    assert everything["R@100"] >= everything["R@100 of all"]
    assert 1 < everything["nprobe"] <= everything["nlist"] == 7
    assert 0 < everything["visited"] <= 1
    half = measure(index, vectors, relevant, 300, target=0.5, seed=1)
    assert half["nprobe"] < everything["nprobe"]
    assert half["visited"] < everything["visited"]
    part = measure(index, vectors, relevant, 100, target=0.9, seed=1)
    assert part["documents"] == 100
    assert 0 < part["queries"] < 40
