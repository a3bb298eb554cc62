"""Losses, scores and negatives against slow loops that follow the paper's equations."""

import math

import numpy as np
import pytest
import torch

from jpq_pyserini.train import losses
from jpq_pyserini.train.model import JPQModel, table_scores
from jpq_pyserini.train.negatives import split_negatives

from helpers.codes import random_codec, random_embeddings


def pair_loss(name, difference, weight) -> float:
    if name == "hinge":
        return max(0.0, 0.3 + difference)
    return math.log1p(math.exp(difference)) * (weight if name == "lambdarank" else 1.0)


def slow_loss(name, positives, negatives, cut) -> float:
    """One query after the other, one pair after the other; lists of scores without padding."""
    means = []
    for plus, minus in zip(positives, negatives, strict=True):
        if not plus or not minus:
            continue
        order = sorted([(-s, 0, i) for i, s in enumerate(minus)] + [(-s, 1, i) for i, s in enumerate(plus)])
        gain = {(kind, i): 1 / rank if rank <= cut else 0.0 for rank, (_, kind, i) in enumerate(order, 1)}
        pairs = [
            pair_loss(name, t - s, abs(gain[1, i] - gain[0, j]))
            for i, s in enumerate(plus)
            for j, t in enumerate(minus)
        ]
        means.append(sum(pairs) / len(pairs))
    return sum(means) / len(means)


def padded(lists, width):
    scores = torch.full((len(lists), width), 99.0, dtype=torch.float64)
    mask = torch.zeros(len(lists), width, dtype=torch.bool)
    for i, values in enumerate(lists):
        scores[i, : len(values)] = torch.tensor(values, dtype=torch.float64)
        mask[i, : len(values)] = True
    return scores, mask


@pytest.mark.parametrize("name", ["lambdarank", "ranknet", "hinge"])
@pytest.mark.parametrize("cut", [3, 200])
def test_losses_equal_loops_over_pairs(name, cut):
    rng = np.random.default_rng(0)
    positives = [rng.normal(size=n).tolist() for n in (1, 3, 2, 1)]
    negatives = [rng.normal(size=n).tolist() for n in (7, 5, 0, 6)]
    negatives[0][2] = positives[0][0]  # a tie
    plus, plus_mask = padded(positives, 3)
    minus, minus_mask = padded(negatives, 7)
    options = {"lambdarank": {"cut": cut}, "ranknet": {}, "hinge": {"margin": 0.3}}[name]
    fast = getattr(losses, name)(plus, minus, plus_mask, minus_mask, **options)
    assert fast.item() == pytest.approx(slow_loss(name, positives, negatives, cut), rel=1e-9)


@pytest.mark.parametrize("scoring", ["quantized", "flat"])
def test_in_batch_is_the_cross_entropy_of_each_positive_against_all_others_documents(scoring):
    """Against a loop over sets of documents, with scores of rebuilt embeddings in double precision."""
    codec, x, texts = random_codec(), random_embeddings(40), random_embeddings(4, seed=6)
    codes = codec.encode(x)
    model = JPQModel(torch.nn.Linear(1, 1), codec, codes, x)
    relevant = [[3, 8], [5], [3], []]
    found = torch.tensor([[8, 1, 2, 5], [9, 3, 5, 1], [7, 3, 1, -1], [0, 2, 9, 4]])
    queries = torch.from_numpy(texts).requires_grad_()
    batch = split_negatives(found, relevant, 3).shared()
    score = model.flat_scores if scoring == "flat" else lambda q, rows: model.scores(model.rotate(q), rows)
    loss = losses.in_batch(*batch.split(batch.score(lambda rows: score(queries, rows))))

    everything = {0, 1, 2, 3, 5, 7, 8, 9}  # but 4, which is beyond the three negatives of its query
    rebuilt = torch.from_numpy(x if scoring == "flat" else codec.decode(codes)).double()
    wanted = torch.from_numpy(texts).double().requires_grad_()
    means = []
    for query, own in zip(wanted, relevant, strict=True):
        others = torch.stack([query @ rebuilt[row] for row in sorted(everything - set(own))])
        scores = [torch.cat([(query @ rebuilt[row]).view(1), others]) for row in own]
        if own:
            means.append(torch.stack([-each.log_softmax(0)[0] for each in scores]).mean())
    expected = torch.stack(means).mean()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    loss.backward()
    expected.backward()
    assert torch.allclose(queries.grad.double(), wanted.grad, atol=1e-5)
    if scoring == "quantized":  # one score for a document, the same as when each query has its own
        assert torch.allclose(score(queries, batch.documents), score(queries, batch.rows[:, 2:]), atol=1e-5)
        assert model.centroids.grad.abs().sum() > 0


def test_gradients_are_equation_17():
    plus, minus = torch.zeros(1, 1, requires_grad=True), torch.zeros(1, 1, requires_grad=True)
    mask = torch.ones(1, 1, dtype=torch.bool)
    losses.lambdarank(plus, minus, mask, mask, cut=10).backward()
    assert plus.grad.item() == -minus.grad.item() < 0  # equal scores: the negative ranks first, so there is a gradient


def test_table_scores_and_gradients_equal_rebuilt_embeddings():
    """Equations 11, 12 against 14, 15; and the centroids' gradient against equation 19."""
    codec = random_codec()
    codes = torch.from_numpy(codec.encode(random_embeddings(3 * 9))).view(3, 9, 6)
    queries = torch.from_numpy(random_embeddings(3, seed=4))
    weights = torch.from_numpy(random_embeddings(3, D=9, seed=5))
    results = []
    for rebuild in (True, False):
        q = queries.clone().requires_grad_()
        c = torch.from_numpy(codec.centroids.copy()).requires_grad_()
        if rebuild:
            documents = c[torch.arange(6), codes.long()].reshape(3, 9, 24)
            scores = torch.einsum("bd,bnd->bn", q, documents)
        else:
            scores = table_scores(q, c, codes)
        (scores * weights).sum().backward()
        results.append((scores.detach(), q.grad, c.grad))
    for slow, fast in zip(*results, strict=True):
        assert torch.allclose(slow, fast, atol=1e-5)


def test_negatives_are_the_best_irrelevant_documents():
    found = torch.tensor([[5, 3, 9, 1, 7], [2, 8, 4, 6, 0], [4, 5, -1, -1, -1]])
    taken = split_negatives(found, [[3], [0, 2], [11]], 3)
    assert taken.negatives[:2].tolist() == [[5, 9, 1], [8, 4, 6]]  # equation 20: without 3; without 0 and 2
    assert taken.negative_mask.tolist() == [[True] * 3, [True] * 3, [True, True, False]]
    assert taken.rows[:, :2].tolist() == [[3, 0], [0, 2], [11, 0]]
    assert taken.positive_mask.tolist() == [[True, False], [True, True], [True, False]]
    assert 0 in taken.negatives[2]  # padding, masked out: row 0 is no negative of the third query
