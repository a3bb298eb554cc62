"""The benchmark really runs: random and real collections, systems that are missing or too large, reports and plots."""

import importlib.util
import json

import numpy as np
import pytest

from jpq_pyserini import JPQIndex
from jpq_pyserini.bench import backends, memory, nprobe
from jpq_pyserini.bench.latency import __main__ as latency
from jpq_pyserini.bench.latency import queries as query_cache
from jpq_pyserini.bench.latency.queries import encoded_queries
from jpq_pyserini.bench.latency.race import Contender, Settings, race
from jpq_pyserini.bench.latency.report import as_markdown
from jpq_pyserini.bench.latency.results import Point, choose
from jpq_pyserini.bench.latency.runs import ranked, run_file_name
from jpq_pyserini.bench.nprobe import sweep
from jpq_pyserini.bench.systems import SYSTEMS, Data
from jpq_pyserini.data.flat import FlatFolder
from jpq_pyserini.data.runs import write_run
from jpq_pyserini.data.topics import read_qrels
from jpq_pyserini.encoders.text_encoder import embed_queries, load_text_encoder
from jpq_pyserini.eval.comparison import compare
from jpq_pyserini.eval.facts import read_facts
from jpq_pyserini.timing import summary

from helpers.processes import run_module, run_python
from helpers.tiny import tiny_corpus


