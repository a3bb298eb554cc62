"""Fine-tuning a cross-encoder: what it is shown, and that eval.rerank can use what it becomes."""

import json

import pytest

from jpq_pyserini.data.runs import read_run
from jpq_pyserini.errors import JPQError
from jpq_pyserini.eval.measures import evaluate
from jpq_pyserini.eval.rerank import __main__ as rerank
from jpq_pyserini.eval.rerank import train
from jpq_pyserini.eval.rerank.cross_encoder import load_cross_encoder

from helpers.tiny import WORDS, tiny_corpus, tiny_encoder

pytest.importorskip("datasets")


def test_negatives_are_hits_of_each_run_that_are_not_relevant():
    qrels = {"q1": {"d1": 1, "d2": 0, "d9": 2}, "q2": {"d1": 0}, "q3": {"d3": 1}}
    bm25 = {"q1": {"d1": 3.0, "d2": 2.0, "d3": 1.0}, "q2": {"d2": 1.0}, "q3": {"d3": 2.0, "d4": 1.0}}
    dense = {"q1": {"d4": 3.0, "d9": 2.0, "d5": 1.0, "d2": 0.0}}
    lists = train.training_lists({"q1": "", "q2": "", "q3": ""}, qrels, [bm25, dense], negatives=3, seed=1)
    assert list(lists) == ["q1"]  # q2 has nothing relevant, q3 one other hit only
    relevant, *others = lists["q1"]
    assert relevant in {"d1", "d9"}
    assert len(set(others)) == 3
    assert len({"d2", "d3"} & set(others)) >= 1
    assert len({"d4", "d5"} & set(others)) >= 1
    assert lists == train.training_lists(dict.fromkeys(qrels, ""), qrels, [bm25, dense], negatives=3, seed=1)
    more = {train.training_lists({"q1": ""}, qrels, [bm25, dense], negatives=3, seed=i)["q1"][0] for i in range(20)}
    assert more == {"d1", "d9"}


@pytest.fixture
def flags(tmp_path):
    """Ten queries, each with a relevant passage that begins as all of them do, below five hits that begin otherwise."""
    texts, queries = tiny_corpus(60, seed=1)
    begins = [WORDS[0]] * 10 + [WORDS[1]] * 50
    lines = [json.dumps({"id": f"d{i}", "contents": f"{begins[i]} {text}"}) for i, text in enumerate(texts)]
    (tmp_path / "corpus.jsonl").write_text("\n".join(lines) + "\n")
    (tmp_path / "topics.tsv").write_text("".join(f"q{i}\t{queries[i]}\n" for i in range(10)))
    (tmp_path / "qrels.txt").write_text("".join(f"q{i} 0 d{i} 1\n" for i in range(10)))
    hits = [(i, rank, doc) for i in range(10) for rank, doc in enumerate([*range(10 + 5 * i, 15 + 5 * i), i], 1)]
    (tmp_path / "run.txt").write_text("".join(f"q{i} Q0 d{doc} {rank} {-rank} t\n" for i, rank, doc in hits))
    return {
        "--model": tiny_encoder(tmp_path / "encoder"),
        "--topics": tmp_path / "topics.tsv",
        "--qrels": tmp_path / "qrels.txt",
        "--run": tmp_path / "run.txt",
        "--corpus": tmp_path / "corpus.jsonl",
        "--output": tmp_path / "reranker",
    }


def call(main, flags, *more):
    main([str(word) for flag in flags.items() for word in flag] + list(map(str, more)))


@pytest.mark.slow
def test_a_trained_model_ranks_the_relevant_passage_first(flags, tmp_path, capsys):
    call(train.main, flags, "--epochs", "5", "--batch-size", "2", "--lr", "3e-3", "--max-length", "48")
    assert "trained on 10 of 10 queries, 4 passages each" in capsys.readouterr().out
    assert load_cross_encoder(str(tmp_path / "reranker")).tokenizer.model_max_length == 48
    words = {flag: flags[flag] for flag in ("--run", "--topics", "--corpus")}
    call(rerank.main, words | {"--model": tmp_path / "reranker", "--depth": 6, "--output": tmp_path / "after.txt"})
    qrels = {f"q{i}": {f"d{i}": 1} for i in range(10)}
    before, after = (evaluate(read_run(tmp_path / name), qrels, ["RR"])["RR"] for name in ("run.txt", "after.txt"))
    assert sum(before.values()) / 10 == pytest.approx(1 / 6)
    assert sum(after.values()) / 10 > 0.9  # a random order: 0.41


def test_what_cannot_be_trained_is_said(flags, tmp_path, capsys):
    with pytest.raises(JPQError, match=r"no query of .*topics.tsv has both a relevant document .* and 30 hits"):
        call(train.main, flags, "--negatives", "30")
    with pytest.raises(SystemExit):
        call(train.main, flags, "--negatives", "0")
    assert "argument --negatives: 0 is not a whole number from 1 to " in capsys.readouterr().err
    with pytest.raises(JPQError, match=r"cannot start from '\S*topics.tsv'"):
        call(train.main, flags | {"--model": flags["--topics"]})
    assert not (tmp_path / "reranker").exists()
    (tmp_path / "reranker").mkdir()
    (tmp_path / "reranker" / "mine").write_text("")
    with pytest.raises(JPQError, match="exists already"):
        call(train.main, flags)
