"""The real Pyserini command lines, in subprocesses, with a PATH whose own Java is too old.

Each takes seconds of imports, so they are all started by one fixture, two at a time; a test waits for the one it needs.
One of each kind is a new interpreter; its variations are forked from a process that has imported the libraries.
"""

import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from helpers.java import fake_java
from helpers.processes import WITHOUT_HOOK, read_run, run_module, run_python

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def commands(tiny, tmp_path_factory):
    """Start every command; returns them by name: ``result()`` waits and gives the finished process."""
    root = tmp_path_factory.mktemp("runs")
    old = fake_java(root / "jdk17", "17.0.2")
    environment = {"JAVA_HOME": None, "JVM_PATH": None, "PATH": f"{old / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    (root / "dance-dpr").symlink_to(tiny / "index")
    shutil.copytree(tiny / "encoder" / "plain", root / "jpq-like")
    shutil.copytree(tiny / "index", root / "bare", ignore=shutil.ignore_patterns("jpq.json"))
    (root / "corpus").mkdir()
    texts = tiny_texts()
    lines = [json.dumps({"id": f"d{i}", "contents": text}) for i, text in enumerate(texts)]
    (root / "corpus" / "documents.jsonl").write_text("\n".join(lines[:50]) + "\n")

    forked, new = partial(run_module, "pyserini.search.faiss"), partial(run_python, "-m", "pyserini.search.faiss")
    without_hook = partial(run_python, "-c", WITHOUT_HOOK, JPQ_PYSERINI_HOOK="0")

    def search(name, encoder, *rest, index=tiny / "index", start=forked, **more):
        flags = ["--encoder", encoder] if encoder else []
        flags += ["--index", index, "--topics", tiny / "topics.tsv", "--hits", 10, "--output", root / name]
        return start(*flags, *rest, **environment, **more)

    def hybrid():
        lucene = ["--collection", "JsonCollection", "--input", root / "corpus", "--index", root / "lucene"]
        generator = ["--generator", "DefaultLuceneDocumentGenerator", "--threads", 1]
        run_python("-m", "pyserini.index.lucene", *lucene, *generator, **environment)
        dense = ["dense", "--index", tiny / "index", "--encoder", "jpq", "sparse", "--index", root / "lucene"]
        run = ["fusion", "--alpha", 10, "run", "--topics", tiny / "topics.tsv", "--output", root / "hybrid"]
        return run_python("-m", "pyserini.search.hybrid", *dense, *run, **environment)

    def encode():
        target = ["input", "--corpus", root / "corpus", "output", "--embeddings", root / "flat", "--to-faiss"]
        encoder = ["encoder", "--encoder", tiny / "index", "--dimension", 32, "--device", "cpu"]
        return run_python("-m", "pyserini.encode", *target, *encoder, **environment)

    other = ["--pooling", "mean", "--l2-norm", "--query-prefix", "bace"]
    jobs = {
        "jpq": lambda: search("jpq", "jpq", start=new),
        "path": lambda: search("path", root / "dance-dpr" / "query_encoder", "--batch-size", 8, "--threads", 2),
        "class": lambda: search("class", "jpq", "--encoder-class", "auto", "--pooling", "cls", "--l2-norm"),
        "none": lambda: search("none", None),
        "prf": lambda: search("prf", "jpq", "--prf-depth", 3),
        "other": lambda: search("other", root / "jpq-like", *other),
        "other without hook": lambda: search("other-off", root / "jpq-like", *other, start=without_hook),
        "bare": lambda: search("bare-run", "jpq", index=root / "bare", check=False),
        "hybrid": hybrid,
        "encode": encode,
    }
    with ThreadPoolExecutor(2) as pool:
        started = {name: pool.submit(job) for name, job in jobs.items()}
        yield SimpleNamespace(root=root, environment=environment, wait=lambda name: started[name].result())


def tiny_texts():
    from helpers.tiny import tiny_corpus

    return tiny_corpus(300)[0]


@pytest.fixture(scope="module")
def expected(tiny):
    """The index searched by Faiss alone with embeddings by sentence-transformers alone: (vectors, scores, rows)."""
    import faiss
    from sentence_transformers import SentenceTransformer

    queries = [line.split("\t")[1] for line in (tiny / "topics.tsv").read_text().splitlines()]
    vectors = SentenceTransformer(str(tiny / "encoder"), device="cpu").encode(queries)  # (B, D)
    index = faiss.read_index(str(tiny / "index" / "index"))
    scores, rows = index.search(vectors, 10)
    return SimpleNamespace(index=index, vectors=vectors, scores=scores, rows=rows)


def assert_same_run(run, scores, rows):
    assert sorted(run) == sorted(f"q{i}" for i in range(len(rows)))
    for i in range(len(rows)):
        hits = run[f"q{i}"]
        np.testing.assert_allclose([score for _, score in hits], scores[i], atol=1e-3)
        distinct = np.diff(scores[i], append=-np.inf) < -1e-3  # ties may come in any order
        alone = distinct & np.roll(distinct, 1)
        assert [docid for docid, _ in np.array(hits, object)[alone]] == [f"d{row}" for row in rows[i][alone]]


@pytest.mark.parametrize("name", ["jpq", "path", "class", "none"])
def test_search_finds_the_encoder_of_the_index(commands, expected, name):
    commands.wait(name)
    assert_same_run(read_run(commands.root / name), expected.scores, expected.rows)


def test_pseudo_relevance_feedback(commands, expected):
    assert "PRF" in commands.wait("prf").stdout
    _, _, documents = expected.index.search_and_reconstruct(expected.vectors, 3)  # (B, 3, D)
    mean = np.concatenate([expected.vectors[:, None], documents], axis=1).mean(axis=1)
    assert_same_run(read_run(commands.root / "prf"), *expected.index.search(mean, 10))


def test_another_encoder_whose_path_contains_jpq_is_left_alone(commands, expected):
    commands.wait("other")
    commands.wait("other without hook")
    run, without = commands.root / "other", commands.root / "other-off"
    assert run.read_bytes() == without.read_bytes()
    assert abs(read_run(run)["q0"][0][1] - expected.scores[0, 0]) > 1e-2  # it is another encoder


def test_hybrid_fuses_with_bm25(commands, expected):
    commands.wait("hybrid")
    run = read_run(commands.root / "hybrid")
    assert [topic for topic, hits in run.items() if hits[0][0] == f"d{topic[1:]}"] == list(run)  # BM25 knows it
    dense = {f"d{row}": score for row, score in zip(expected.rows[0], expected.scores[0], strict=True)}
    fused = dict(run["q0"])
    unmatched = [docid for docid in dense if int(docid[1:]) >= 50]  # not in the Lucene index: the same lowest BM25
    bonus = [fused[docid] - dense[docid] for docid in unmatched]
    assert len(bonus) > 2
    np.testing.assert_allclose(bonus, bonus[0], atol=1e-3)
    assert bonus[0] > 0


def test_documents_are_encoded_with_the_encoder_of_the_index(commands, tiny):
    import faiss
    from sentence_transformers import SentenceTransformer

    commands.wait("encode")
    flat = faiss.read_index(str(commands.root / "flat" / "index"))
    texts = SentenceTransformer(str(tiny / "encoder"), device="cpu").encode(tiny_texts()[:50])
    np.testing.assert_allclose(flat.reconstruct_n(0, 50), texts, atol=1e-4)


def test_bad_input_ends_in_one_line(commands):
    done = commands.wait("bare")
    assert done.returncode == 1
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "jpq.json" in errors[0]
    assert "Traceback" not in done.stderr
    assert not (commands.root / "bare-run").exists()


def test_trec_eval_runs_the_java_that_was_chosen(commands, tiny):
    import pytrec_eval

    commands.wait("jpq")
    run, qrels = commands.root / "jpq", tiny / "qrels.txt"
    done = run_module("pyserini.eval.trec_eval", "-m", "recip_rank", qrels, run, **commands.environment)
    measured = pytrec_eval.RelevanceEvaluator({f"q{i}": {f"d{i}": 1} for i in range(20)}, {"recip_rank"})
    values = measured.evaluate({topic: dict(hits) for topic, hits in read_run(run).items()})
    mean = np.mean([value["recip_rank"] for value in values.values()])
    assert done.stdout.split()[:3] == ["recip_rank", "all", f"{mean:.4f}"]


def test_queries_are_encoded_whatever_their_folder_is_called(tiny, expected, tmp_path):
    import pandas

    (tmp_path / "dance-dpr-mmeb").symlink_to(tiny / "index")
    command = ["pyserini.encode.query", "--topics", tiny / "topics.tsv", "--output", tmp_path / "queries"]
    run_module(*command, "--encoder", tmp_path / "dance-dpr-mmeb")
    encoded = pandas.read_pickle(tmp_path / "queries")
    by_qid = dict(zip(encoded["id"], encoded["embedding"], strict=True))
    assert sorted(by_qid) == sorted(f"q{i}" for i in range(20))
    np.testing.assert_allclose([by_qid[f"q{i}"] for i in range(20)], expected.vectors, atol=1e-5)
    refused = run_module(*command, "--encoder", "jpq", check=False)
    assert refused.returncode == 1
    assert refused.stderr.splitlines()[-1].startswith("error: the encoder 'jpq' does not know its index yet")
    assert "Traceback" not in refused.stderr
