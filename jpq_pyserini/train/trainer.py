"""The training loop: the paper's algorithm on one screen."""

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from jpq_pyserini.text_encoder import embed_queries
from jpq_pyserini.topics import TrainingQuery
from jpq_pyserini.train import losses
from jpq_pyserini.train.config import TrainConfig
from jpq_pyserini.train.evaluation import CUTOFF, reciprocal_rank
from jpq_pyserini.train.model import JPQModel
from jpq_pyserini.train.negatives import Candidates, QuantizedSearch, take_negatives

logger = logging.getLogger(__name__)


@dataclass
class Curve:
    """What a run went through.

    Attributes:
        points: one ``{"step", "loss", "rr@10", "seconds"}`` for each evaluation; ``loss`` is the mean since the last.
        best_step: the step whose weights were kept.
        seconds: time by phase: encode, search, loss, update, evaluate.
    """

    points: list[dict] = field(default_factory=list)
    best_step: int = 0
    seconds: dict[str, float] = field(default_factory=dict)


class Trainer:
    """Train encoder and centroids of ``model`` in place; the best weights on the dev queries are in it at the end.

    Args:
        model: a :class:`JPQModel`, on its device.
        search: finds negatives; shares the model's centroids.
        config: the settings.
        score_scale: what scores are multiplied by in the loss.
        training, dev: the queries; without dev queries the last weights are kept.
    """

    def __init__(
        self,
        model: JPQModel,
        search: QuantizedSearch,
        config: TrainConfig,
        score_scale: float,
        training: Sequence[TrainingQuery],
        dev: Sequence[TrainingQuery] = (),
        progress: bool = True,
    ):
        self.model, self.search, self.config, self.score_scale = model, search, config, score_scale
        self.training, self.dev, self.progress = training, dev, progress
        self.total_steps = total_steps(config, len(training))
        self.optimizer = make_optimizer(model, config)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, self._lr_factor)
        self.curve = Curve()
        self._best: dict[str, Tensor] = {}
        self._losses: list[float] = []

    def run(self) -> Curve:
        """Train for all steps and return the curve."""
        torch.manual_seed(self.config.seed)
        self._evaluate(0)
        interval = self.config.eval_steps or max(1, round(self.total_steps / 10))
        bar = tqdm(total=self.total_steps, desc="train", unit="step", disable=not self.progress)
        for step, batch in enumerate(self._batches(), 1):
            self._losses.append(self._step(batch))
            bar.update()
            bar.set_postfix(loss=f"{np.mean(self._losses[-100:]):.4f}", refresh=False)
            if step % interval == 0 or step == self.total_steps:
                self._evaluate(step)
        bar.close()
        self._restore_best()
        return self.curve

    def _step(self, batch: list[TrainingQuery]) -> float:
        self.model.train(self.config.dropout)
        with self._clock("encode"):
            queries = self.model.rotate(self.model.embed([query.text for query in batch]))
        with self._clock("search"):
            candidates = self._candidates(queries, [query.rows for query in batch])
        with self._clock("loss"):
            loss = self._loss(queries, candidates)
            loss.backward()
        with self._clock("update"):
            torch.nn.utils.clip_grad_norm_(self.model.encoder.parameters(), self.config.max_grad_norm)
            self.optimizer.step()
            self.schedule.step()
            self.optimizer.zero_grad()
            self._share_centroids()
        return loss.item()

    def _candidates(self, queries: Tensor, relevant: list[list[int]]) -> Candidates:
        count = self.config.negatives
        hits = min(count + max(map(len, relevant)), len(self.model.codes))
        return take_negatives(self.search.search(queries.detach().cpu().numpy(), hits), relevant, count)

    def _loss(self, queries: Tensor, candidates: Candidates) -> Tensor:
        positives, positive_mask, negatives, negative_mask = (
            torch.from_numpy(array).to(queries.device)
            for array in (
                candidates.positives,
                candidates.positive_mask,
                candidates.negatives,
                candidates.negative_mask,
            )
        )
        scores = self.model.scores(queries, torch.cat([positives, negatives], 1)) * self.score_scale
        split = scores[:, : positives.shape[1]], scores[:, positives.shape[1] :], positive_mask, negative_mask
        if self.config.loss == "lambdarank":
            return losses.lambdarank(*split, cut=self.config.lambda_cut)
        if self.config.loss == "ranknet":
            return losses.ranknet(*split)
        return losses.hinge(*split, margin=self.config.margin)

    def _batches(self) -> Iterator[list[TrainingQuery]]:
        """Shuffle anew each epoch, from the seed and the epoch alone, until all steps are done."""
        size, left, epoch = self.config.batch_size, self.total_steps, 0
        while left:
            order = np.random.default_rng([self.config.seed, epoch]).permutation(len(self.training))
            for start in range(0, len(order), size)[:left]:
                yield [self.training[i] for i in order[start : start + size]]
                left -= 1
            epoch += 1

    @torch.no_grad()
    def _evaluate(self, step: int) -> None:
        score = None
        if self.dev:
            with self._clock("evaluate"):
                score = self.dev_score(self.dev)
        loss = float(np.mean(self._losses)) if self._losses else None
        self._losses = []
        self.curve.points.append({"step": step, "loss": loss, "rr@10": score})
        best = max((p["rr@10"] for p in self.curve.points[:-1] if p["rr@10"] is not None), default=-1.0)
        if score is not None:
            tqdm.write(f"step {step:,}: RR@10 {score:.4f} on {len(self.dev):,} dev queries")
        if score is None or score > best:
            self.curve.best_step = step
            self._best = {
                name: value.detach().clone() for name, value in self.model.named_parameters() if value.requires_grad
            }

    def dev_score(self, queries: Sequence[TrainingQuery]) -> float:
        """Mean RR@10 of the current weights on ``queries``, searched exhaustively over the codes."""
        self.model.eval()
        embeddings = torch.from_numpy(embed_queries(self.model.encoder, [query.text for query in queries]))
        rotated = self.model.rotate(embeddings.to(self.model.codes.device)).cpu().numpy()
        hits = min(CUTOFF, len(self.model.codes))
        return reciprocal_rank(self.search.search(rotated, hits), [query.rows for query in queries])

    def _restore_best(self) -> None:
        with torch.no_grad():
            for name, value in self.model.named_parameters():
                if name in self._best:
                    value.copy_(self._best[name])
        self._share_centroids()
        self.model.eval()

    def _share_centroids(self) -> None:
        if self.config.train_centroids:
            self.search.set_centroids(self.model.centroids.detach().cpu().numpy())

    def _lr_factor(self, step: int) -> float:
        """Linear warm-up, then linear decay to zero."""
        warmup = self.config.warmup_steps
        if warmup is None:
            warmup = min(2000, self.total_steps // 10)
        if step < warmup:
            return (step + 1) / warmup
        return max(0.0, (self.total_steps - step) / max(1, self.total_steps - warmup))

    def _clock(self, phase: str) -> "_Clock":
        return _Clock(self.curve.seconds, phase)


class _Clock:
    """Adds the time spent in a ``with`` block to ``seconds[phase]``."""

    def __init__(self, seconds: dict[str, float], phase: str):
        self._seconds, self._phase = seconds, phase

    def __enter__(self):
        self._start = time.perf_counter()

    def __exit__(self, *_):
        self._seconds[self._phase] = self._seconds.get(self._phase, 0.0) + time.perf_counter() - self._start


def total_steps(config: TrainConfig, queries: int) -> int:
    """Steps of a run: epochs over the batches, cut at ``max_steps``."""
    steps = round(config.epochs * -(-queries // config.batch_size))
    return min(steps, config.max_steps) if config.max_steps is not None else steps


def make_optimizer(model: JPQModel, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW over what the settings say is trained; everything else is frozen here."""
    model.centroids.requires_grad_(config.train_centroids)
    frozen = word_embeddings(model.encoder) if config.train_encoder == "no-word-embeddings" else set()
    decayed, undecayed = [], []
    for name, parameter in model.encoder.named_parameters():
        parameter.requires_grad_(config.train_encoder != "none" and parameter not in frozen)
        if parameter.requires_grad:
            (undecayed if name.endswith("bias") or "LayerNorm" in name else decayed).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": config.weight_decay, "lr": config.encoder_lr},
        {"params": undecayed, "weight_decay": 0.0, "lr": config.encoder_lr},
    ]
    if config.train_centroids:
        groups.append({"params": [model.centroids], "weight_decay": 0.0, "lr": config.effective_centroid_lr})
    return torch.optim.AdamW([group for group in groups if group["params"]], fused=True)


def word_embeddings(encoder) -> set[torch.nn.Parameter]:
    """The word embedding tables of a SentenceTransformer: most of a small model, and rarely worth training."""
    tables = set()
    for module in encoder.modules():
        table = module.get_input_embeddings() if hasattr(module, "get_input_embeddings") else None
        if isinstance(table, torch.nn.Embedding):
            tables.add(table.weight)
    return tables
