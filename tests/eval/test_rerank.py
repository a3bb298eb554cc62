"""Re-ranking with a cross-encoder: scores, order, what a stop leaves behind, and what bad input says."""

import json
import re
from types import SimpleNamespace

import numpy as np
import pytest

from jpq_pyserini.data.runs import read_run
from jpq_pyserini.errors import JPQError
from jpq_pyserini.eval.facts import read_facts
from jpq_pyserini.eval.measures import evaluate, trec_order
from jpq_pyserini.eval.rerank import __main__ as rerank
from jpq_pyserini.eval.rerank.cross_encoder import load_cross_encoder, score_pairs
from jpq_pyserini.eval.rerank.journal import QueryScores, ScoreJournal
from jpq_pyserini.eval.rerank.ranking import reranked
from jpq_pyserini.eval.rerank.texts import corpus_texts

from helpers.processes import run_module
from helpers.tiny import tiny_corpus, tiny_cross_encoder


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A corpus of d0 to d39 in two files, six queries, a run of 12 documents each, a cross-encoder."""
    root = tmp_path_factory.mktemp("rerank")
    texts, queries = tiny_corpus(40, seed=1)
    (root / "corpus").mkdir()
    lines = [json.dumps({"id": f"d{i}", "contents": text}) + "\n" for i, text in enumerate(texts)]
    (root / "corpus" / "a.jsonl").write_text("".join(lines[:25]))
    (root / "corpus" / "b.jsonl").write_text("".join(lines[25:]))
    (root / "topics.tsv").write_text("".join(f"q{i}\t{queries[i]}\n" for i in range(6)))
    rng = np.random.default_rng(0)
    run = {f"q{i}": [f"d{row}" for row in rng.permutation(40)[:12]] for i in range(6)}
    hits = [(qid, docid, rank) for qid, docids in run.items() for rank, docid in enumerate(docids, 1)]
    (root / "run.txt").write_text("".join(f"{q} Q0 {docid} {rank} {9 - rank / 2} first\n" for q, docid, rank in hits))
    model = tiny_cross_encoder(root / "model")
    flags = ["--run", root / "run.txt", "--topics", root / "topics.tsv", "--corpus", root / "corpus", "--model", model]
    return SimpleNamespace(root=root, texts=texts, queries=queries, run=run, model=model, flags=flags)


def reranker(files, output, *more):
    rerank.main([*map(str, files.flags), "--depth", "5", "--output", str(output), *map(str, more)])


def predicted(files, qid, docids):
    """The same pairs by sentence-transformers' own predict, one by one: probabilities."""
    from sentence_transformers import CrossEncoder

    model = CrossEncoder(str(files.model), device="cpu")
    query = files.queries[int(qid[1:])]
    return {docid: float(model.predict([(query, files.texts[int(docid[1:])])])[0]) for docid in docids}


def test_the_top_is_ordered_by_predict_and_the_rest_stays(files, tmp_path, capsys):
    output = tmp_path / "out.txt"
    reranker(files, output)
    lines = [line.split() for line in output.read_text().splitlines()]
    ranks = {}
    for qid, _, docid, rank, _, tag in lines:
        ranks.setdefault(qid, []).append(docid)
        assert (int(rank), tag) == (len(ranks[qid]), "rerank")
    scores = read_run(output)
    for qid, docids in files.run.items():
        expected = predicted(files, qid, docids[:5])
        assert ranks[qid][:5] == sorted(expected, key=expected.get, reverse=True)
        assert ranks[qid][5:] == docids[5:]
        assert trec_order(scores[qid]) == ranks[qid]
        logits = np.array([scores[qid][docid] for docid in docids[:5]])
        np.testing.assert_allclose(1 / (1 + np.exp(-logits)), [expected[docid] for docid in docids[:5]], atol=1e-6)
        for at in (0, 4, 5, 11):  # trec_eval sees each document at the rank the file says
            relevant = {qid: {ranks[qid][at]: 1}}
            assert evaluate(scores, relevant, ["RR"])["RR"][qid] == pytest.approx(1 / (at + 1))
    assert {tuple(each) for each in ranks.values()} != {tuple(each) for each in files.run.values()}
    facts, said = read_facts(output), capsys.readouterr().out
    assert facts.title == "run + model, top 5"
    assert facts.ms_per_query > 0
    assert "re-ranking alone" in said
    assert float(re.search(r"median ([\d.]+) ms a query", said)[1]) == pytest.approx(facts.ms_per_query, abs=0.06)
    assert not list(tmp_path.glob("*.scores"))


