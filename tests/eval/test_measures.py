"""Measures: equal to Pyserini's trec_eval digit for digit, and to MS MARCO's own script; hand-worked cases."""

import contextlib
import importlib.util
import io
import json
import math
import os
import random
import re
from pathlib import Path

import numpy as np
import pytest

from jpq_pyserini.data.runs import read_run
from jpq_pyserini.data.topics import read_qrels, read_topics
from jpq_pyserini.errors import JPQError
from jpq_pyserini.eval.measures import aggregate, evaluate, mean, parse_measure, shown, trec_order

DATA = Path(os.environ.get("JPQ_TEST_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")
#: Our name of a measure, trec_eval's option, what it prints.
MEASURES = (
    ("nDCG@10", "ndcg_cut.10", "ndcg_cut_10"),
    ("R@100", "recall.100,1000", "recall_100"),
    ("R@1000", "recall.100,1000", "recall_1000"),
    ("nDCG", "ndcg", "ndcg"),
    ("AP", "map", "map"),
    ("AP@10", "map_cut.10", "map_cut_10"),
    ("P@5", "P.5", "P_5"),
    ("RR", "recip_rank", "recip_rank"),
    ("Success@5", "success.5", "success_5"),
    ("Bpref", "bpref", "bpref"),
    ("infAP", "infAP", "infAP"),
    ("Rprec", "Rprec", "Rprec"),
    ("SetP", "set_P", "set_P"),
    ("SetR", "set_recall", "set_recall"),
    ("SetF", "set_F", "set_F"),
    ("SetAP", "set_map", "set_map"),
    ("NumRet", "num_ret", "num_ret"),
    ("NumRet(rel=1)", "num_rel_ret", "num_rel_ret"),
    ("NumRel", "num_rel", "num_rel"),
    ("NumQ", "num_q", "num_q"),
    ("IPrec@0.1", "iprec_at_recall.0.1", "iprec_at_recall_0.10"),
)
#: The same with 2 as the least relevance that counts, trec_eval -l 2.
GRADED = (
    ("AP(rel=2)", "map"),
    ("R(rel=2)@100", "recall.100"),
    ("P(rel=2)@5", "P.5"),
    ("RR(rel=2)", "recip_rank"),
    ("nDCG@10", "ndcg_cut.10"),
)
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
    """Return {measure: {qid or "all": value as printed}} from what Pyserini's own command calls."""
    from pyserini.eval.trec_eval import trec_eval

    said, printed = io.StringIO(), {}
    with contextlib.redirect_stdout(said):
        trec_eval(["trec_eval", "-c", "-q", *options, str(qrels), str(run)])
    for line in said.getvalue().splitlines():
        if len(columns := line.split("\t")) == 3:
            printed.setdefault(columns[0].strip(), {})[columns[1]] = columns[2]
    return printed


def _assert_equal_to_trec_eval(qrels_path, run_path):
    qrels, run = read_qrels(qrels_path), read_run(run_path)
    values = evaluate(run, qrels, ["RR@10", "RR(rel=2)@10", *(name for name, _, _ in MEASURES), *dict(GRADED)])
    printed = _trec_eval(
        qrels_path, run_path, *(word for option in dict.fromkeys(o for _, o, _ in MEASURES) for word in ("-m", option))
    )
    theirs = {name: printed[key] for name, _, key in MEASURES}
    graded = _trec_eval(qrels_path, run_path, "-l", "2", *(word for _, o in GRADED for word in ("-m", o)))
    theirs |= {name: graded[option.replace(".", "_")] for name, option in GRADED}
    theirs["RR@10"] = _trec_eval(qrels_path, run_path, "-M", "10", "-m", "recip_rank")["recip_rank"]
    theirs["RR(rel=2)@10"] = _trec_eval(qrels_path, run_path, "-l", "2", "-M", "10", "-m", "recip_rank")["recip_rank"]
    assert values.keys() == theirs.keys()
    for name, of_queries in values.items():
        answered = {qid: shown(name, of_queries[qid]) for qid in theirs[name] if qid != "all"}
        assert {"all": shown(name, aggregate(name, of_queries))} | answered == theirs[name], name
        if not parse_measure(name).is_total:
            assert all(value == 0 for qid, value in of_queries.items() if qid not in answered)


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


@pytest.mark.slow
def test_equal_to_trec_eval_on_ties_and_grades(tmp_path):
    _assert_equal_to_trec_eval(*_random_collection(tmp_path, seed=7))


@pytest.mark.slow
def test_equal_to_trec_eval_on_a_real_collection(tmp_path):
    if not (DATA / "scifact").is_dir():
        pytest.skip(f"no collection in {DATA / 'scifact'}: set JPQ_TEST_DATA to the folder that holds scifact")
    from sklearn.feature_extraction.text import TfidfVectorizer

    corpus = (DATA / "scifact" / "corpus.jsonl").read_text(encoding="utf-8")
    corpus = [json.loads(line) for line in corpus.splitlines()]
    docids = [document["id"] for document in corpus]
    vectorizer = TfidfVectorizer(sublinear_tf=True)
    documents = vectorizer.fit_transform(" ".join(map(str, document.values())) for document in corpus)
    topics = dict(list(read_topics(DATA / "scifact" / "queries.test.tsv").items())[:100])  # 200 stay unanswered
    scores = (vectorizer.transform(topics.values()) @ documents.T).toarray().round(2)  # rounded, for the ties
    with open(tmp_path / "run.txt", "w", encoding="utf-8") as file:
        for qid, row in zip(topics, scores, strict=True):
            ranked = (-row).argsort(kind="stable")[:1000]
            file.writelines(f"{qid} Q0 {docids[d]} {rank} {row[d]:.6f} tfidf\n" for rank, d in enumerate(ranked, 1))
    _assert_equal_to_trec_eval(DATA / "scifact" / "qrels.test.txt", tmp_path / "run.txt")


@pytest.mark.slow
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
    "name", ["R", "nDCG@0", "RR@", "RR@ten", "NDGC@10", "P@-1", "bpref@10", "", "P@5,10", "RR(foo=1)", "MSMARCO-MRR@0"]
)
def test_unknown_measures(name):
    with pytest.raises(JPQError, match=f"unknown measure {re.escape(repr(name))}"):
        parse_measure(name)


