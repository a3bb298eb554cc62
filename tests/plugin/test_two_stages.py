"""Two-stage search through Pyserini: in process, and by its own command lines, against numpy on the real vectors."""

import os
import shutil
from functools import partial

import numpy as np
import pytest

from jpq_pyserini import JPQError, JPQFaissSearcher, JPQIndex
from jpq_pyserini.data.flat import FlatFolder
from jpq_pyserini.index.layouts import LAYOUTS
from jpq_pyserini.plugin.encoders import JPQQueryEncoder

from helpers.processes import WITHOUT_HOOK, read_run, run_module, run_python

from pyserini.encode import AutoQueryEncoder  # isort: skip
from pyserini.search.faiss import FaissSearcher  # isort: skip


@pytest.fixture(scope="module")
def queries(tiny) -> list[str]:
    return [line.rstrip("\n").split("\t")[1] for line in (tiny / "topics.tsv").open()]


@pytest.fixture(scope="module")
def layouts(tiny, tmp_path_factory):
    """The tiny index in every layout, with vectors; every list is visited."""
    root = tmp_path_factory.mktemp("layouts")
    index = JPQIndex.open(tiny / "index")
    index.attach(FlatFolder.open(tiny / "flat"), dtype="float32")
    for layout in LAYOUTS:
        lists = {"nlist": 6, "nprobe": 6} if layout.startswith("ivf") else {}
        copy = partial(shutil.copytree, tiny / "index" / "query_encoder")
        index.convert(layout, **lists).save(root / layout, copy)
    return root


def expected(directory, tiny, queries, candidates, k) -> list[dict[str, float]]:
    """The Faiss index proposes, the embeddings decide: by query, docids and scores, best first."""
    index, embeddings = JPQIndex.open(directory), FlatFolder.open(tiny / "flat").embeddings
    vectors = JPQQueryEncoder(str(directory)).encode_batch(queries)
    proposed = index.faiss_index.search(vectors, candidates)[1]
    found = []
    for query, rows in zip(vectors, proposed, strict=True):
        scores = embeddings[rows].astype(np.float64) @ query.astype(np.float64)
        found.append({f"d{rows[at]}": scores[at] for at in np.argsort(-scores)[:k]})
    return found


def assert_hits(hits, wanted: dict[str, float]):
    """Hits, (docid, score) pairs, are the wanted ones, in order."""
    assert [docid for docid, _ in hits] == list(wanted)
    assert np.allclose([score for _, score in hits], list(wanted.values()), atol=2e-6)


@pytest.mark.parametrize(
    "layout",
    [pytest.param(layout, marks=[] if layout in ("pq", "ivf-fastscan") else [pytest.mark.slow]) for layout in LAYOUTS],
)
def test_hits_are_the_codes_candidates_in_the_order_of_the_vectors(layouts, tiny, queries, layout):
    wanted = expected(layouts / layout, tiny, queries, 60, 20)
    searcher = JPQFaissSearcher(layouts / layout, rescore=60)
    stock = FaissSearcher(str(layouts / layout), JPQQueryEncoder(str(layouts / layout)))  # all 300 are candidates
    batch = searcher.batch_search(queries, [str(i) for i in range(len(queries))], k=20, threads=2)
    for i, hits in enumerate(wanted):
        assert_hits([(hit.docid, hit.score) for hit in batch[str(i)]], hits)
    assert_hits([(hit.docid, hit.score) for hit in searcher.search(queries[3], 20)], wanted[3])
    everything = expected(layouts / layout, tiny, queries[:1], 300, 5)[0]
    assert_hits([(hit.docid, hit.score) for hit in stock.search(queries[0], 150)][:5], everything)


