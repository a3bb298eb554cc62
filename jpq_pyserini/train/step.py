"""One training step: the paper's algorithm (section 3) on one screen, with its equation numbers."""

import copy
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from jpq_pyserini.data.topics import TrainingQuery
from jpq_pyserini.encoders.text_encoder import embed_with_gradients
from jpq_pyserini.train import losses
from jpq_pyserini.train.config import IN_BATCH, TrainConfig
from jpq_pyserini.train.model import JPQModel
from jpq_pyserini.train.negatives import Batch, Negatives, split_negatives
from jpq_pyserini.train.optimizer import check_step, lr_factor, make_optimizer, set_learning_rates, sum_gradients
from jpq_pyserini.train.stopwatch import Stopwatch


class TrainingStep:
    """Train query encoder and centroids of ``model`` in place, a batch of queries at a time.

    Args:
        model: on its device, not trained yet.
        negatives: finds the candidate documents of a batch.
        training: the training queries.
        config: the settings; they decide what is frozen, too.
        score_scale: what scores are multiplied by in the loss.
        total_steps: of the run, for the learning rates.
        watch: gets the time of each phase: encode, search, loss, update.

    Attributes:
        optimizer: of what the settings say is trained.
    """

    def __init__(
        self,
        model: JPQModel,
        negatives: Negatives,
        training: Sequence[TrainingQuery],
        config: TrainConfig,
        score_scale: float,
        total_steps: int,
        watch: Stopwatch | None = None,
    ):
        self.model, self.negatives, self.training, self.config = model, negatives, training, config
        self.score_scale, self.total_steps, self.watch = score_scale, total_steps, watch or Stopwatch()
        needs_teacher = config.distillation > 0 or config.negatives_from == "static"
        self.teacher = copy.deepcopy(model.encoder).eval() if needs_teacher else None
        self.optimizer = make_optimizer(model, config)

    def __call__(self, step: int, positions: Sequence[int], share: float = 1.0) -> tuple[float, float]:
        """Take step 0, 1, … on the training queries at ``positions``.

        Args:
            step: its number.
            positions: of B training queries; those of this process, if there are several.
            share: of this process in the batch.

        Returns:
            The loss, and the mean reciprocal rank of the best relevant document among a query's own candidates.

        Raises:
            JPQError: loss or gradients are not finite; nothing was updated.
        """
        model, config, watch = self.model, self.config, self.watch
        model.train(config.dropout)
        texts, relevant = zip(*((self.training[i].text, self.training[i].rows) for i in positions), strict=True)
        with watch.phase("encode"), model.autocast():
            queries = embed_with_gradients(model.encoder, list(texts))  # q, (B, D)
            with torch.no_grad():
                teacher = embed_with_gradients(self.teacher, list(texts)) if self.teacher is not None else None
        with watch.phase("search"):  # of the whole collection: equation 20
            found = self.negatives.find(step, positions, queries.detach(), teacher)
            batch = split_negatives(found, relevant, config.negatives)
            batch = batch.shared() if config.loss == IN_BATCH else batch
        with watch.phase("loss"):
            scores = self._scores(queries, batch)  # s† or s, (B, P + n), or both: equations 11 and 12
            loss = torch.stack([self._loss(each, teacher, batch) for each in scores]).mean()  # equation 16
            (loss * share).backward()  # equations 18 and 19
            train_rr = _reciprocal_rank(scores[-1].detach(), batch)
        with watch.phase("update"):
            sum_gradients(model)
            norm = torch.nn.utils.clip_grad_norm_(model.encoder.parameters(), config.max_grad_norm)
            check_step(step, loss, norm, model, config)
            set_learning_rates(self.optimizer, lr_factor(config, step, self.total_steps))
            self.optimizer.step()
            self.optimizer.zero_grad()
        return loss.item(), train_rr

    def _scores(self, queries: Tensor, batch: Batch) -> list[Tensor]:
        """Return the scores that the loss is taken of; last those that give the final order."""
        scoring, scores = self.config.effective_scoring, []
        if scoring in ("quantized", "both"):
            scores.append(batch.score(partial(self.model.scores, self.model.rotate(queries))))
        if scoring in ("flat", "both"):
            scores.append(batch.score(partial(self.model.flat_scores, queries)))
        return scores

    def _loss(self, scores: Tensor, teacher: Tensor | None, batch: Batch) -> Tensor:
        """Weigh ranking loss, distillation and reconstruction as the settings say."""
        model, config, scores = self.model, self.config, scores * self.score_scale
        loss = scores.new_zeros(())
        if config.distillation < 1:
            loss = loss + (1 - config.distillation) * ranking_loss(config, batch.split(scores))
        if config.distillation > 0:
            teacher_scores = batch.score(partial(model.flat_scores, teacher)) * self.score_scale
            loss = loss + config.distillation * losses.distillation(scores, teacher_scores, batch.mask)
        if config.reconstruction:
            relevant = batch.split(batch.rows)[0][batch.positive_mask].unique()
            rotated = model.rotate(model.documents(relevant))
            loss = loss + config.reconstruction * losses.reconstruction(rotated, model.centroids)
        return loss


def ranking_loss(config: TrainConfig, split: tuple[Tensor, Tensor, Tensor, Tensor]) -> Tensor:
    """The loss that ``--loss`` names, of what :meth:`Batch.split` returns."""
    if config.loss == "lambdarank":
        return losses.lambdarank(*split, cut=config.lambda_cut)
    if config.loss == IN_BATCH:
        return losses.in_batch(*split)
    if config.loss == "ranknet":
        return losses.ranknet(*split)
    return losses.hinge(*split, margin=config.margin)


def _reciprocal_rank(scores: Tensor, batch: Batch) -> float:
    if not batch.positive_mask.any():
        return 0.0
    gains, _ = losses.reciprocal_ranks(*batch.split(scores), cut=scores.shape[1])
    return gains.amax(1).mean().item()