def test_names_of_trec_eval_and_either_case():
    assert [str(parse_measure(name).base) for name in ("ndcg_cut.10", "recall_100", "map", "mrr", "NDCG@5")] == [
        "nDCG@10",
        "R@100",
        "AP",
        "RR",
        "nDCG@5",
    ]


def test_measures_that_need_more_say_what():
    with pytest.raises(JPQError, match=r"RBP\(p=0.8\)' cannot be computed here: name what is relevant"):
        parse_measure("RBP(p=0.8)")
    if not importlib.util.find_spec("pyndeval"):
        with pytest.raises(JPQError, match=r"cannot be computed here: pip install ir-measures\[pyndeval\]"):
            parse_measure("alpha_nDCG@10")


def test_measures_of_other_providers_break_ties_as_trec_eval_does():
    run = {"topic-7": {"a": 1.0, "b": 1.0, "c": 1.0}, "none": {}}  # trec_eval's order: c, b, a
    qrels = {"topic-7": {"c": 1, "b": 0}, "none": {"x": 1}}
    values = evaluate(run, qrels, ["Judged@1", "Judged@2", "Judged@3", "Judged"])
    assert [of["topic-7"] for of in values.values()] == pytest.approx([1, 1, 2 / 3, 2 / 3])
    assert {of["none"] for of in values.values()} == {0.0}


