"""Measures and the table of runs: equal to Pyserini's trec_eval digit for digit, and hand-worked cases."""

import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from jpq_pyserini.eval import compare
from jpq_pyserini.eval.measures import DEFAULT_MEASURES, evaluate, mean, parse_measure
from jpq_pyserini.eval.runs import read_run
from jpq_pyserini.eval.significance import mark, paired_t_test

from jpq_pyserini.errors import JPQError
from jpq_pyserini.topics import read_qrels, read_topics

DATA = Path(os.environ.get("JPQ_TEST_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
TREC_NAMES = {"nDCG@10": "ndcg_cut_10", "R@100": "recall_100", "R@1000": "recall_1000", "nDCG": "ndcg", "AP": "map"}
TREC_NAMES |= {"AP@10": "map_cut_10", "P@5": "P_5", "RR": "recip_rank", "Success@5": "success_5"}
QRELS = {"q1": {"d1": 1, "d2": 2}, "q2": {"d1": 0}, "q3": {"d9": 1}, "q4": {"a": 1, "b": -1}, "unanswered": {"x": 1}}
RUN = """\
q1 Q0 d1 1 27.123456 t
q1 Q0 d2 2 27.1234561 t
q1 Q0 d0 3 27.12345605 t
q2 Q0 d1 1 1 t
q3 Q0 d8 1 1 t
q3 Q0 d9 2 1 t
unjudged Q0 d1 1 1 t
q4 Q0 b 9 3 t
q4 Q0 a 1 2 t
"""


def _trec_eval(qrels, run, *options):
    """Return {measure: {qid or "all": value as printed}} from Pyserini's own command."""
    command = [sys.executable, "-m", "pyserini.eval.trec_eval", "-c", "-q", *options, str(qrels), str(run)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    printed = {}
    for line in done.stdout.splitlines():
        if len(columns := line.split("\t")) == 3:
            printed.setdefault(columns[0].strip(), {})[columns[1]] = columns[2]
    return printed


def _assert_equal_to_trec_eval(qrels_path, run_path):
    qrels = read_qrels(qrels_path)
    values = evaluate(read_run(run_path), qrels, ["RR@10", *TREC_NAMES])
    options = [
        word for name in ("ndcg_cut.10", "recall.100,1000", "ndcg", "map", "map_cut.10", "P.5") for word in ("-m", name)
    ]
    printed = _trec_eval(qrels_path, run_path, *options, "-m", "recip_rank", "-m", "success.5")
    printed["RR@10"] = _trec_eval(qrels_path, run_path, "-M", "10", "-m", "recip_rank")["recip_rank"]
    for name in values:
        theirs = printed[TREC_NAMES.get(name, name)]
        assert {"all": f"{mean(values[name]):.4f}"} | {
            qid: f"{values[name][qid]:.4f}" for qid in theirs if qid != "all"
        } == theirs
        assert all(value == 0 for qid, value in values[name].items() if qid not in theirs)


def _write_qrels(path, qrels):
    path.write_text("".join(f"{q} 0 {d} {r}\n" for q, docs in qrels.items() for d, r in docs.items()))
    return path


def _random_collection(tmp_path, seed):
    """Write graded qrels and a run with many ties, ranks against scores, and scores that float32 cannot tell."""
    draw = random.Random(seed)
    documents = [f"{draw.choice(('d', 'D', 'é', ''))}{i}" for i in range(300)]
    qrels = {f"q{i}": {d: draw.choice((-1, 0, 1, 1, 2, 3)) for d in draw.sample(documents, 12)} for i in range(60)}
    lines = []
    for qid in [*list(qrels)[5:], "unjudged"]:
        for rank, docid in enumerate(draw.sample(documents, draw.randint(1, 250)), 1):
            score = draw.choice((12.5, 12.5000001, 12.50000009, draw.randint(-3, 3), draw.random()))
            lines.append(f"{qid} Q0 {docid} {rank} {score} tag\n")
    draw.shuffle(lines)
    (tmp_path / "run.txt").write_text("".join(lines), encoding="utf-8")
    return _write_qrels(tmp_path / "qrels.txt", qrels), tmp_path / "run.txt"


def test_equal_to_trec_eval_on_ties_and_grades(tmp_path):
    _assert_equal_to_trec_eval(*_random_collection(tmp_path, seed=7))


def test_equal_to_trec_eval_with_a_relevance_level(tmp_path):
    qrels, run = _random_collection(tmp_path, seed=8)
    names = {"AP(rel=2)": "map", "R(rel=2)@100": "recall_100", "RR(rel=2)": "recip_rank"}
    values = evaluate(read_run(run), read_qrels(qrels), [*names, "R@100", "nDCG@10"])
    printed = _trec_eval(qrels, run, "-l", "2", "-m", "map", "-m", "recall.100", "-m", "recip_rank")
    assert {name: f"{mean(values[name]):.4f}" for name in names} == {n: printed[t]["all"] for n, t in names.items()}
    assert mean(values["R(rel=2)@100"]) != mean(values["R@100"])


def test_equal_to_trec_eval_on_a_real_collection(tmp_path):
    if not (DATA / "scifact").is_dir():
        pytest.skip(f"no collection in {DATA / 'scifact'}: set JPQ_TEST_DATA to the folder that holds scifact")
    from sklearn.feature_extraction.text import TfidfVectorizer

    corpus = (DATA / "scifact" / "corpus.jsonl").read_text(encoding="utf-8")
    corpus = [json.loads(line) for line in corpus.splitlines()]
    docids = [document["id"] for document in corpus]
    vectorizer = TfidfVectorizer(sublinear_tf=True)
    documents = vectorizer.fit_transform(" ".join(map(str, document.values())) for document in corpus)
    topics = read_topics(DATA / "scifact" / "queries.test.tsv")
    scores = (vectorizer.transform(topics.values()) @ documents.T).toarray().round(2)  # rounded, for the ties
    with open(tmp_path / "run.txt", "w", encoding="utf-8") as file:
        for qid, row in zip(topics, scores, strict=True):
            ranked = (-row).argsort(kind="stable")[:1000]
            file.writelines(f"{qid} Q0 {docids[d]} {rank} {row[d]:.6f} tfidf\n" for rank, d in enumerate(ranked, 1))
    _assert_equal_to_trec_eval(DATA / "scifact" / "qrels.test.txt", tmp_path / "run.txt")


def test_msmarco_runs_score_as_pyserini_converts_them(tmp_path):
    qrels = _write_qrels(tmp_path / "qrels.txt", {"q1": {"b": 1}, "q2": {"c": 1}})
    run = tmp_path / "run.tsv"
    run.write_text("q1\ta\t1\nq1\tb\t2\nq2\tc\t3\nq2\td\t7\n")
    assert dict(read_run(run)) == {"q1": {"a": 1.0, "b": 1 / 2}, "q2": {"c": 1 / 3, "d": 1 / 7}}
    _assert_equal_to_trec_eval(qrels, run)


def test_values_worked_by_hand(tmp_path):
    (tmp_path / "run.txt").write_text(RUN)
    values = evaluate(read_run(tmp_path / "run.txt"), QRELS, ["RR", "R@1", "Success@1", "nDCG@10"])
    # q1: d2, d0, d1 by score; q3: a tie, the greater docid first; q4: by score, not by rank.
    assert values["RR"] == {"q1": 1.0, "q2": 0.0, "q3": 1.0, "q4": 0.5, "unanswered": 0.0}
    assert values["R@1"] == {"q1": 0.5, "q2": 0.0, "q3": 1.0, "q4": 0.0, "unanswered": 0.0}
    assert values["nDCG@10"]["q1"] == pytest.approx((2 + 1 / 2) / (2 + 1 / 1.5849625007))
    assert mean(values["RR"]) == 0.5


def test_plain_dicts_with_numpy_numbers():
    run = {"q": {"a": np.float32(1), "b": np.float32(2)}, "nothing": {}}
    assert evaluate(run, {"q": {"a": np.int64(1)}, "nothing": {"a": 1}, "unjudged": {}}, ["MRR@10", "P@1"]) == {
        "MRR@10": {"q": 0.5, "nothing": 0.0, "unjudged": 0.0},
        "P@1": {"q": 0.0, "nothing": 0.0, "unjudged": 0.0},
    }


def test_reciprocal_rank_is_cut_after_the_cutoff():
    ranked = {f"d{i:03}": 1000.0 - i for i in range(1, 200)}
    for cutoff in (1, 3, 7, 10, 49, 100):
        measure = f"RR@{cutoff}"
        inside, outside = {"q": {f"d{cutoff:03}": 1}}, {"q": {f"d{cutoff + 1:03}": 1}}
        assert evaluate({"q": ranked}, inside, [measure])[measure]["q"] == 1 / cutoff
        assert evaluate({"q": ranked}, outside, [measure])[measure]["q"] == 0


def test_run_and_qrels_of_different_queries():
    with pytest.raises(JPQError, match=r"none of the run's 1 query ids .first '7'.*1 queries, first '007'"):
        evaluate({"7": {"d": 1.0}}, {"007": {"d": 1}})


@pytest.mark.parametrize(
    "name",
    ["R", "nDCG@0", "RR@", "RR@ten", "NDGC@10", "P@-1", "bpref@10", "nDCG(rel=2)@10", "R@5(rel=2)", "R(rel=0)@5", ""],
)
def test_unknown_measures(name):
    with pytest.raises(JPQError, match=f"unknown measure {re.escape(repr(name))}"):
        parse_measure(name)


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


@pytest.fixture
def files(tmp_path):
    """Write qrels of 12 queries, a run ``best`` that ranks the relevant document first, and ``half`` second."""
    _write_qrels(tmp_path / "qrels.txt", {str(q): {"rel": 1} for q in range(12)})
    for name, score in (("best", 3), ("half", 1)):
        lines = (f"{q} Q0 rel 1 {score} t\n{q} Q0 other 2 {2 + q % 2 / 2} t\n" for q in range(12))
        (tmp_path / f"{name}.txt").write_text("".join(lines))
    return tmp_path


def _arguments(files, *more):
    return [
        "--qrels",
        str(files / "qrels.txt"),
        "--run",
        str(files / "half.txt"),
        "--run",
        f"JPQ={files}/best.txt",
        *more,
    ]


def test_terminal_table(files, capsys):
    compare.main(_arguments(files, "--against", "half", "--measures", "RR@10", "R@100"))
    header, half, jpq, _, queries, legend = capsys.readouterr().out.splitlines()
    assert header.split() == ["run", "RR@10", "R@100"]
    assert half.split() == ["half", "0.5000", ">1.0000"]
    assert jpq.split() == ["JPQ", ">1.0000**", ">1.0000"]
    assert queries == "12 queries; > best"
    assert "against half" in legend
    assert half.index(".5000") == jpq.index(".0000")


def test_markdown_and_json(files, capsys):
    compare.main(_arguments(files, "--against", "half", "--format", "markdown", "--measures", "RR@10"))
    lines = capsys.readouterr().out.splitlines()
    assert lines[:4] == ["| run | RR@10 |", "| --- | ---: |", "| half | 0.5000 |", r"| JPQ | **1.0000**\*\* |"]
    compare.main(_arguments(files, "--format", "json", "--output", str(files / "out" / "table.json")))
    assert capsys.readouterr().out == ""
    record = json.loads((files / "out" / "table.json").read_text())
    assert record["queries"] == 12
    assert [run["name"] for run in record["runs"]] == ["half", "JPQ"]
    assert list(record["runs"][0]["means"]) == list(DEFAULT_MEASURES)
    assert record["runs"][0]["means"]["RR@10"] == 0.5


def test_per_query_values(files):
    compare.main(_arguments(files, "--per-query", str(files / "values.tsv"), "--output", str(files / "t.txt")))
    header, *rows = [line.split("\t") for line in (files / "values.tsv").read_text().splitlines()]
    assert header == ["qid", "run", "measure", "value"]
    assert len(rows) == 12 * 2 * 4
    assert ["11", "half", "RR@10", "0.5"] in rows


def test_unanswered_queries_are_mentioned(files, capsys):
    (files / "best.txt").write_text("3 Q0 rel 1 1 t\n")
    compare.main(_arguments(files))
    assert (
        "note: JPQ: no result for 11 of the 12 judged queries, which count zero (first: 0)" in capsys.readouterr().err
    )


def test_bad_command_lines_end_in_one_line(files):
    def stderr_of(*arguments):
        command = [sys.executable, "-m", "jpq_pyserini.eval.compare", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 1
        return done.stderr

    (files / "old.tsv").write_text("precious")
    twice = stderr_of(*_arguments(files, "--run", f"JPQ={files}/half.txt"))
    assert re.fullmatch(r"error: two runs are called 'JPQ' .*name them with --run NAME=RUN\n", twice)
    (files / "best.txt").write_text("other Q0 rel 1 1 t\n")
    foreign = stderr_of(*_arguments(files, "--per-query", str(files / "old.tsv")))
    assert re.fullmatch(r"error: .*best\.txt: none of the run's 1 query ids .*\n", foreign)
    assert (files / "old.tsv").read_text() == "precious"


def test_against_and_measures_are_checked_before_reading(files):
    with pytest.raises(JPQError, match="--against OPQ: no run of that name, there are half, JPQ"):
        compare.main(_arguments(files, "--against", "OPQ"))
    with pytest.raises(JPQError, match="unknown measure 'NDGC@10'"):
        compare.main(["--qrels", "absent", "--run", "absent", "--measures", "NDGC@10"])