def test_two_labels_order_as_their_softmax(files, tmp_path):
    from sentence_transformers import CrossEncoder

    folder = tiny_cross_encoder(tmp_path / "two", labels=2, seed=3)
    scores = score_pairs(load_cross_encoder(str(folder)), files.queries[0], files.texts[:20])
    pairs = [(files.queries[0], text) for text in files.texts[:20]]
    relevant = CrossEncoder(str(folder), device="cpu").predict(pairs, apply_softmax=True)[:, 1]
    np.testing.assert_allclose(1 / (1 + np.exp(-scores)), relevant, atol=1e-6)


def test_equal_scores_are_ordered_as_trec_eval_does():
    ranking = reranked(["x", "b", "a", "c", "y"], {"b": 0.1, "a": 0.1 + 1e-12, "c": 0.1})
    assert list(ranking) == ["c", "b", "a", "x", "y"]
    assert len({np.float32(score) for score in ranking.values()}) == 3
    assert trec_order(ranking) == list(ranking)
    huge = reranked([f"d{i}" for i in range(1000)], {"d3": -3e9})
    assert trec_order(huge) == list(huge)
    assert list(huge)[:3] == ["d3", "d0", "d1"]


def test_a_stopped_command_goes_on(files, tmp_path, monkeypatch):
    reranker(files, tmp_path / "whole.txt")
    plain, asked = rerank.score_pairs, []

    def interrupted(model, query, texts, batch_size):
        asked.append(query)
        if len(asked) == 4:  # the first query is scored twice: two are done
            raise KeyboardInterrupt
        return plain(model, query, texts, batch_size)

    monkeypatch.setattr(rerank, "score_pairs", interrupted)
    with pytest.raises(KeyboardInterrupt, match=r"2 of 6 queries are in .*--resume"):
        reranker(files, tmp_path / "out.txt")
    journal = tmp_path / "out.txt.scores"
    assert not (tmp_path / "out.txt").exists()
    with open(journal / "scores.jsonl", "ab") as file:
        file.write(b'["q5", {"d')  # as a lost machine leaves it
    with pytest.raises(JPQError, match="is what a stopped run left: add --resume"):
        reranker(files, tmp_path / "out.txt")
    with pytest.raises(JPQError, match="comes from a run with depth=5, this one has 6"):
        reranker(files, tmp_path / "out.txt", "--depth", 6, "--resume")
    asked.clear()
    monkeypatch.setattr(rerank, "score_pairs", lambda *args: asked.append(args[1]) or plain(*args))
    reranker(files, tmp_path / "out.txt", "--resume")
    assert asked == [files.queries[i] for i in (2, 2, 3, 4, 5)]
    assert (tmp_path / "out.txt").read_bytes() == (tmp_path / "whole.txt").read_bytes()
    assert not journal.exists()