@pytest.mark.slow
def test_random_collection(tmp_path):
    run_module(
        "jpq_pyserini.bench.latency", "--documents", "2000", "4000", "--dimension", "32", "--bytes", "8",
        "--rounds", "1", "--queries", "16", "--queries-a-round", "2", "--batch", "8", "--threads", "2", "--hits", "10",
        "--systems", "flat", "fastscan", "ivf-fastscan", "annoy", "--memory-limit", "0.01",
        "--rescore", "50", "--cold", "--output", tmp_path / "out",
    )  # fmt: skip
    record = json.loads((tmp_path / "out" / "latency.json").read_text())
    assert "--documents 2000 4000" in record["command"]
    assert record["settings"]["seed"] == 42
    assert record["versions"]["faiss-cpu"]
    assert [run["documents"] for run in record["runs"]] == [2000, 4000]
    for run in record["runs"]:
        points = {point["name"]: point for point in run["points"]}
        assert {"flat", "fastscan", "fastscan-rescored", "ivf-fastscan"} <= points.keys()
        assert points["flat"]["bytes_per_document"] == 128
        assert points["fastscan"]["bytes_per_document"] < points["ivf-fastscan"]["bytes_per_document"] < 128
        for point in points.values():
            modes = {f"batch {b}, threads {t}" for b in (1, 8) for t in (1, 2)}
            cold = {"batch 1, threads 1, cold"} if point["rescored"] else set()
            assert set(point["times"]) == modes | cold
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
    done = run_python(
        "-m", "jpq_pyserini.bench.latency", "--embeddings", tiny / "flat", "--topics", tiny / "topics.tsv",
        "--qrels", tiny / "qrels.txt", "--index", f"JPQ={tiny / 'index'}", "--index", f"lists={tmp_path / 'lists'}",
        "--encoder", tiny / "encoder", "--rounds", "1", "--queries-a-round", "2", "--batch", "4", "--threads", "1",
        "--systems", "flat", "--bytes", "4", "--against", "JPQ", "--rescore", "300", "--vectors", "float32", "--cold",
        "--output", tmp_path / "out",
    )  # fmt: skip
    (run,) = json.loads((tmp_path / "out" / "latency.json").read_text())["runs"]
    lists = [point for point in run["points"] if point["name"] == "lists"]
    assert [point["setting"] for point in lists] == ["nprobe 1", "nprobe 2", "nprobe 4"]
    exhaustive_point = next(point for point in run["points"] if point["name"] == "JPQ")
    exhaustive = exhaustive_point["effectiveness"]
    assert lists[-1]["effectiveness"] == exhaustive  # all lists visited: the same hits
    assert lists[0]["effectiveness"]["R@100"] < exhaustive["R@100"]
    flat = next(point for point in run["points"] if point["name"] == "flat")["effectiveness"]
    queries = [line.rstrip("\n").split("\t")[1] for line in (tiny / "topics.tsv").open()]
    scores = (
        embed_queries(load_text_encoder(str(tiny / "encoder")), queries) @ FlatFolder.open(tiny / "flat").embeddings.T
    )
    ranks = [int((row > row[i]).sum()) for i, row in enumerate(scores)]  # query i's document is d<i>
    (rescored,) = (point for point in run["points"] if point["name"] == "JPQ-rescored")
    assert rescored["effectiveness"] == flat  # all documents scored again
    assert rescored["disk_bytes_per_document"] == 4 * 32
    assert rescored["times"].keys() - exhaustive_point["times"].keys() == {"batch 1, threads 1, cold"}
    assert rescored["bytes_per_document"] == exhaustive_point["bytes_per_document"]
    assert flat["R@100"] == np.mean([rank < 100 for rank in ranks])
    assert flat["RR@10"] == pytest.approx(np.mean([1 / (rank + 1) if rank < 10 else 0 for rank in ranks]), abs=1e-4)
    for name in ("time-RR10.png", "time-R100.png", "bytes-RR10.png"):
        assert (tmp_path / "out" / name).stat().st_size > 1000
    runs = tmp_path / "out" / "runs"
    names = {point["title"] + point["setting"]: runs / point["run"] for point in run["points"]}
    scored = compare(names, read_qrels(tiny / "qrels.txt"), ["RR@10", "R@100"]).means()
    for point in run["points"]:
        means = scored[point["title"] + point["setting"]]
        assert point["effectiveness"] == {measure: round(value, 4) for measure, value in means.items()}
        facts = read_facts(runs / point["run"])
        assert facts.group == point["group"]
        assert facts.bytes_per_document == point["bytes_per_document"]
        assert facts.ms_per_query == point["times"]["batch 1, threads 1"]["median_ms"]
        assert facts.encode_ms_per_query > 0
        assert facts.documents == 300
    assert sum(point["chosen"] for point in lists) == 1
    table = json.loads((tmp_path / "out" / "systems.json").read_text())
    shown = {each["name"]: each["means"] for each in table["runs"]}
    assert table["against"] == "JPQ"
    assert {title: round(means["RR@10"], 4) for title, means in shown.items()} == {
        ", ".join(filter(None, [point["title"], point["setting"]])): point["effectiveness"]["RR@10"]
        for point in run["points"]
        if point["chosen"]
    }
    assert "paired t-test" in done.stdout
    assert "<table" in (tmp_path / "out" / "systems.html").read_text()
    run_module(
        "pyserini.search.faiss", "--encoder", "jpq", "--index", tiny / "index",
        "--topics", tiny / "topics.tsv", "--hits", "100", "--batch-size", "64", "--output", tmp_path / "pyserini.txt",
    )  # fmt: skip
    ours, theirs = ([line.split() for line in path.open()] for path in (runs / "JPQ.txt", tmp_path / "pyserini.txt"))
    assert [line[:4] for line in ours] == [line[:4] for line in theirs]
    assert [float(line[4]) for line in ours] == pytest.approx([float(line[4]) for line in theirs], abs=1e-4)


def test_left_out(monkeypatch):
    data = Data(1_000_000, 768, 96)
    queries = np.zeros((1, 768), np.float32)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "scann" else name)
    entries = [Contender(name, SYSTEMS[name].label(data), name, data, queries) for name in ("scann", "flat")]
    result = race("random", data, entries, Settings(memory_limit=1))
    assert result.points == []
    assert result.left_out["ScaNN, 192x4"] == "not installed (pip install scann)"
    assert "3 GB" in result.left_out["flat, float32"]
    assert "left out: ScaNN, 192x4: not installed" in as_markdown([result], "command")


