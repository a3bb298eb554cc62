"""Two-stage search against numpy on the real vectors, in every layout."""

import copy
import gc

import numpy as np
import pytest

from jpq_pyserini import JPQError
from jpq_pyserini.index import layouts
from jpq_pyserini.index.rescoring import RescoringIndex, default_candidates, wanted_candidates
from jpq_pyserini.index.torch_search import TorchSearch
from jpq_pyserini.index.vectors import DTYPES, StoredVectors, encode_rows, write_vectors

from helpers.codes import random_codec, random_embeddings, write_flat

N, D = 3000, 48


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    """Codec, codes, coarse centroids and docids of N documents; 1000 to 1009 are the same as document 0."""
    codec = random_codec(D=D, M=12, nbits=4)
    embeddings = random_embeddings(N, D=D)
    embeddings[1000:1010] = embeddings[0]
    codes = codec.encode(embeddings)
    folder = tmp_path_factory.mktemp("vectors")
    for dtype in DTYPES:
        write_vectors(folder / dtype, dtype, N, D, [encode_rows(embeddings, dtype)])
    coarse = layouts.train_coarse(codec, codes, nlist=8, nprobe=8)
    return codec, codes, coarse, [f"{i * 7919 % N}x" for i in range(N)], folder


def reference(index, vectors, docids, query, n, k):
    """The best n of the Faiss index alone, in the order of their real vectors' scores as trec_eval sorts them."""
    candidates = index.search(query[None], n)[1][0]
    read = {row: np.float32(f"{vectors[row].astype(np.float64) @ query.astype(np.float64):.6f}") for row in candidates}
    order = sorted(read, key=lambda row: (read[row], docids[row]), reverse=True)[:k]
    return order, [read[row] for row in order]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", layouts.LAYOUTS)
def test_the_candidates_come_in_the_order_of_the_real_vectors(collection, layout, dtype):
    codec, codes, coarse, docids, folder = collection
    index = layouts.build(codec, codes, layout, coarse)
    stored = StoredVectors.open(folder / dtype)
    vectors = stored.read(np.arange(N))
    rescoring = RescoringIndex(index, stored, docids, candidates=150)
    queries = np.concatenate([random_embeddings(130, D=D, seed=4), codec.decode(codes[:1])])  # the last finds the ties
    scores, rows = rescoring.search(queries, 150)
    assert scores.shape == rows.shape == (131, 150)
    for b, query in enumerate(queries):
        expected, expected_scores = reference(index, vectors, docids, query, 150, 150)
        assert rows[b].tolist() == expected
        assert scores[b].tolist() == expected_scores
    assert {0, *range(1000, 1010)} <= set(rows[-1].tolist())


def test_a_query_has_the_same_hits_alone_and_among_others(collection):
    codec, codes, _, docids, folder = collection
    rescoring = RescoringIndex(layouts.build(codec, codes, "fastscan"), StoredVectors.open(folder / "int8"), docids)
    queries = random_embeddings(100, D=D, seed=5)  # 100 × 200 candidates are read in two parts
    scores, rows = rescoring.search(queries, 50)
    for b in range(0, 100, 7):
        alone = rescoring.search(queries[b : b + 1], 50)
        assert np.array_equal(alone[0][0], scores[b])
        assert np.array_equal(alone[1][0], rows[b])


@pytest.mark.parametrize("layout", ["pq", "ivf-fastscan"])
def test_with_all_candidates_the_hits_are_those_of_a_flat_index(collection, layout, monkeypatch):
    codec, codes, coarse, docids, folder = collection
    stored = StoredVectors.open(folder / "float32")
    vectors = stored.read(np.arange(N)).astype(np.float64)
    queries = random_embeddings(5, D=D, seed=6)
    rescoring = RescoringIndex(layouts.build(codec, codes, layout, coarse), stored, docids, candidates=N)
    scores, rows = rescoring.search(queries, 10)
    assert np.array_equal(rows, np.argsort(-(queries @ vectors.T), axis=1, kind="stable")[:, :10])
    monkeypatch.setattr("jpq_pyserini.index.exact.PART", 200)  # vectors of so many candidates at once
    monkeypatch.setattr("jpq_pyserini.index.rescoring.PART", 200)
    in_parts = RescoringIndex(layouts.build(codec, codes, layout, coarse), stored, docids, 10**18).search(queries, 10)
    assert np.allclose(in_parts[0], scores, atol=2e-6)  # rows of a product are summed in another order
    assert np.array_equal(in_parts[1], rows)


