"""Rand Neg and BM25 Neg: negatives drawn at random or read from a run, by themselves and in trainings."""

import gzip
import json
import re

import numpy as np
import pytest
import torch

from jpq_pyserini import JPQError, JPQFaissSearcher, TrainConfig, train_index
from jpq_pyserini.data.docids import RowsByDocid
from jpq_pyserini.data.runs import read_run
from jpq_pyserini.data.topics import TrainingQuery
from jpq_pyserini.train import step as training_step
from jpq_pyserini.train.inputs import EncoderSource, QueryFiles, Run
from jpq_pyserini.train.negatives import RandomNegatives, split_negatives
from jpq_pyserini.train.run_negatives import best_irrelevant

from helpers.processes import run_module
from helpers.training import FAST, command, fork, run, trained_by_one_and_by_two, wait_for_step

FLAT = {"scoring": "flat", "compress": False}
ROWS = RowsByDocid([f"d{row}" for row in range(40)], "test")
NO_QUERIES = torch.empty(0)  # drawing looks at none
TRAINING = [TrainingQuery(f"q{i}", "text", [i, 2 * i]) for i in range(1, 6)]


def write_run(path, qids, documents, hits, seed=0, msmarco=False):
    """Write a run of random documents, the lines of each query in random order; equal scores do not occur."""
    rng = np.random.default_rng(seed)
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "wt") as file:
        for qid in qids:
            docids = [f"d{row}" for row in rng.choice(documents, hits, replace=False)]
            for rank in rng.permutation(hits):
                if msmarco:
                    file.write(f"{qid}\t{docids[rank]}\t{rank + 1}\n")
                else:
                    file.write(f"{qid} Q0 {docids[rank]} {rank + 1} {100.5 - rank} tag\n")
    return path


def expected_negatives(path, qid, relevant, count):
    """The same by the evaluation's own reader of runs."""
    scores = read_run(path)[qid]
    ranked = [int(docid[1:]) for docid in sorted(scores, key=scores.get, reverse=True)]
    return [row for row in ranked if row not in relevant][:count]


@pytest.mark.parametrize(("name", "msmarco"), [("run.txt", False), ("run.txt", True), ("run.tsv.gz", True)])
def test_the_best_irrelevant_hits_of_a_run(tmp_path, name, msmarco):
    path = write_run(tmp_path / name, ["other", *(query.qid for query in TRAINING), "q99"], 40, 20, msmarco=msmarco)
    for count in (3, 25):  # more than there are hits
        table = best_irrelevant(path, TRAINING, ROWS, count, progress=False)
        assert table.dtype == np.int32
        assert table.shape == (5, count)
        for query, rows in zip(TRAINING, table.tolist(), strict=True):
            expected = expected_negatives(path, query.qid, query.rows, count)
            assert rows == expected + [-1] * (count - len(expected))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty: a run has lines"),
        ("q1 d1\n", r":1: 2 columns in 'q1 d1': a run has lines"),
        ("q1 d1 1\nq1 Q0 d2 2 3.0 t\n", ":2: 6 columns in 'q1 Q0 d2 2 3.0 t', not 3 as before"),
        ("q1 Q0 d1 1 high t\n", ":1: score 'high' is no number"),
        ("q1 Q0 d1 1 nan t\n", ":1: score 'nan' of document 'd1' is not finite"),
        ("q1 d1 0\n", ":1: rank '0' is no positive integer"),
        ("q1 d9 1\nq1 d3 2\nq1 d9 3\n", ":3: document 'd9' is listed twice for query 'q1'"),
        ("q1 d9 1\nq2 d3 1\nq1 d8 2\n", ":3: query 'q1' came before, .*sort -s -k1,1"),
        ("q9 d9 1\nq8 d3 1\n", r"has none of the 5 training queries \(first id 'q1'\): give the run of the topics"),
        (
            "q1 d9 1\nq1 e7 2\nq2 e7 1\nq9 e7 1\n",
            r":2: document 'e7' is not in the collection \(2 such hits, 40 documents, the first one 'd0'\)",
        ),
    ],
)
def test_a_bad_run_is_refused_in_one_line(tmp_path, text, message):
    path = tmp_path / "run.txt"
    path.write_text(text)
    with pytest.raises(JPQError, match=message) as raised:
        best_irrelevant(path, TRAINING, ROWS, 10, progress=False)
    assert "\n" not in str(raised.value)
    assert str(path) in str(raised.value)