@pytest.mark.slow
def test_bad_arguments(tmp_path):
    for options, message in (
        (("--systems", "faiss"), "--systems faiss is unknown"),
        (("--embeddings", "x"), "--topics is missing"),
        (("--embeddings", "x", "--systems", "fastscan"), "--systems fastscan is a layout of our own"),
        (("--qrels", "x", "--hits", "10"), "--hits 10: R@100 needs 100"),
        (("--against", "flat"), "--against needs --qrels"),
        (("--qrels", "x", "--systems", "flat", "--against", "JPQ"), "--against JPQ: no such system here"),
    ):
        done = run_module("jpq_pyserini.bench.latency", "--output", tmp_path / "o", *options, check=False)
        assert done.returncode == 1
        assert message in done.stderr
        assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("parser", "arguments", "allowed"),
    [
        (latency._parser, ["--documents", "0"], "0 is not a whole number from 1"),
        (latency._parser, ["--documents", "-1"], "-1 is not a whole number from 1"),
        (latency._parser, ["--dimension", "0"], "0 is not a whole number from 1"),
        (latency._parser, ["--queries", "-1"], "-1 is not a whole number from 1"),
        (latency._parser, ["--hits", "0"], "0 is not a whole number from 1"),
        (latency._parser, ["--threads", "-1"], "-1 is not a whole number from 1"),
        (latency._parser, ["--seed", "-1"], "-1 is not a whole number from 0"),
        (latency._parser, ["--memory-limit", "nan"], "nan is not a number of at least 0"),
        (latency._parser, ["--tolerance", "2"], "2 is not a number from 0 to 1"),
        (backends._parser, ["--rounds", "0"], "0 is not a whole number from 1"),
        (nprobe._parser, ["--seed", "-1"], "-1 is not a whole number from 0"),
        (nprobe._parser, ["--target", "nan"], "nan is not a number from 0 to 1"),
        (memory._parser, ["--documents", "0"], "0 is not a whole number from 1"),
        (memory._parser, ["--limit", "inf"], "inf is not a number from 1 to"),
    ],
)
def test_numbers_are_checked(parser, arguments, allowed, capsys):
    with pytest.raises(SystemExit):
        parser().parse_args(arguments)
    assert f"error: argument {arguments[0]}: {allowed}" in capsys.readouterr().err


def test_queries_are_encoded_once(tiny, tmp_path, monkeypatch):
    topics = {"q1": "ba ce di", "q2": "foba"}
    first = encoded_queries(str(tiny / "encoder"), topics, tmp_path)
    assert first.vectors.shape == (2, 32)
    assert first.milliseconds > 0
    monkeypatch.setattr(query_cache, "load_text_encoder", lambda name: pytest.fail("encoded again"))
    again = encoded_queries(str(tiny / "encoder"), topics, tmp_path)
    assert (again.vectors == first.vectors).all()
    assert again.milliseconds == first.milliseconds
    with pytest.raises(pytest.fail.Exception):
        encoded_queries(str(tiny / "encoder"), {**topics, "q2": "other"}, tmp_path)


def test_runs_are_in_the_order_of_trec_eval(tmp_path):
    scores = np.array([[0.5, 0.50000001, 0.7, -1], [-3, -3, -4, -4]], np.float32)
    hits = ranked(scores, np.array([[0, 2, 1, -1], [1, 0, 2, 3]]), ["a", "b", "c", "d"])
    assert [list(found) for found in hits] == [["b", "c", "a"], ["b", "a", "d", "c"]]
    assert write_run(tmp_path / "run.txt", zip(["q1", "q2"], hits, strict=True), "tag") == 7
    assert (tmp_path / "run.txt").read_text().splitlines()[1:4] == [
        "q1 Q0 c 2 0.5 tag", "q1 Q0 a 3 0.5 tag", "q2 Q0 b 1 -3 tag",
    ]  # fmt: skip
    assert run_file_name("OPQ 48x8/2", "nprobe 4") == "OPQ-48x8-2.nprobe-4.txt"


def _point(name, value, milliseconds, setting=""):
    times = {"batch 1, threads 1": summary([milliseconds / 1000])}
    return Point(name, name, name, setting, None, 10, 8.0, 1, 0.1, None, None, {"RR@10": value}, times)


