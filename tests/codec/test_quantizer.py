"""ProductQuantizer against Faiss's own quantizer and against plain numpy."""

import faiss
import numpy as np
import pytest

from jpq_pyserini.codec.codes import pack_codes, unpack_codes
from jpq_pyserini.codec.quantizer import ProductQuantizer
from jpq_pyserini.errors import JPQError

from helpers.codes import random_codec, random_embeddings


@pytest.mark.parametrize("nbits", [4, 8])
@pytest.mark.parametrize("rotate", [True, False])
def test_codes_are_nearest_assignment_centroids(nbits, rotate):
    codec = random_codec(nbits=nbits, rotate=rotate)
    x = random_embeddings(50)
    rotated = x if codec.rotation is None else x @ codec.rotation.T
    distances = ((rotated.reshape(50, 6, 1, 4) - codec.assignment_centroids) ** 2).sum(-1)  # (N, M, K)
    assert np.array_equal(codec.encode(x), distances.argmin(-1))


@pytest.mark.parametrize("nbits", [4, 8])
def test_scores_are_equation_12(nbits):
    codec = random_codec(nbits=nbits)
    documents, queries = random_embeddings(40), random_embeddings(3, seed=2)
    codes = codec.encode(documents)
    expected = np.zeros((3, 40))
    for b, query in enumerate(queries.astype(np.float64) @ codec.rotation.T.astype(np.float64)):
        for n in range(40):
            for i in range(6):
                expected[b, n] += query[4 * i : 4 * i + 4] @ codec.centroids[i, codes[n, i]]
    assert np.allclose(codec.scores(queries, codes), expected, atol=1e-4)
    assert np.allclose(queries @ codec.decode(codes).T, expected, atol=1e-4)  # equation 15


def test_faiss_codes_in_many_chunks(monkeypatch):
    codec = random_codec()
    x = random_embeddings(1000)
    pq = faiss.ProductQuantizer(24, 6, 8)
    faiss.copy_array_to_vector(codec.assignment_centroids.ravel(), pq.centroids)
    monkeypatch.setattr("jpq_pyserini.codec.quantizer._ROWS", 128)
    assert np.array_equal(codec.encode(x), pq.compute_codes(np.ascontiguousarray(x @ codec.rotation.T)))


@pytest.mark.parametrize("M", [6, 7])
def test_packing_four_bits_is_faiss_order(M):
    pq = faiss.ProductQuantizer(M * 4, M, 4)
    pq.train(random_embeddings(700, M * 4))
    packed = pq.compute_codes(random_embeddings(9, M * 4))
    codes = unpack_codes(packed, M, 4)
    assert codes.shape == (9, M)
    assert np.array_equal(pack_codes(codes, 4), packed)
    centroids = faiss.vector_to_array(pq.centroids).reshape(M, 16, 4)
    assert np.array_equal(centroids[np.arange(M), codes].reshape(9, -1), pq.decode(packed))


def test_new_documents_use_assignment_centroids_and_are_scored_with_trained_ones():
    codec = random_codec()
    x = random_embeddings(30)
    trained = codec.with_centroids(codec.centroids + 1)
    assert np.array_equal(trained.encode(x), codec.encode(x))
    assert not np.allclose(trained.scores(x, codec.encode(x)), codec.scores(x, codec.encode(x)))


def test_save_and_load(tmp_path):
    for rotate in (True, False):
        codec = random_codec(rotate=rotate)
        codec.save(tmp_path / "c.safetensors")
        loaded = ProductQuantizer.load(tmp_path / "c.safetensors")
        assert (loaded.rotation is None) == (not rotate)
        assert np.array_equal(loaded.centroids, codec.centroids)
        assert np.array_equal(loaded.assignment_centroids, codec.assignment_centroids)


def test_bad_input(tmp_path):
    codec = random_codec()
    with pytest.raises(JPQError, match=r"\(3, 8\).*dimension 24"):
        codec.encode(np.zeros((3, 8)))
    with pytest.raises(JPQError, match=r"16 .*256"):
        ProductQuantizer(np.zeros((2, 20, 4)), np.zeros((2, 20, 4)))
    (tmp_path / "bad").write_bytes(b"garbage")
    with pytest.raises(JPQError, match="bad is no readable codec"):
        ProductQuantizer.load(tmp_path / "bad")