def test_feedback_gets_the_real_vectors(collection):
    codec, codes, _, docids, folder = collection
    stored = StoredVectors.open(folder / "int8")
    rescoring = RescoringIndex(layouts.build(codec, codes, "fastscan"), stored, docids, candidates=40)
    scores, rows, vectors = rescoring.search_and_reconstruct(random_embeddings(3, D=D, seed=7), 5)
    assert np.array_equal(rows, rescoring.search(random_embeddings(3, D=D, seed=7), 5)[1])
    for b in range(3):
        assert np.array_equal(vectors[b], stored.read(rows[b]))
    assert np.array_equal(rescoring.reconstruct(17), stored.read(np.array([17]))[0])
    assert scores.shape == (3, 5)


def test_more_hits_than_candidates_or_documents(collection):
    codec, codes, _, docids, folder = collection
    stored = StoredVectors.open(folder / "int8")
    rescoring = RescoringIndex(layouts.build(codec, codes, "pq"), stored, docids, candidates=10)
    query = random_embeddings(1, D=D, seed=8)
    _, rows, _ = rescoring.search_and_reconstruct(query, 100)
    assert (rows >= 0).all()
    assert len(set(rows[0].tolist())) == 100
    _scores, rows, vectors = rescoring.search_and_reconstruct(query, N + 5)
    assert rows.shape == vectors.shape[:2] == (1, N)
    assert set(rows[0].tolist()) == set(range(N))


def test_another_proposer_chooses_the_candidates(collection):
    codec, codes, _, docids, folder = collection
    stored = StoredVectors.open(folder / "float32")
    index = layouts.build(codec, codes, "pq")
    queries = random_embeddings(4, D=D, seed=9)
    theirs = RescoringIndex(index, stored, docids, 60, TorchSearch(codec, codes, "cpu")).search(queries, 60)
    ours = RescoringIndex(index, stored, docids, 60).search(queries, 60)
    assert np.array_equal(theirs[1], ours[1])
    assert np.array_equal(theirs[0], ours[0])


def test_the_embeddings_of_a_flat_folder_are_read_where_they_are(collection, tmp_path):
    codec, codes, _, docids, folder = collection
    kept = StoredVectors.open(folder / "float32")
    flat = StoredVectors.of_flat(write_flat(tmp_path / "flat", kept.read(np.arange(N))))
    index, queries = layouts.build(codec, codes, "pq"), random_embeddings(4, D=D, seed=9)
    for one, other in zip(
        RescoringIndex(index, kept, docids).search(queries, 60),
        RescoringIndex(index, flat, docids).search(queries, 60),
        strict=True,
    ):
        assert np.array_equal(one, other)


def test_the_number_of_candidates_is_the_callers_the_environments_or_the_records(monkeypatch):
    assert wanted_candidates() is None
    assert wanted_candidates(None, 70) == 70
    monkeypatch.setenv("JPQ_RESCORE", "90")
    assert wanted_candidates(None, 70) == 90
    assert wanted_candidates(50, 70) == 50
    monkeypatch.setenv("JPQ_RESCORE", "0")
    assert wanted_candidates(None, 70) == 0
    monkeypatch.setenv("JPQ_RESCORE", "")
    assert wanted_candidates(None, 70) == 70
    monkeypatch.setenv("JPQ_RESCORE", "many")
    with pytest.raises(JPQError, match="JPQ_RESCORE=many"):
        wanted_candidates()
    with pytest.raises(JPQError, match="rescore -1"):
        wanted_candidates(-1)


def test_the_default_grows_with_the_hits_that_are_wanted():
    counts = [default_candidates(k) for k in (1, 10, 100, 1000)]
    assert counts == sorted(counts)
    assert all(count >= k for count, k in zip(counts, (1, 10, 100, 1000), strict=True))


def test_copies_rescore_too_and_outlive_the_original(collection):
    codec, codes, _, docids, folder = collection
    original = RescoringIndex(layouts.build(codec, codes), StoredVectors.open(folder / "int8"), docids, candidates=60)
    queries = random_embeddings(3, D=D, seed=8)
    expected = original.search(queries, 20)
    copied = copy.deepcopy(original)
    del original
    gc.collect()  # closes the original's file
    for found, wanted in zip(copied.search(queries, 20), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_a_search_holds_no_vectors_of_its_hits(collection):
    codec, codes, _, docids, folder = collection
    rescoring = RescoringIndex(layouts.build(codec, codes), StoredVectors.open(folder / "float32"), docids)
    assert rescoring._search(random_embeddings(3, D=D, seed=9), 20)[2] == []
