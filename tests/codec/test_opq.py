"""OPQ against Faiss's OPQ and against what the mathematics promises."""

import faiss
import numpy as np
import pytest
import torch

from jpq_pyserini.codec.opq import assign, check_sizes, train_opq
from jpq_pyserini.codec.quantizer import ProductQuantizer
from jpq_pyserini.errors import JPQError


@pytest.fixture(scope="module")
def correlated() -> np.ndarray:
    """(2000, 32) embeddings with a few strong directions, as real ones have."""
    rng = np.random.default_rng(0)
    return (rng.standard_normal((2000, 32)) * 0.9 ** np.arange(32) @ rng.standard_normal((32, 32))).astype(np.float32)


def error(x, rotation, centroids) -> float:
    codec = ProductQuantizer(centroids, centroids, rotation)
    return float(((codec.decode(codec.encode(x)) - x) ** 2).sum(1).mean())


def test_rotation_is_orthonormal_and_error_not_above_faiss(correlated):
    rotation, centroids = train_opq(correlated, 8, 4, progress=False)
    assert np.allclose(rotation @ rotation.T, np.eye(32), atol=1e-4)
    ours = error(correlated, rotation, centroids)
    plain = error(correlated, *train_opq(correlated, 8, 4, rotate=False, progress=False))
    theirs = faiss.OPQMatrix(32, 8)
    theirs.pq = faiss.ProductQuantizer(32, 8, 4)
    theirs.train(correlated)
    rotated = theirs.apply(correlated)
    pq = faiss.ProductQuantizer(32, 8, 4)
    pq.train(rotated)
    faiss_error = float(((pq.decode(pq.compute_codes(rotated)) - rotated) ** 2).sum(1).mean())
    assert ours < plain
    assert ours <= faiss_error * 1.02


def test_same_seed_same_result_other_seed_other(correlated):
    first, second, other = (train_opq(correlated, 4, 4, iterations=3, seed=s, progress=False) for s in (1, 1, 2))
    assert np.array_equal(first[0], second[0])
    assert np.array_equal(first[1], second[1])
    assert not np.array_equal(first[1], other[1])


def test_both_ways_of_assigning_agree(correlated, monkeypatch):
    x = torch.from_numpy(correlated)
    centroids = torch.from_numpy(correlated[:16].reshape(16, 8, 4)).transpose(0, 1).contiguous()
    by_faiss = assign(x, centroids)
    distances = (x.view(-1, 8, 1, 4) - centroids).square().sum(-1)
    assert torch.equal(by_faiss, distances.argmin(-1))
    monkeypatch.setattr(torch.Tensor, "is_cuda", True)  # the way that a GPU takes
    monkeypatch.setattr("jpq_pyserini.codec.opq._ELEMENTS", 8 * 16 * 300)
    assert torch.equal(assign(x, centroids), by_faiss)


def test_duplicates_do_not_leave_dead_centroids():
    x = np.repeat(np.random.default_rng(0).standard_normal((40, 8)), 30, axis=0).astype(np.float32)
    rotation, centroids = train_opq(x, 2, 4, progress=False)
    assert np.isfinite(centroids).all()
    assert np.isfinite(rotation).all()
    assert error(x, rotation, centroids) < (x**2).sum(1).mean() / 2


@pytest.mark.parametrize(
    ("count", "m", "nbits", "message"),
    [
        (1000, 7, 8, r"--m 7 does not divide the embedding dimension 32: choose one of \[1, 2, 4, 8, 16, 32\]"),
        (1000, 0, 8, "--m 0 does not divide"),
        (255, 8, 8, r"255 documents are fewer than the 256 centroids.*--nbits 4"),
        (15, 8, 4, "15 documents are fewer than the 16 centroids"),
        (1000, 8, 5, "codes have 4 or 8 bits"),
    ],
)
def test_sizes_that_do_not_fit(count, m, nbits, message):
    with pytest.raises(JPQError, match=message):
        check_sizes(count, 32, m, nbits)
