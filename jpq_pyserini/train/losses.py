"""Losses on scores, batched: no loop over queries.

The ranking losses, pairwise (equations 13, 16, 17) and in-batch, take ``positives`` (B, P) and ``negatives`` (B, n)
scores with boolean masks of the same shapes, and return a scalar: the mean over a query's pairs, then over the queries
that have a pair.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from jpq_pyserini.codec.opq import assign, reconstruct


def lambdarank(positives: Tensor, negatives: Tensor, positive_mask: Tensor, negative_mask: Tensor, cut: int) -> Tensor:
    """LambdaRank for reciprocal rank: log(1 + exp(s⁻ − s⁺)), weighted by |1/r⁺ − 1/r⁻| (Burges 2010; section 4.3).

    Ranks come from the given scores themselves; a rank beyond ``cut`` counts as 1/r = 0.
    """
    gains_positive, gains_negative = reciprocal_ranks(positives, negatives, positive_mask, negative_mask, cut)
    weights = (gains_positive.unsqueeze(2) - gains_negative.unsqueeze(1)).abs()
    return _mean_over_pairs(F.softplus(_differences(positives, negatives)) * weights, positive_mask, negative_mask)


def ranknet(positives: Tensor, negatives: Tensor, positive_mask: Tensor, negative_mask: Tensor) -> Tensor:
    """RankNet: log(1 + exp(s⁻ − s⁺)) (Burges et al. 2005)."""
    return _mean_over_pairs(F.softplus(_differences(positives, negatives)), positive_mask, negative_mask)


def hinge(positives: Tensor, negatives: Tensor, positive_mask: Tensor, negative_mask: Tensor, margin: float) -> Tensor:
    """Hinge: max(0, margin + s⁻ − s⁺)."""
    return _mean_over_pairs(F.relu(_differences(positives, negatives) + margin), positive_mask, negative_mask)


def in_batch(positives: Tensor, negatives: Tensor, positive_mask: Tensor, negative_mask: Tensor) -> Tensor:
    """Softmax cross-entropy of each positive against all negatives: −log(exp(s⁺) / (exp(s⁺) + Σ exp(s⁻))).

    With the negatives of all queries of the batch (:meth:`~jpq_pyserini.train.negatives.Batch.shared`) it is the loss
    of the in-batch negatives of Karpukhin et al. (2020).
    """
    least = torch.finfo(negatives.dtype).min
    against = negatives.masked_fill(~negative_mask, least).logsumexp(1, keepdim=True)
    pair_losses = F.softplus(against - positives).unsqueeze(2)
    return _mean_over_pairs(pair_losses, positive_mask, negative_mask.any(1, keepdim=True))


@torch.no_grad()
def reciprocal_ranks(
    positives: Tensor, negatives: Tensor, positive_mask: Tensor, negative_mask: Tensor, cut: int
) -> tuple[Tensor, Tensor]:
    """Return 1/rank of each positive (B, P) and negative (B, n) among all of a query's scores; 0 beyond ``cut``.

    Ties go against the positive, so that equal scores still produce a gradient.
    """
    scores = torch.cat([negatives, positives], 1)
    mask = torch.cat([negative_mask, positive_mask], 1)
    order = scores.masked_fill(~mask, -torch.inf).argsort(dim=1, descending=True, stable=True)
    ranks = torch.empty_like(order)
    ranks.scatter_(1, order, torch.arange(1, order.shape[1] + 1, device=order.device).expand_as(order))
    gains = ranks.to(scores.dtype).reciprocal().masked_fill((ranks > cut) | ~mask, 0.0)
    return gains[:, negatives.shape[1] :], gains[:, : negatives.shape[1]]


def _differences(positives: Tensor, negatives: Tensor) -> Tensor:
    return negatives.unsqueeze(1) - positives.unsqueeze(2)  # (B, P, n)


def _mean_over_pairs(pair_losses: Tensor, positive_mask: Tensor, negative_mask: Tensor) -> Tensor:
    pairs = positive_mask.unsqueeze(2) & negative_mask.unsqueeze(1)
    counts = pairs.sum((1, 2))
    means = pair_losses.masked_fill(~pairs, 0.0).sum((1, 2)) / counts.clamp(min=1)
    return means.sum() / (counts > 0).sum().clamp(min=1)


def distillation(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """KL(softmax(teacher) ‖ softmax(student)) over each query's candidates, then the mean over the queries.

    Args:
        student, teacher: (B, n) scores, already scaled.
        mask: (B, n) bool, False for padding.
    """
    log_student = student.masked_fill(~mask, -torch.inf).log_softmax(1)
    log_teacher = teacher.masked_fill(~mask, -torch.inf).log_softmax(1)
    terms = log_teacher.exp() * (log_teacher - log_student)
    return terms.masked_fill(~mask, 0.0).sum(1).mean()


def reconstruction(rotated_documents: Tensor, centroids: Tensor) -> Tensor:
    """Equation 9 for a batch: the mean over (n, D) documents of ‖d − d†‖², newly coded, gradients to centroids."""
    codes = assign(rotated_documents, centroids.detach())
    return (rotated_documents - reconstruct(codes, centroids)).square().sum(1).mean()