def test_gains_of_one_measure_do_not_reach_another():
    run, qrels = {"q": {"a": 3.0, "b": 2.0, "c": 1.0}}, {"q": {"a": 1, "b": 3, "c": 2}}
    names = ["nDCG(gains={1:7})@3", "nDCG@3", "nDCG(dcg='exp-log2')@3", "P(judged_only=True)@1", "NumRet"]
    values = {name: of["q"] for name, of in evaluate(run, qrels, names).items()}
    discounts = (1, 1 / math.log2(3), 1 / 2)

    def ndcg(*gains):
        best = sorted(gains, reverse=True)
        return np.dot(gains, discounts) / np.dot(best, discounts)

    assert values["nDCG@3"] == pytest.approx(ndcg(1, 3, 2))
    assert values["nDCG(gains={1:7})@3"] == pytest.approx(ndcg(7, 3, 2))
    assert values["nDCG(dcg='exp-log2')@3"] == pytest.approx(ndcg(1, 7, 3))
    assert (values["P(judged_only=True)@1"], values["NumRet"]) == (1, 3)


def _official(qrels_path, run_path):
    """Return what MS MARCO's script gives, in the copy that ir_measures holds: it left only the division to others."""
    from ir_measures.bin import msmarco_eval

    reference, ranked = msmarco_eval.load_reference(qrels_path), msmarco_eval.load_candidate(run_path)
    by_query = msmarco_eval.compute_metrics(reference, ranked)["MRR @10 by query"]
    return by_query, sum(by_query.values()) / len(reference)


def test_official_mrr_is_that_of_ms_marcos_script(tmp_path):
    draw = random.Random(3)
    with open(tmp_path / "qrels.tsv", "w") as qrels, open(tmp_path / "run.tsv", "w") as run:
        for qid in range(1, 80):
            qrels.writelines(f"{qid}\t0\t{pid}\t1\n" for pid in draw.sample(range(1, 40), draw.randint(1, 3)))
            if qid % 9:
                ranks = [draw.randint(1, 30) for _ in range(20)]  # some twice, some never
                pids = draw.sample(range(1, 40), 20)
                run.writelines(f"{qid}\t{pid}\t{rank}\n" for pid, rank in zip(pids, ranks, strict=True))
    by_query, mrr = _official(tmp_path / "qrels.tsv", tmp_path / "run.tsv")
    assert mrr > 0.03
    qrels = read_qrels(tmp_path / "qrels.tsv")
    lines = [line.split() for line in (tmp_path / "run.tsv").read_text().splitlines()]
    # A TREC run of the same ranks, whatever its scores say.
    (tmp_path / "run.trec").write_text("".join(f"{q} Q0 {d} {r} {draw.random()} t\n" for q, d, r in lines))
    for name in ("run.tsv", "run.trec"):
        values = evaluate(read_run(tmp_path / name), qrels, ["MSMARCO-MRR@10"])["MSMARCO-MRR@10"]
        assert {int(qid): value for qid, value in values.items() if int(qid) in by_query} == by_query
        assert mean(values) == pytest.approx(mrr, abs=1e-15)


def test_official_mrr_needs_ranks(tmp_path):
    with pytest.raises(JPQError, match="MSMARCO-MRR@10 needs the ranks of a run file: use RR@10"):
        evaluate({"q": {"d": 1.0}}, {"q": {"d": 1}}, ["MSMARCO-MRR@10"])
    (tmp_path / "run.txt").write_text("q Q0 d 0 2 t\nq Q0 e 1 1 t\n")
    with pytest.raises(JPQError, match="the rank of document 'd' for query 'q' is no positive integer"):
        evaluate(read_run(tmp_path / "run.txt"), {"q": {"d": 1}}, ["MSMARCO-MRR@10"])


def test_scores_that_are_equal_in_single_precision_are_ties_everywhere():
    run, qrels = {"q": {"a": 1 + 1e-12, "b": 1.0, "c": 1e300, "d": 1e200}}, {"q": {"a": 1}}
    assert trec_order(run["q"]) == ["d", "c", "b", "a"]
    assert evaluate(run, qrels, ["RR"])["RR"]["q"] == 1 / 4  # trec_eval's own
    assert evaluate(run, qrels, ["Judged@3"])["Judged@3"]["q"] == 0  # another provider's
