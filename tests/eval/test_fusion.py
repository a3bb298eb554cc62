"""Fusion of runs: equal to Pyserini's where Pyserini has an answer, and an answer where it has none."""

import gzip
import itertools
import random

import numpy as np
import pytest

from jpq_pyserini.data.runs import read_run, write_run
from jpq_pyserini.errors import JPQError
from jpq_pyserini.eval.fusion import __main__ as fusion
from jpq_pyserini.eval.fusion.fusing import FusedRun, Fusion, balanced_weights, normalised
from jpq_pyserini.eval.fusion.tuning import simplex, tune
from jpq_pyserini.eval.measures import evaluate, mean

from helpers.processes import run_python

NAN = float("nan")


def write_random_runs(folder, seed=3):
    """Write ``bm25.txt`` and ``dense.txt`` of 25 queries with distinct scores, and return their paths."""
    draw = random.Random(seed)
    paths = []
    for name, scale in (("bm25", 20), ("dense", 1)):
        lines = []
        for query in range(25):
            docids = draw.sample([f"{letter}{i}" for letter in "dDé" for i in range(40)], draw.randint(5, 60))
            scores = sorted(draw.sample(range(10**6), len(docids)), reverse=True)
            rows = enumerate(zip(docids, scores, strict=True), 1)
            lines += [f"{query} Q0 {docid} {rank} {scale * score / 10**6:.6f} t\n" for rank, (docid, score) in rows]
        paths.append(folder / f"{name}.txt")
        paths[-1].write_text("".join(lines), encoding="utf-8")
    return paths


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return write_random_runs(tmp_path_factory.mktemp("runs"))


def assert_same_hits(ours, theirs):
    assert set(ours) == set(theirs)
    for qid in theirs:
        assert ours[qid].keys() == theirs[qid].keys()
        assert [ours[qid][docid] for docid in theirs[qid]] == pytest.approx(list(theirs[qid].values()), abs=2e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("rrf", ["--method", "rrf", "--rrf.k", "40"]),
        ("normalize", ["--method", "interpolation", "--weights", "1", "1"]),
    ],
)
def test_equal_to_pyserinis_fusion(tmp_path, runs, method, options):
    theirs, ours = tmp_path / "theirs.txt", tmp_path / "ours.txt"
    run_python("-m", "pyserini.fusion", "--runs", *runs, "--method", method, "--rrf.k", "40", "--output", theirs)
    done = run_python("-m", "jpq_pyserini.eval.fusion", "--run", runs[0], "--run", runs[1], *options, "--output", ours)
    assert f"25 queries, {len(ours.read_text().splitlines()):,} lines in {ours}" in done.stdout
    assert_same_hits(read_run(ours), read_run(theirs))


def test_equal_to_pyserinis_hybrid_searcher(runs):
    from pyserini.search.faiss import DenseSearchResult
    from pyserini.search.hybrid import HybridSearcher

    sparse, dense = map(read_run, runs)
    hits = [{qid: [DenseSearchResult(*hit) for hit in run[qid].items()] for qid in run} for run in (sparse, dense)]
    theirs = {
        qid: {hit.docid: hit.score for hit in HybridSearcher._hybrid_results(hits[1][qid], hits[0][qid], 0.07, 1000)}
        for qid in dense
    }
    fused = FusedRun([sparse, dense], Fusion("interpolation", "none", (0.07, 1)))
    assert_same_hits(fused, theirs)


CORNERS = {
    "one run only": [{"q": {"a": 3.0, "b": 1.0}}, {"other": {"c": 1.0}}],
    "a single hit": [{"q": {"a": 3.0}}, {"q": {"b": 2.0, "a": 1.0}}],
    "single hits": [{"q": {"a": 3.0}}, {"q": {"b": 2.0}}],
    "equal scores": [{"q": {"a": 0.1, "b": 0.1, "c": 0.1}}, {"q": {"b": 0.3, "d": 0.1}}],
    "no hits": [{"q": {}}, {"q": {"b": 0.3, "d": 0.1}}],
    "no hits at all": [{"q": {}}, {"q": {}}],
    "huge": [{"q": {"a": 1e308, "b": -1e308}}, {"q": {"a": 1e-320, "b": 5e-324}}],
    "zeros": [{"q": {"a": 0.0, "b": -0.0}}, {"q": {"b": 0.0}}],
}