def test_one_setting_is_chosen():
    points = [_point("a", 0.5, 1), _point("a", 0.596, 2), _point("a", 0.6, 4), _point("b", 0.55, 3)]

    def chosen(*arguments):
        return [each.chosen for each in choose(points, *arguments)]

    assert chosen(0.01) == [False, True, False, True]
    assert chosen(0.0) == [False, False, True, True]
    assert chosen(0.01, "b") == [False, True, False, True]
    assert chosen(0.01, "a") == [True, False, False, True]  # b is slower at its fastest: its only setting stays


@pytest.mark.slow
def test_bm25_finds_what_pyserini_finds(tiny, tmp_path):
    texts, _ = tiny_corpus(300)
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "docs.jsonl").write_text(
        "".join(json.dumps({"id": f"d{row}", "contents": text}) + "\n" for row, text in enumerate(texts))
    )
    run_module(
        "pyserini.index.lucene", "--collection", "JsonCollection", "--input", tmp_path / "corpus",
        "--index", tmp_path / "lucene", "--generator", "DefaultLuceneDocumentGenerator", "--threads", "1",
    )  # fmt: skip
    run_module(
        "pyserini.search.lucene", "--index", tmp_path / "lucene", "--topics", tiny / "topics.tsv",
        "--hits", "100", "--output", tmp_path / "pyserini.txt",
    )  # fmt: skip
    run_module(
        "jpq_pyserini.bench.latency", "--embeddings", tiny / "flat", "--topics", tiny / "topics.tsv",
        "--encoder", tiny / "encoder", "--lucene", tmp_path / "lucene", "--rounds", "1", "--queries-a-round", "1",
        "--batch", "4", "--threads", "2", "--systems", "flat", "--output", tmp_path / "out",
    )  # fmt: skip
    found, wanted = (
        {(qid, docid, np.float32(score)) for qid, _, docid, _, score, _ in map(str.split, path.open())}
        for path in (tmp_path / "out" / "runs" / "bm25.txt", tmp_path / "pyserini.txt")
    )
    assert found == wanted
    (run,) = json.loads((tmp_path / "out" / "latency.json").read_text())["runs"]
    (point,) = (point for point in run["points"] if point["name"] == "bm25")
    size = sum(file.stat().st_size for file in (tmp_path / "lucene").iterdir())
    assert point["bytes_per_document"] == size / 300
    assert point["encode_ms"] == 0


@pytest.mark.slow
def test_encoding(tiny, tmp_path):
    done = run_module(
        "jpq_pyserini.bench.backends", "--index", tiny / "index", "--topics", tiny / "topics.tsv",
        "--qrels", tiny / "qrels.txt", "--rounds", "1", "--output", tmp_path / "encoding.json",
    )  # fmt: skip
    record = json.loads((tmp_path / "encoding.json").read_text())
    assert list(record["backends"]) == ["torch"]
    assert record["backends"]["torch"]["cosine"] == pytest.approx(1)
    assert record["backends"]["torch"]["R@100"] > 0
    assert record["backends"]["torch"]["end to end"]["median_ms"] > 0
    assert "model.onnx is missing" in done.stderr


def test_lists_to_visit(tiny):
    index = JPQIndex.open(tiny / "index")
    vectors = index.codec.decode(index.codes[:40])
    relevant = [{row} for row in range(40)]
    everything = sweep(index, vectors, relevant, 300, target=1.0, seed=1)
    found = np.argsort(-index.codec.scores(vectors, index.codes), axis=1)[:, :100]
    assert everything.recall_of_all == np.mean([row in found[row] for row in range(40)])
    assert everything.recall >= everything.recall_of_all
    assert 1 < everything.nprobe <= everything.nlist == 7
    assert 0 < everything.visited <= 1
    half = sweep(index, vectors, relevant, 300, target=0.5, seed=1)
    assert half.nprobe < everything.nprobe
    assert half.visited < everything.visited
    part = sweep(index, vectors, relevant, 100, target=0.9, seed=1)
    assert part.documents == 100
    assert 0 < part.queries < 40
    assert list(part.record()) == [
        "documents", "queries", "nlist", "nprobe", "visited", "R@100", "R@100 of all", "ms", "ms of all",
    ]  # fmt: skip