def test_random_negatives_are_uniform_and_each_step_and_query_has_its_own():
    """Every irrelevant document is as likely as any other, whatever the relevant ones are."""
    training = [TrainingQuery("a", "", [3]), TrainingQuery("b", "", [5, 6, 7]), TrainingQuery("c", "", [])]
    source = RandomNegatives(training, documents=30, count=6, seed=1)
    counts, firsts = np.zeros((3, 30)), np.zeros(30)
    for step in range(600):
        taken = split_negatives(source.find(step, [0, 1, 2], NO_QUERIES, None), [query.rows for query in training], 6)
        assert taken.negative_mask.all()
        for query, rows in enumerate(taken.negatives.tolist()):
            assert len(set(rows)) == 6
            counts[query, rows] += 1
        firsts[rows[0]] += 1
    for query, of_query in zip(training, counts, strict=True):
        irrelevant = np.setdiff1d(np.arange(30), query.rows)
        assert of_query[query.rows].sum() == 0
        p = 6 / len(irrelevant)
        assert np.abs(of_query[irrelevant] - 600 * p).max() < 4.5 * np.sqrt(600 * p * (1 - p))
    assert np.abs(firsts - 600 / 30).max() < 4.5 * np.sqrt(600 / 30)
    all_alike = [
        torch.equal(source.find(7, [0, 2], NO_QUERIES, None)[:, :6], other[:, :6])
        for other in (
            source.find(8, [0, 2], NO_QUERIES, None),
            RandomNegatives(training, 30, 6, seed=2).find(7, [0, 2], NO_QUERIES, None),
        )
    ]
    assert not any(all_alike)


def test_draws_do_not_depend_on_the_rest_of_the_batch():
    training = [TrainingQuery(str(i), "", list(range(i))) for i in range(6)]
    source = RandomNegatives(training, documents=20_000, count=50, seed=3)
    together = source.find(4, [5, 0, 3, 2], NO_QUERIES, None)
    assert together.shape == (4, 55)  # room for the relevant ones of the first
    again = RandomNegatives(training, documents=20_000, count=50, seed=3)
    for row, position in enumerate([5, 0, 3, 2]):
        alone = again.find(4, [position], NO_QUERIES, None)[0]
        assert torch.equal(together[row][: len(alone)], alone)
        assert (together[row][len(alone) :] == -1).all()
    few = RandomNegatives(training, documents=4, count=50, seed=3).find(0, [0], NO_QUERIES, None)
    assert sorted(few[0].tolist()) == [0, 1, 2, 3]


def with_run(tiny, queries, output, path, **settings):
    data = [tiny / "flat", str(tiny / "encoder"), output, queries / "train.tsv", queries / "train.txt"]
    config = TrainConfig(**{**FAST, "negatives_from": "run", **settings})
    dev = [queries / "dev.tsv", queries / "dev.txt"]
    return train_index(*data, *dev, config=config, progress=False, negatives_run=path)


@pytest.mark.slow
@pytest.mark.parametrize("settings", [FLAT, {}], ids=["flat", "codes"])
def test_a_training_takes_the_negatives_of_the_run(tiny, queries, tmp_path, monkeypatch, settings):
    """Queries without negatives are left out; all others have those of the run, whatever the weights are."""
    path = write_run(tmp_path / "run.txt", range(10, 130), 300, 30)  # not of queries 0 to 9
    path.write_text(path.read_text() + "5 Q0 d5 1 1.0 tag\n")  # a relevant document alone
    seen = {}

    def watched(found, relevant, count):
        taken = split_negatives(found, relevant, count)
        for (row,), negatives in zip(relevant, taken.negatives[:, :20].tolist(), strict=True):
            assert seen.setdefault(row, negatives) == negatives
        return taken

    monkeypatch.setattr(training_step, "split_negatives", watched)
    report = with_run(tiny, queries, tmp_path / "out", path, epochs=2, **settings)
    assert sorted(seen) == list(range(10, 120))
    for row, negatives in seen.items():
        assert negatives == expected_negatives(path, str(row), [row], 20)
    record = json.loads((tmp_path / "out" / "jpq.json").read_text())["training"]
    assert record["training_queries"] == 110
    assert record["data"]["negatives_run"] == "run.txt"
    assert re.fullmatch("[0-9a-f]{64}", record["fingerprint"]["negatives_run"])
    assert report.evaluated_on == 60
    assert report.after >= report.before


def test_a_training_draws_its_negatives(tiny, queries, tmp_path, monkeypatch):
    draws = []

    def watched(found, relevant, count):
        taken = split_negatives(found, relevant, count)
        draws.append((relevant, taken.negatives.tolist()))
        return taken

    monkeypatch.setattr(training_step, "split_negatives", watched)
    report = run(tiny, queries, tmp_path / "a", negatives_from="random", epochs=4, encoder_lr=2e-3, **FLAT)
    assert report.after > report.before
    assert len(draws) == 32
    training = [TrainingQuery(str(i), "", [i]) for i in range(120)]
    expected = RandomNegatives(training, 300, 20, seed=42)
    for step, (relevant, negatives) in enumerate(draws):
        drawn = split_negatives(expected.find(step, [row for (row,) in relevant], NO_QUERIES, None), relevant, 20)
        assert drawn.negatives.tolist() == negatives
    index = (tmp_path / "a" / "index").read_bytes()
    assert index == (tiny / "flat" / "index").read_bytes()
    hits = JPQFaissSearcher(tmp_path / "a").search("bace difo", k=3)  # a Pyserini folder as it stands
    assert len(hits) == 3