@pytest.mark.parametrize(
    ("method", "how"), [("rrf", "none"), ("interpolation", "min-max"), ("interpolation", "z-score")]
)
@pytest.mark.parametrize("runs", CORNERS.values(), ids=CORNERS)
def test_corner_cases_are_finite_and_do_not_warn(runs, method, how):
    fused = FusedRun(runs, Fusion(method, how, (0.3, 0.7)))
    for qid in fused:
        hits = fused[qid]
        assert hits.keys() == set().union(*(run.get(qid, {}) for run in runs))
        assert np.isfinite(list(hits.values())).all()
        assert list(hits.items()) == sorted(hits.items(), key=lambda hit: (hit[1], hit[0]), reverse=True)


def test_scales_worked_by_hand():
    assert normalised(np.array([4.0, NAN, 2.0, 3.0]), "min-max").tolist() == [1, 0, 0, 0.5]
    assert normalised(np.array([3.0, NAN, 1.0]), "z-score").tolist() == [1, -1, -1]
    assert normalised(np.array([3.0, NAN, 1.0]), "none").tolist() == [3, 1, 1]
    equal = np.array([0.1, 0.1, 0.1, NAN])
    assert [normalised(equal, how).tolist() for how in ("min-max", "z-score", "none")] == [
        [1, 1, 1, 0],
        [0, 0, 0, -1],
        [0.1, 0.1, 0.1, 0.1],
    ]


def test_ties_go_as_in_trec_eval_and_the_order_of_the_hits_does_not_matter(tmp_path):
    hits = {"a": 1.0, "é": 1.0, "B": 1.0, "b": 1.0 + 1e-9}
    for order in itertools.permutations(hits.items()):
        fused = FusedRun([{"q": dict(order)}, {"q": dict(order)}], Fusion("interpolation", "none"))
        assert list(fused["q"]) == ["é", "b", "a", "B"]  # 1e-9 is nothing in single precision
    write_run(tmp_path / "run.txt", fused.items(), "t")
    qrels = {"q": {"a": 1}}
    assert (
        evaluate(read_run(tmp_path / "run.txt"), qrels, ["RR"])
        == {"RR": {"q": 1 / 3}}
        == evaluate(fused, qrels, ["RR"])
    )


def test_depth_cuts_the_runs_and_hits_the_fusion():
    runs = [{"q": {"a": 3.0, "b": 2.0, "c": 1.0}}, {"q": {"c": 9.0, "d": 8.0, "e": 7.0}}]
    fused = FusedRun(runs, Fusion("rrf", depth=2, hits=3))
    assert fused["q"] == pytest.approx({"c": 1 / 61, "a": 1 / 61, "d": 1 / 62})


def test_tuning_finds_the_best_point_of_the_grid(runs):
    dev = [read_run(path) for path in runs]
    draw = random.Random(1)
    qrels = {str(i): dict.fromkeys(draw.sample(list(dev[i % 2][str(i)])[:4], 2), 1) for i in range(25)}
    qrels["unanswered"] = {"d1": 1}
    method = Fusion("interpolation")
    tuning = tune(dev, qrels, method, measure="nDCG@10", step=0.25)
    expected = {
        weights: mean(evaluate(FusedRun(dev, Fusion("interpolation", weights=weights)), qrels, ["nDCG@10"])["nDCG@10"])
        for weights in [(0, 1), (0.25, 0.75), (0.5, 0.5), (0.75, 0.25), (1, 0)]
    }
    assert tuning.curve == expected
    assert tuning.curve[tuning.best] == max(expected.values())
    assert len(set(expected.values())) == 5


def test_of_equally_good_weights_the_most_even_are_taken():
    runs = [{"q": {"a": 2.0, "b": 1.0}}] * 3
    tuning = tune(runs, {"q": {"a": 1}}, Fusion("interpolation"), measure="RR", step=1 / 3)
    assert set(tuning.curve.values()) == {1.0}
    assert len(tuning.curve) == 10
    assert tuning.best == pytest.approx((1 / 3, 1 / 3, 1 / 3))


