"""The course of a training: batches, evaluations, checkpoints, early stopping. What a step does is in :mod:`.step`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor
from tqdm import tqdm

from jpq_pyserini.data.topics import TrainingQuery
from jpq_pyserini.encoders.text_encoder import embed_queries
from jpq_pyserini.errors import JPQError, reason_of
from jpq_pyserini.train.checkpoint import Checkpoint, CheckpointDirectory, StopRequests, restore, tensors_of
from jpq_pyserini.train.config import TrainConfig
from jpq_pyserini.train.optimizer import check_weights, trained_parameters
from jpq_pyserini.train.search import Search
from jpq_pyserini.train.step import TrainingStep

CUTOFF = 10  # of the reciprocal rank on dev queries
_EVALUATIONS = 10  # in a run whose settings say nothing of them, after the one at its start


@dataclass
class Curve:
    """What a run went through.

    Attributes:
        points: for each evaluation ``step``, ``rr@10`` on the dev queries, and since the last one: ``loss`` and
            ``train_rr``, the mean reciprocal rank of the first relevant document among a query's own candidates, which
            says how hard the negatives are. With ``--rescore`` N also ``r@N`` on the dev queries: the share of their
            relevant documents that the codes propose. At step 0 also ``uncompressed rr@10``, of the embeddings.
        best_step: the step whose weights were kept.
    """

    points: list[dict] = field(default_factory=list)
    best_step: int = 0

    def best(self) -> float | None:
        """The highest dev score so far; None when none was taken."""
        return max((point["rr@10"] for point in self.points if point["rr@10"] is not None), default=None)


class Trainer:
    """Run the steps of a training; the best weights on the dev queries are in the model at the end.

    Args:
        train_on: the step.
        search: of the index that is trained, for the dev queries.
        dev: the dev queries; without any the last weights are kept.
        accelerator: processes and trackers.
        checkpoints: where the run is kept; None keeps nothing.
        progress: show a bar and the scores.
        uncompressed: search of the embeddings, for the score at the start that the codes' is to be compared with.
    """

    def __init__(
        self,
        train_on: TrainingStep,
        search: Search,
        dev: Sequence[TrainingQuery],
        accelerator: Accelerator,
        checkpoints: CheckpointDirectory | None = None,
        progress: bool = True,
        uncompressed: Search | None = None,
    ):
        self.train_on, self.search, self.dev = train_on, search, dev
        self.model, self.config, self.training = train_on.model, train_on.config, train_on.training
        self.watch, self.total_steps = train_on.watch, train_on.total_steps
        self.accelerator, self.checkpoints = accelerator, checkpoints
        self.uncompressed = uncompressed
        self.progress = progress and accelerator.is_main_process
        self.watch.device = self.model.device
        self.curve = Curve()
        self.step = 0
        self._best: dict[str, Tensor] = {}
        self._since: dict[str, list[float]] = {"loss": [], "train_rr": []}

    def run(self) -> Curve:
        """Train for all steps, from the checkpoint if there is one, and return the curve.

        Raises:
            JPQError: loss, gradients or weights are not finite.
            KeyboardInterrupt: after Ctrl-C or SIGTERM, with a checkpoint written and a line that says how to go on.
        """
        torch.manual_seed(self.config.seed)
        if not self._restore():
            self._evaluate()
        hidden = not (self.progress and self.total_steps)
        bar = tqdm(total=self.total_steps, initial=self.step, desc="train", unit="step", disable=hidden, leave=False)
        with StopRequests() as stop, bar:
            for batch in self._batches():
                own = batch[self.accelerator.process_index :: self.accelerator.num_processes].tolist()
                loss, train_rr = self.train_on(self.step, own, share=len(own) / len(batch))
                self._since["loss"].append(loss)
                self._since["train_rr"].append(train_rr)
                self.step += 1
                bar.update()
                bar.set_postfix(loss=f"{np.mean(self._since['loss'][-100:]):.4f}", refresh=False)
                if evaluates_after(self.step, self.total_steps, self.config.eval_steps):
                    self._evaluate()
                    if self._out_of_patience():
                        break
                if stop.requested or self.step % self.config.checkpoint_steps == 0:
                    self._save()
                if stop.requested:
                    raise KeyboardInterrupt(f"after step {self.step:,}; continue with the same command and --resume")
        self._keep_best()
        return self.curve

    def _batches(self) -> Iterator[np.ndarray]:
        """Yield the positions of the queries of each batch from the current step on.

        Their order follows from the seed and the epoch alone.
        """
        size, processes = self.config.batch_size, self.accelerator.num_processes
        per_epoch = -(-len(self.training) // size)
        for step in range(self.step, self.total_steps):
            epoch, position = divmod(step, per_epoch)
            if position == 0 or step == self.step:
                order = np.random.default_rng([self.config.seed, epoch]).permutation(len(self.training))
            chosen = order[position * size : (position + 1) * size]
            if len(chosen) < processes:
                chosen = np.resize(chosen, processes)  # every process needs a query
            yield chosen

    @torch.no_grad()
    def _evaluate(self) -> None:
        check_weights(self.step, self.model, self.config)
        score: float | None = None
        scores: dict[str, Any] = {"rr@10": None}
        if self.dev:
            with self.watch.phase("evaluate"):
                scores = self.dev_scores(self.dev)
            score = scores["rr@10"]
            if self.progress:
                shown = ", ".join(f"{_shown(name)} {value:.4f}" for name, value in scores.items())
                tqdm.write(f"step {self.step:,}: {shown} on {len(self.dev):,} dev queries")
        best = self.curve.best()
        means = {name: float(np.mean(values)) if values else None for name, values in self._since.items()}
        self.curve.points.append({"step": self.step, **scores, **means})
        self.accelerator.log({name: v for name, v in self.curve.points[-1].items() if v is not None}, step=self.step)
        for values in self._since.values():
            values.clear()
        if score is None or best is None or score > best:
            self.curve.best_step = self.step
            self._best = {name: value.detach().clone() for name, value in trained_parameters(self.model).items()}

    def dev_scores(self, queries: Sequence[TrainingQuery]) -> dict[str, float]:
        """Mean RR@10 of the current weights on ``queries``, searched exhaustively, and what :class:`Curve` says."""
        self.model.eval()
        embeddings = embed_queries(self.model.encoder, [query.text for query in queries])
        embeddings = torch.from_numpy(embeddings).to(self.model.device)
        candidates = self.config.rescore
        found = self.search.search(embeddings, min(max(CUTOFF, candidates), len(self.model.flat)))
        relevant = [query.rows for query in queries]
        scores = {"rr@10": reciprocal_rank(found, relevant)}
        if self.uncompressed is not None and not self.curve.points:
            flat = self.uncompressed.search(embeddings, min(CUTOFF, len(self.model.flat)))
            scores["uncompressed rr@10"] = reciprocal_rank(flat, relevant)
        return scores | ({f"r@{candidates}": recall(found[:, :candidates], relevant)} if candidates else {})

    def _out_of_patience(self) -> bool:
        after_best = sum(point["step"] > self.curve.best_step for point in self.curve.points)
        return self.config.patience is not None and bool(self.dev) and after_best >= self.config.patience

    def _keep_best(self) -> None:
        with torch.no_grad():
            for name, value in trained_parameters(self.model).items():
                value.copy_(self._best[name])
        self.model.eval()

    def _save(self) -> None:
        if self.checkpoints is None or not self.accelerator.is_main_process:
            return
        check_weights(self.step, self.model, self.config)
        with self.watch.phase("checkpoint"):
            tensors = tensors_of(self.model, self._best, self.train_on.optimizer)
            facts = {"curve": vars(self.curve), "since": self._since, "time": self.watch.state()}
            self.checkpoints.save(Checkpoint(self.step, tensors, facts))

    def _restore(self) -> bool:
        if self.checkpoints is None or (checkpoint := self.checkpoints.load()) is None:
            return False
        self.step, facts = checkpoint.step, checkpoint.facts
        try:
            self._best = restore(checkpoint.tensors, self.model, self.train_on.optimizer)
            self.curve, self._since = Curve(**facts["curve"]), facts["since"]
            self.watch.resume(facts["time"])
        except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            place = self.checkpoints.path
            raise JPQError(f"{place} is damaged ({reason_of(error)}): remove it and train again") from error
        return True


def _shown(name: str) -> str:
    *words, measure = name.split()
    return " ".join([*words, measure.upper()])


def total_steps(config: TrainConfig, queries: int) -> int:
    """Steps of a run: epochs over the batches, at most ``max_steps``."""
    steps = round(config.epochs * -(-queries // config.batch_size))
    return min(steps, config.max_steps) if config.max_steps is not None else steps


def evaluates_after(step: int, total_steps: int, interval: int | None) -> bool:
    """Tell whether step 1, 2, … is followed by an evaluation: each ``interval``-th and the last.

    Without an interval they are the last of each tenth of the run, or all where there are fewer than ten.
    """
    if interval is not None:
        return step % interval == 0 or step == total_steps
    return step * _EVALUATIONS // total_steps > (step - 1) * _EVALUATIONS // total_steps


def reciprocal_rank(found: Tensor | np.ndarray, relevant: Sequence[Sequence[int]]) -> float:
    """Mean RR@10, from row numbers.

    Args:
        found: (B, ≥ 10) rows, best first.
        relevant: the relevant rows of each query.

    Returns:
        The mean over all B queries of 1/rank of the first relevant document among the first 10; 0 when there is none.
    """
    total = 0.0
    for rows, wanted in zip(found[:, :CUTOFF].tolist(), map(set, relevant), strict=True):
        total += next((1.0 / rank for rank, row in enumerate(rows, 1) if row in wanted), 0.0)
    return total / max(1, len(found))


def recall(found: Tensor, relevant: Sequence[Sequence[int]]) -> float:
    """Mean share of the relevant rows of each query that are among the rows found for it, (B, n)."""
    shares = [
        len(set(rows) & set(wanted)) / len(set(wanted)) for rows, wanted in zip(found.tolist(), relevant, strict=True)
    ]
    return float(np.mean(shares))