@pytest.mark.slow
def test_the_environment_and_the_argument_choose_the_candidates(layouts, tiny, queries, monkeypatch):
    plain, two_stages = JPQFaissSearcher(tiny / "index"), layouts / "pq"

    def hits(searcher):
        return [(hit.docid, hit.score) for hit in searcher.search(queries[0], 10)]

    assert hits(JPQFaissSearcher(two_stages, rescore=0)) == hits(plain)
    monkeypatch.setenv("JPQ_RESCORE", "0")
    assert hits(JPQFaissSearcher(two_stages)) == hits(plain)
    assert hits(FaissSearcher(str(two_stages), JPQQueryEncoder(str(two_stages)))) == hits(plain)
    monkeypatch.setenv("JPQ_RESCORE", "12")
    twelve = expected(two_stages, tiny, queries[:1], 12, 10)[0]
    assert_hits(hits(JPQFaissSearcher(two_stages)), twelve)
    assert_hits(hits(FaissSearcher(str(two_stages), JPQQueryEncoder(str(two_stages)))), twelve)
    other = AutoQueryEncoder(str(tiny / "encoder" / "plain"), pooling="mean")
    assert_hits(hits(FaissSearcher(str(two_stages), other)), twelve)
    monkeypatch.delenv("JPQ_RESCORE")
    assert [docid for docid, _ in hits(FaissSearcher(str(two_stages), other))] == [docid for docid, _ in hits(plain)]
    monkeypatch.setenv("JPQ_RESCORE", "12")
    with pytest.raises(JPQError, match="has no vectors to score 12 candidates with"):
        JPQFaissSearcher(tiny / "index")


def test_feedback_gets_the_real_vectors(layouts, tiny, queries):
    embeddings = FlatFolder.open(tiny / "flat").embeddings
    for directory in (layouts / "pq", layouts / "ivf-fastscan"):
        _, hits = JPQFaissSearcher(directory).search(queries[1], k=4, return_vector=True)
        for hit in hits:
            assert np.array_equal(hit.vectors, embeddings[int(hit.docid[1:])])


def test_vectors_cut_short_are_told_before_or_while_searching(layouts, queries, tmp_path, monkeypatch):
    directory = shutil.copytree(layouts / "pq", tmp_path / "index")
    searcher = JPQFaissSearcher(directory)
    os.truncate(directory / "vectors.safetensors", 1000)
    with pytest.raises(JPQError, match="was cut short after it was opened"):
        searcher.search(queries[0], 10)
    with pytest.raises(JPQError, match=r"vectors.safetensors is missing or not the file that was written"):
        JPQFaissSearcher(directory)
    monkeypatch.setenv("JPQ_VERIFY", "0")  # sizes are looked at all the same
    with pytest.raises(JPQError, match=r"1,000 bytes, .* expected"):
        JPQFaissSearcher(directory)
    assert len(JPQFaissSearcher(directory, rescore=0).search(queries[0], 10)) == 10


@pytest.mark.slow
def test_the_command_lines_of_pyserini(layouts, tiny, queries, tmp_path):
    directory = layouts / "fastscan"

    forked = partial(run_module, "pyserini.search.faiss")

    def search(name, *flags, index=directory, encoder="jpq", start=forked, **more):
        given = ["--encoder", encoder, "--index", index, "--topics", tiny / "topics.tsv", "--hits", 10]
        done = start(*given, "--output", tmp_path / name, *flags, **more)
        if done.returncode:
            return None, done
        run = read_run(tmp_path / name)
        return [run[f"q{i}"] for i in range(len(queries))], done

    wanted = expected(directory, tiny, queries, 220, 10)
    for name, flags in (("one", ()), ("batch", ("--batch-size", 8, "--threads", 2))):
        for hits, right in zip(search(name, *flags)[0], wanted, strict=True):
            assert_hits(hits, right)
    fewer = expected(directory, tiny, queries, 15, 10)
    assert fewer != wanted
    for hits, right in zip(search("fewer", JPQ_RESCORE="15")[0], fewer, strict=True):
        assert_hits(hits, right)
    codes = search("off", JPQ_RESCORE="0")[0]
    assert codes == search("plain", index=tiny / "index")[0]

    # stock Pyserini opens the directory and gives the codes' own run
    stock = partial(run_python, "-c", WITHOUT_HOOK, JPQ_PYSERINI_HOOK="0")
    given = {"index": layouts / "pq", "encoder": tiny / "encoder" / "plain", "start": stock}
    for hits, right in zip(search("stock", "--pooling", "mean", **given)[0], codes, strict=True):
        assert np.allclose([score for _, score in hits], [score for _, score in right], atol=1e-4)

    damaged = shutil.copytree(directory, tmp_path / "damaged")
    os.truncate(damaged / "vectors.safetensors", 1000)
    _, done = search("none", index=damaged, check=False)
    assert done.returncode == 1
    assert [line for line in done.stderr.splitlines() if line.startswith("error: ")] == [done.stderr.splitlines()[-1]]
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "none").exists()
