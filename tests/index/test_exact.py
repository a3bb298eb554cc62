"""Exact scores in one order: every layout against a float64 reference and against trec_eval's own ordering."""

import faiss
import numpy as np
import pytest

from jpq_pyserini import JPQError
from jpq_pyserini.index import layouts
from jpq_pyserini.index.exact import ExactIndex, as_trec_eval_reads, best_first, default_margin

from helpers.codes import random_codec, random_embeddings

N = 3000


@pytest.fixture(scope="module")
def collection():
    codec = random_codec(D=48, M=12, nbits=4)
    codes = codec.encode(random_embeddings(N, D=48))
    codes[1000:1010] = codes[0]  # documents that tie with each other
    return codec, codes, layouts.train_coarse(codec, codes, nlist=8, nprobe=8), [f"{i * 7919 % N}x" for i in range(N)]


def reference(codec, codes, docids, query, k):
    """Score with decoded documents in float64; what trec_eval reads from the run file, sorted as trec_eval sorts."""
    scores = codec.decode(codes).astype(np.float64) @ query.astype(np.float64)
    read = [np.float32(f"{score:.6f}") for score in scores]
    order = sorted(range(len(codes)), key=lambda row: (read[row], docids[row]), reverse=True)[:k]
    return order, [read[row] for row in order]


@pytest.mark.parametrize("layout", layouts.LAYOUTS)
@pytest.mark.parametrize("k", [1, 10, 200, 3500])
def test_every_layout_gives_the_same_hits_as_trec_eval_would_sort_them(collection, layout, k):
    codec, codes, coarse, docids = collection
    index = ExactIndex(layouts.build(codec, codes, layout, coarse), docids)
    queries = np.concatenate([random_embeddings(5, D=48, seed=4), codec.decode(codes[:1])])  # the last finds the ties
    scores, rows = index.search(queries, k)
    assert scores.shape == rows.shape == (6, min(k, N))
    for b, query in enumerate(queries):
        expected, expected_scores = reference(codec, codes, docids, query, k)
        # float32 tables against float64 products: neighbours 1e-5 apart may change places, nothing else
        assert np.allclose(scores[b, : len(expected)], expected_scores, rtol=1e-6, atol=1e-5)
        assert set(rows[b, : len(expected)].tolist()) == set(expected)
        keys = [(score, docids[row]) for score, row in zip(scores[b], rows[b], strict=True) if row >= 0]
        assert keys == sorted(keys, reverse=True)
        assert np.array_equal(scores[b], np.array([f"{score:.6f}" for score in scores[b]], dtype=np.float32))
    assert np.all(rows >= 0)


def test_faiss_alone_is_not_exact_and_the_margin_matters(collection):
    """What the other tests would not see if re-scoring did nothing."""
    codec, codes, _, docids = collection
    plain = layouts.build(codec, codes, "fastscan")
    queries = random_embeddings(20, D=48, seed=5)
    rounded = plain.search(queries, 100)[1]
    exact = ExactIndex(plain, docids).search(queries, 100)[1]
    assert not np.array_equal(rounded, exact)
    narrow = ExactIndex(plain, docids, margin=0).search(queries, 100)[1]
    assert any(set(a) != set(b) for a, b in zip(narrow.tolist(), exact.tolist(), strict=True))
    assert default_margin("fastscan", 100) > default_margin("pq", 100)
    with pytest.raises(JPQError, match="margin -1"):
        ExactIndex(plain, docids, margin=-1)


@pytest.mark.parametrize("layout", layouts.LAYOUTS)
def test_feedback_vectors_in_every_layout(collection, layout):
    codec, codes, coarse, docids = collection
    index = ExactIndex(layouts.build(codec, codes, layout, coarse), docids)
    queries = random_embeddings(3, D=48, seed=6)
    scores, rows, vectors = index.search_and_reconstruct(queries, 4)
    assert np.array_equal(rows, index.search(queries, 4)[1])
    assert np.allclose(vectors, codec.decode(codes[rows.ravel()]).reshape(3, 4, 48), atol=1e-5)
    assert np.allclose(np.einsum("bd,bkd->bk", queries, vectors), scores, atol=1e-4)
    assert np.allclose(index.reconstruct(5), codec.decode(codes[5:6])[0], atol=1e-5)
    assert index.d == 48
    assert index.ntotal == N
    assert index.metric_type == faiss.METRIC_INNER_PRODUCT


def test_unvisited_lists_leave_places_empty(collection):
    codec, codes, coarse, docids = collection
    index = layouts.build(codec, codes, "ivf-fastscan", coarse)
    layouts.set_nprobe(index, 1)
    rows = ExactIndex(index, docids).search(random_embeddings(1, D=48), N)[1]
    found = int((rows[0] >= 0).sum())
    assert 0 < found < N
    assert np.all(rows[0, found:] == -1)
    with pytest.raises(JPQError, match="nprobe 9 with 8 lists"):
        layouts.set_nprobe(index, 9)
    with pytest.raises(JPQError, match="layout pq has no lists"):
        layouts.set_nprobe(layouts.build(codec, codes), 2)


def test_order_agrees_with_trec_eval(tmp_path):
    """Large scores collapse in 32-bit floats, small ones in 6 decimals; pytrec_eval has trec_eval's own sort inside."""
    pytrec_eval = pytest.importorskip("pytrec_eval")
    rng = np.random.default_rng(0)
    for scale in (1e-6, 1e-3, 1.0, 11.0, 300.0):
        raw = scale * (1 + 1e-6 * rng.standard_normal(60))
        docids = [f"d{i}" for i in rng.permutation(60)]
        scores = as_trec_eval_reads(raw)
        order = best_first(scores, np.arange(60), docids, 60)
        run = {docids[at]: float(f"{scores[at]:.6f}") for at in order}
        for place, at in enumerate(order, 1):
            measured = pytrec_eval.RelevanceEvaluator({"q": {docids[at]: 1}}, {"recip_rank"}).evaluate({"q": run})
            assert round(1 / measured["q"]["recip_rank"]) == place


@pytest.mark.parametrize("layout", layouts.LAYOUTS)
def test_memory_is_bounded_whatever_is_asked_for(collection, layout, monkeypatch):
    codec, codes, coarse, docids = collection
    index = ExactIndex(layouts.build(codec, codes, layout, coarse), docids)
    queries = random_embeddings(7, D=48, seed=8)
    for k in (20, N):
        whole = index.search_and_reconstruct(queries, k)
        with monkeypatch.context() as patch:
            patch.setattr("jpq_pyserini.index.exact.PART", 100)  # codes of so many candidates at once
            patch.setattr("jpq_pyserini.index.exact._TOGETHER", 2 * k)
            for some, others in zip(index.search_and_reconstruct(queries, k), whole, strict=True):
                assert np.array_equal(some, others)
    scores, rows = index.search(queries, 1 << 60)
    assert scores.shape == rows.shape == (7, N)
    for k in (0, -1):
        with pytest.raises(JPQError, match=f"{k} hits: ask for at least 1"):
            index.search(queries, k)