def test_a_journal_without_a_query_is_no_obstacle(tmp_path):
    journal = ScoreJournal(tmp_path / "j", {"depth": 1}, resume=False)
    assert (tmp_path / "j").exists()
    journal.close()
    assert not (tmp_path / "j").exists()
    journal = ScoreJournal(tmp_path / "j", {"depth": 1}, resume=False)
    journal.add("q", QueryScores({"d": 0.5}, 0.1))
    journal.close()
    again = ScoreJournal(tmp_path / "j", {"depth": 1}, resume=True)
    assert again.done == {"q": QueryScores({"d": 0.5}, 0.1)}
    again.close()
    for damaged in ("{}\n", '["q", {}, 0.1]\n["q"\n', '["q", 1, 0.1]\n'):
        (tmp_path / "j" / "scores.jsonl").write_text(damaged)
        with pytest.raises(JPQError, match="is damaged"):
            ScoreJournal(tmp_path / "j", {"depth": 1}, resume=True)


def test_only_the_needed_texts_are_read(files):
    (files.root / "cut.jsonl").write_text((files.root / "corpus" / "a.jsonl").read_text() + "no JSON\n")
    texts = corpus_texts(files.root / "cut.jsonl", {"d3", "d1"})  # does not reach the bad line
    assert texts == {"d1": files.texts[1], "d3": files.texts[3]}
    with pytest.raises(JPQError, match=r"no document 'd39'.* \(1 of the 2 needed"):
        corpus_texts(files.root / "corpus" / "a.jsonl", {"d0", "d39"})


def test_pickled_weights_and_other_models_are_refused(files, tmp_path):
    import torch

    from helpers.tiny import tiny_encoder

    folder = tiny_cross_encoder(tmp_path / "pickled")
    torch.save({}, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(JPQError, match=r"pytorch_model\.bin only, a pickle"):
        load_cross_encoder(str(folder))
    with pytest.raises(JPQError, match="is no cross-encoder but a BertModel"):
        load_cross_encoder(str(tiny_encoder(tmp_path / "encoder")))
    with pytest.raises(JPQError, match="has 3 labels"):
        load_cross_encoder(str(tiny_cross_encoder(tmp_path / "three", labels=3)))
    with pytest.raises(JPQError, match="takes at most 64 tokens"):
        load_cross_encoder(str(files.model), max_length=65)
    with pytest.raises(JPQError, match="cannot load the cross-encoder 'no/such'"):
        load_cross_encoder("no/such")
    assert load_cross_encoder(str(files.model), max_length=16).max_seq_length == 16


def test_a_run_of_other_topics_is_refused(files, tmp_path, capsys):
    (tmp_path / "topics.tsv").write_text("x1\tbace\n")
    with pytest.raises(JPQError, match=r"none of the run's 6 query ids \(first 'q0'\).*'x1'"):
        reranker(files, tmp_path / "out.txt", "--topics", tmp_path / "topics.tsv")
    with pytest.raises(SystemExit):
        reranker(files, tmp_path / "out.txt", "--depth", 0)
    assert "argument --depth: 0 is not a whole number from 1 to " in capsys.readouterr().err
    assert not list(tmp_path.glob("out*"))


@pytest.mark.slow
def test_texts_of_a_lucene_index_give_the_same_run(files, tmp_path):
    lucene = ["--collection", "JsonCollection", "--input", files.root / "corpus", "--threads", 1]
    lucene += ["--generator", "DefaultLuceneDocumentGenerator"]
    command = ["jpq_pyserini.eval.rerank", *files.flags[:4], *files.flags[6:], "--depth", 5]
    run_module("pyserini.index.lucene", *lucene, "--index", tmp_path / "raw", "--storeRaw")
    done = run_module(*command, "--index", tmp_path / "raw", "--output", tmp_path / "out.txt")
    assert "top 5 of 6 queries" in done.stdout
    reranker(files, tmp_path / "own.txt")
    assert (tmp_path / "out.txt").read_bytes() == (tmp_path / "own.txt").read_bytes()
    run_module("pyserini.index.lucene", *lucene, "--index", tmp_path / "bare")
    bare = run_module(*command, "--index", tmp_path / "bare", "--output", tmp_path / "bare.txt", check=False)
    assert bare.returncode == 1
    assert "keeps no text of document" in bare.stderr
    assert "Traceback" not in bare.stderr