@pytest.mark.slow
def test_the_command_line(tiny, queries, tmp_path):
    path = write_run(tmp_path / "run.txt.gz", range(3, 120), 300, 25)
    settings = {"epochs": 1, "negatives_from": "run", "negatives_run": path, **FLAT}
    done = run_module(*command(tiny, queries, tmp_path / "out", **settings)[2:])
    left_out = f"WARNING: {path}: 3 of 120 training queries have no irrelevant hit, left out\n"
    assert left_out in done.stderr
    assert "weights of step" in done.stdout
    config = json.loads((tmp_path / "out" / "jpq.json").read_text())["training"]["config"]
    assert (config["negatives_from"], config["negatives"]) == ("run", 20)


def test_a_changed_run_is_another_run(tmp_path):
    """What a checkpoint is checked by."""

    def fingerprint(path):
        nothing = QueryFiles()
        config = TrainConfig(negatives_from="run")
        return Run("flat", EncoderSource("encoder"), "out", nothing, nothing, config, path).fingerprint()

    path = write_run(tmp_path / "run.txt", range(10), 300, 5)
    before = fingerprint(path)
    assert fingerprint(write_run(tmp_path / "same.txt", range(10), 300, 5)) == before
    write_run(path, range(10), 300, 5, seed=1)
    after = fingerprint(path)
    assert {name for name in before if before[name] != after[name]} == {"negatives_run"}


def test_flags_that_do_not_go_together(tiny, queries, tmp_path):
    path = write_run(tmp_path / "run.txt", range(120), 300, 5)
    with pytest.raises(JPQError, match=r"--negatives-from run: give the run .* as --negatives-run"):
        run(tiny, queries, tmp_path / "no", negatives_from="run")
    with pytest.raises(JPQError, match=r"--negatives-run .*run.txt is not read with --negatives-from static: add"):
        with_run(tiny, queries, tmp_path / "no", path, negatives_from="static")
    with pytest.raises(JPQError, match=r"--negatives-run .*nowhere.txt: no such file"):
        with_run(tiny, queries, tmp_path / "no", tmp_path / "nowhere.txt")
    path.write_text("".join(f"{i} Q0 d{i} 1 1.0 tag\n" for i in range(120)))
    with pytest.raises(JPQError, match="all its hits are relevant"):
        with_run(tiny, queries, tmp_path / "no", path)
    with pytest.raises(JPQError, match="add --scoring flat, and --negatives-from flat, random or run"):
        TrainConfig(compress=False, scoring="flat", negatives_from="static")
    assert [path.name for path in tmp_path.iterdir()] == ["run.txt"]


@pytest.mark.slow
def test_killed_and_resumed_the_draws_are_the_same(tiny, queries, tmp_path):
    settings = {"negatives_from": "random", "epochs": 5, **FLAT}
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    run_module(*command(tiny, queries, whole, **settings)[2:])
    process = fork(command(tiny, queries, killed, **settings))
    wait_for_step(tmp_path / "killed.checkpoint", 20, process)
    process.kill()
    assert not killed.exists()
    again = command(tiny, queries, killed, "--resume", **settings)
    run_module(*again[2:])
    for name in ("index", "docid", "query_encoder/model.safetensors"):
        assert (whole / name).read_bytes() == (killed / name).read_bytes()


@pytest.mark.slow
def test_two_processes_have_the_negatives_of_one(tiny, queries, tmp_path):
    lines = (queries / "train.txt").read_text() + "".join(f"{i} 0 d{i + 150} 1\n" for i in range(0, 120, 3))
    judged = tmp_path / "more"  # queries with one or two relevant documents, so that halves differ in width
    judged.mkdir()
    for name in ("train.tsv", "dev.tsv", "dev.txt"):
        (judged / name).write_text((queries / name).read_text())
    (judged / "train.txt").write_text(lines)
    settings = {"dropout": False, "epochs": 2, "checkpoint_steps": 100, "negatives_from": "random"}
    one, two = trained_by_one_and_by_two(tiny, judged, tmp_path, settings)
    assert np.allclose(one.codec.centroids, two.codec.centroids, atol=2e-5)
    assert np.abs(one.codec.centroids - one.codec.assignment_centroids).max() > 1e-3
    ours, theirs = (index.record.training["curve"] for index in (one, two))
    assert [point["rr@10"] for point in ours] == pytest.approx([point["rr@10"] for point in theirs], abs=1e-3)
