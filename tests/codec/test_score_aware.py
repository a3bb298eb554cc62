"""Codes and centroids chosen by the score-aware cost, against brute force and against what descent promises."""

import itertools

import numpy as np
import pytest

from jpq_pyserini.codec import Nearest, ProductQuantizer, ScoreAware, assign
from jpq_pyserini.codec.score_aware import improve_centroids, improve_codes
from jpq_pyserini.errors import JPQError


@pytest.fixture(scope="module")
def correlated() -> np.ndarray:
    """(1500, 16) embeddings with a few strong directions."""
    rng = np.random.default_rng(0)
    return (rng.standard_normal((1500, 16)) * 0.8 ** np.arange(16) @ rng.standard_normal((16, 16))).astype(np.float32)


@pytest.fixture(scope="module")
def centroids(correlated) -> np.ndarray:
    """(4, 16, 4): the sub-vectors of the first documents."""
    return np.ascontiguousarray(correlated[:16].reshape(16, 4, 4).transpose(1, 0, 2))


def cost(rotated: np.ndarray, codes: np.ndarray, centroids: np.ndarray, weight: float) -> float:
    """Mean over the (N, D) documents of ‖r‖² + h·(u·r)²."""
    rebuilt = centroids[np.arange(len(centroids)), codes].reshape(rotated.shape)
    residual = rotated - rebuilt
    along = (residual * rotated).sum(1) / np.linalg.norm(rotated, axis=1)
    return float((np.square(residual).sum(1) + weight * np.square(along)).mean())


def costs_by_definition(document, centroids, weight) -> dict[tuple[int, ...], float]:
    """Every code of M=2 and its cost, written down as in the module's formula."""
    along = document / np.linalg.norm(document)
    costs = {}
    for code in itertools.product(range(centroids.shape[1]), repeat=2):
        residual = document - np.concatenate([centroids[0, code[0]], centroids[1, code[1]]])
        costs[code] = residual @ residual + weight * (along @ residual) ** 2
    return costs


def test_no_change_of_one_code_makes_a_document_cheaper(correlated):
    centroids = np.ascontiguousarray(correlated[:16, :8].reshape(16, 2, 4).transpose(1, 0, 2))
    documents = correlated[100:140, :8]
    found = improve_codes(documents, assign(documents, centroids), centroids, 4.0)
    for document, code in zip(documents, found.tolist(), strict=True):
        costs = costs_by_definition(document, centroids, 4.0)
        mine = costs[tuple(code)]
        neighbours = [costs[(other, code[1])] for other in range(16)] + [costs[(code[0], other)] for other in range(16)]
        assert mine <= min(neighbours) + 1e-4
        assert mine == pytest.approx(cost(document[None], np.array([code]), centroids, 4.0), rel=1e-4)


def test_weight_zero_is_the_nearest_centroid(correlated, centroids):
    nearest = assign(correlated, centroids)
    assert np.array_equal(improve_codes(correlated, nearest, centroids, 0.0), nearest)


def test_codes_and_centroids_cost_less_each_time(correlated, centroids):
    nearest = assign(correlated, centroids)
    costs = [cost(correlated, nearest, centroids, 3.0)]
    costs.append(cost(correlated, improve_codes(correlated, nearest, centroids, 3.0), centroids, 3.0))
    for rounds in (1, 3, 6):
        costs.append(cost(correlated, *improve_centroids(correlated, nearest, centroids, 3.0, rounds), 3.0))
    assert costs == sorted(costs, reverse=True)
    assert costs[1] < 0.99 * costs[0]
    assert costs[2] < 0.99 * costs[1]


def test_centroids_are_the_least_squares_solution(correlated, centroids):
    """With its codes held, no small move of a centroid lowers the cost of the sub-vector that was moved last."""
    codes, moved = improve_centroids(correlated, assign(correlated, centroids), centroids, 3.0, 1)
    least = cost(correlated, codes, moved, 3.0)
    for direction in np.eye(4, dtype=np.float32) * 1e-2:
        for sign in (1, -1):
            other = moved.copy()
            other[-1, 5] += sign * direction
            assert cost(correlated, codes, other, 3.0) >= least


def test_errors_along_the_documents_shrink(correlated, centroids):
    def along(codes):
        residual = correlated - centroids[np.arange(4), codes].reshape(correlated.shape)
        units = correlated / np.linalg.norm(correlated, axis=1, keepdims=True)
        return np.abs((residual * units).sum(1)).mean()

    nearest = assign(correlated, centroids)
    assert along(improve_codes(correlated, nearest, centroids, 8.0)) < 0.7 * along(nearest)


def test_arguments_stay_as_they_are_and_a_zero_document_is_coded(correlated, centroids):
    documents = np.vstack([correlated[:5], np.zeros((1, 16), np.float32)])
    nearest, before = assign(documents, centroids), centroids.copy()
    kept = nearest.copy()
    improve_centroids(documents, nearest, centroids, 3.0, 2)
    found = improve_codes(documents, nearest, centroids, 3.0)
    assert np.array_equal(nearest, kept)
    assert np.array_equal(centroids, before)
    assert np.array_equal(found[-1], nearest[-1])


def test_a_codec_keeps_its_assignment(correlated, centroids, tmp_path):
    codec = ProductQuantizer(centroids, centroids, None, ScoreAware(3.0))
    assert np.array_equal(
        codec.encode(correlated), improve_codes(correlated, assign(correlated, centroids), centroids, 3.0)
    )
    codec.save(tmp_path / "codec.safetensors")
    loaded = ProductQuantizer.load(tmp_path / "codec.safetensors")
    assert loaded.assignment == ScoreAware(3.0)
    assert loaded.with_centroids(centroids + 1).assignment == ScoreAware(3.0)
    assert np.array_equal(loaded.encode(correlated[:40]), codec.encode(correlated)[:40])
    plain = ProductQuantizer(centroids, centroids)
    plain.save(tmp_path / "plain.safetensors")
    assert ProductQuantizer.load(tmp_path / "plain.safetensors").assignment == Nearest()


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
def test_a_bad_weight_is_refused(weight):
    with pytest.raises(JPQError, match="score-aware codes with weight"):
        ScoreAware(weight)