def test_balanced_weights_give_equal_spreads():
    wide, narrow = (
        {"q": {"a": 20.0, "b": 0.0}, "p": {"a": 10.0}},
        {"q": {"a": 0.3, "b": 0.1}, "p": {"a": 0.9, "b": 0.7}},
    )
    assert balanced_weights([wide, narrow]) == pytest.approx((0.2 / 10.2, 10 / 10.2))
    assert balanced_weights([wide, {"q": {"a": 1.0}}]) == (0.5, 0.5)


@pytest.mark.slow
def test_tuned_command_line(tmp_path, runs):
    qrels = tmp_path / "qrels.txt"
    qrels.write_text("".join(f"{qid} 0 {next(iter(hits))} 1\n" for qid, hits in read_run(runs[1]).items()))
    words = ["-m", "jpq_pyserini.eval.fusion", "--method", "interpolation", "--hits", 10, "--tag", "mine"]
    for name, path in zip(("BM25", "dense"), runs, strict=True):
        words += ["--run", f"{name}={path}", "--tune-run", f"{name}={path}"]
    words += ["--tune-qrels", qrels, "--tune-step", 0.5, "--output", tmp_path / "out.gz"]
    done = run_python(*words)
    table = [line.split() for line in done.stdout.splitlines()]
    assert table[1] == ["BM25", "dense", "RR@10"]
    assert table[2] == [">", "0", "1", "1.0000"]  # the relevant one is the dense run's first
    assert [row[:2] for row in table[3:5]] == [["0.5", "0.5"], ["1", "0"]]
    packed = (tmp_path / "out.gz").read_bytes()
    lines = gzip.decompress(packed).decode().splitlines()
    assert lines[0].split()[:2] + lines[0].split()[5:] == ["0", "Q0", "mine"]
    assert all(len(hits) <= 10 for hits in read_run(tmp_path / "out.gz").values())
    run_python(*words, PYTHONHASHSEED="7")
    assert (tmp_path / "out.gz").read_bytes() == packed


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--run", "b={1}", "--weights", "1"], "1 weights for 2 runs"),
        (["--run", "b={1}", "--weights", "1", "x"], "--weights 1 x: give one number a run"),
        (["--run", "b={1}", "--weights", "1", "nan"], "weights 1 nan: give finite numbers"),
        (["--run", "b={1}", "--weights", "0", "0"], "not all zero"),
        (["--run", "b={1}", "--weights", "balanced"], "use --normalise none"),
        (["--run", "b={1}", "--tag", "two words"], "give one word"),
        (["--run", "b={1}", "--tune-run", "a={0}"], "go together"),
        (["--run", "b={1}", "--tune-run", "a={0}", "--tune-qrels", "q"], "--tune-run names a but --run names a, b"),
        ([], "takes two runs or more, got 1"),
        (["--run", "a={1}"], "two runs are called 'a'"),
    ],
)
def test_bad_options_get_one_line(tmp_path, runs, words, message):
    words = ["--run", f"a={runs[0]}", *(word.format(*runs) for word in words), "--output", str(tmp_path / "out")]
    with pytest.raises(JPQError) as caught:
        fusion.main(words)
    assert message in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--hits", "0"], "argument --hits: 0 is not a whole number from 1 to "),
        (["--rrf-k", "-1"], "argument --rrf-k/--rrf.k: -1 is not a number from 0 to 1000000"),
        (["--rrf-k", "inf"], "argument --rrf-k/--rrf.k: inf is not"),
    ],
)
def test_numbers_out_of_range_are_refused(words, message, capsys):
    with pytest.raises(SystemExit):
        fusion.main(["--run", "a=a", "--run", "b=b", "--output", "out", *words])
    assert message in capsys.readouterr().err


def test_a_grid_that_is_too_fine_or_a_score_too_large():
    with pytest.raises(JPQError, match=r"makes 176,851 points"):
        next(simplex(4, 0.01))
    with pytest.raises(JPQError, match=r"query 'q': a fused score is too large"):
        FusedRun([{"q": {"a": 1e300}}] * 2, Fusion("interpolation", "none"))["q"]
