"""The loss of a step: ranking, distillation and reconstruction as the settings weigh them."""

from dataclasses import dataclass

import torch
from torch import Tensor

from jpq_pyserini.codec.opq import assign, reconstruct
from jpq_pyserini.train import losses
from jpq_pyserini.train.config import TrainConfig
from jpq_pyserini.train.negatives import Candidates


@dataclass(frozen=True)
class Batch:
    """Candidates of a batch on the model's device: relevant documents first, then negatives, best first.

    Attributes:
        rows: (B, P + n) int64.
        positive_mask: (B, P) bool; negative_mask: (B, n) bool.
    """

    rows: Tensor
    positive_mask: Tensor
    negative_mask: Tensor

    @classmethod
    def of(cls, candidates: Candidates) -> "Batch":
        """Put the candidates of each query in one row."""
        rows = torch.cat([candidates.positives, candidates.negatives], 1)
        return cls(rows, candidates.positive_mask, candidates.negative_mask)

    def reciprocal_rank(self, scores: Tensor) -> float:
        """Mean over the queries of 1/rank of the best relevant document among the candidates; scores (B, P + n)."""
        if not self.positive_mask.any():
            return 0.0
        gains, _ = losses.reciprocal_ranks(*self.split(scores), cut=scores.shape[1])
        return gains.amax(1).mean().item()

    def split(self, scores: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Split (B, P + n) scores into what the pairwise losses take."""
        width = self.positive_mask.shape[1]
        return scores[:, :width], scores[:, width:], self.positive_mask, self.negative_mask


def objective(config: TrainConfig, batch: Batch, scores: Tensor, teacher_scores: Tensor | None) -> Tensor:
    """Return the scalar loss of (B, P + n) scaled scores; ``teacher_scores`` alike, needed to distil."""
    loss = scores.new_zeros(())
    if config.distillation < 1:
        loss = loss + (1 - config.distillation) * ranking_loss(config, *batch.split(scores))
    if config.distillation > 0:
        mask = torch.cat([batch.positive_mask, batch.negative_mask], 1)
        loss = loss + config.distillation * losses.distillation(scores, teacher_scores, mask)
    return loss


def ranking_loss(config: TrainConfig, *split: Tensor) -> Tensor:
    """The pairwise loss that ``--loss`` names (equation 16)."""
    if config.loss == "lambdarank":
        return losses.lambdarank(*split, cut=config.lambda_cut)
    if config.loss == "ranknet":
        return losses.ranknet(*split)
    return losses.hinge(*split, margin=config.margin)


def reconstruction_loss(rotated_documents: Tensor, centroids: Tensor) -> Tensor:
    """Equation 9 for a batch: the mean over (n, D) documents of ‖d − d†‖², codes taken anew, gradients to centroids."""
    codes = assign(rotated_documents, centroids.detach())
    return (rotated_documents - reconstruct(codes, centroids)).square().sum(1).mean()
