"""The training loop: the paper's algorithm on one screen."""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor
from tqdm import tqdm

from jpq_pyserini.data.topics import TrainingQuery
from jpq_pyserini.encoders.text_encoder import embed_queries
from jpq_pyserini.train.checkpoint import Checkpoint, CheckpointDirectory, optimizer_tensors, restore_optimizer
from jpq_pyserini.train.config import TrainConfig
from jpq_pyserini.train.evaluation import CUTOFF, reciprocal_rank
from jpq_pyserini.train.given_negatives import GivenNegatives
from jpq_pyserini.train.interrupt import StopRequests
from jpq_pyserini.train.model import JPQModel, embed_with_gradients
from jpq_pyserini.train.negatives import Searches, take_negatives
from jpq_pyserini.train.objective import Batch, objective, reconstruction_loss
from jpq_pyserini.train.optimizer import lr_factor, make_optimizer, sum_gradients, trained_parameters
from jpq_pyserini.train.stopwatch import Stopwatch

_EVALUATIONS = 10  # in a run whose settings say nothing of them, after the one at its start


@dataclass
class Curve:
    """What a run went through.

    Attributes:
        points: for each evaluation ``step``, ``rr@10`` on the dev queries, and since the last one: ``loss`` and
            ``train_rr``, the mean reciprocal rank of the first relevant document among a query's own candidates, which
            says how hard the negatives are.
        best_step: the step whose weights were kept.
    """

    points: list[dict] = field(default_factory=list)
    best_step: int = 0

    def best(self) -> float | None:
        """The highest dev score so far; None when none was taken."""
        return max((point["rr@10"] for point in self.points if point["rr@10"] is not None), default=None)


class Trainer:
    """Train encoder and centroids of ``model`` in place; the best weights on the dev queries are in it at the end.

    Args:
        model: a :class:`JPQModel`, on the accelerator's device.
        searches: find negatives and dev results.
        config: the settings.
        score_scale: what scores are multiplied by in the loss.
        training, dev: the queries; without dev queries the last weights are kept.
        accelerator: device, precision and processes.
        checkpoints: where the run is kept; None keeps nothing.
        progress: show a bar and the scores.
        watch: gets the time of each phase: encode, search, loss, update, evaluate, checkpoint.
        given: negatives that are not searched; None when they are.
    """

    def __init__(
        self,
        model: JPQModel,
        searches: Searches,
        config: TrainConfig,
        score_scale: float,
        training: Sequence[TrainingQuery],
        dev: Sequence[TrainingQuery],
        accelerator: Accelerator,
        checkpoints: CheckpointDirectory | None = None,
        progress: bool = True,
        watch: Stopwatch | None = None,
        given: GivenNegatives | None = None,
    ):
        self.model, self.searches, self.config, self.score_scale = model, searches, config, score_scale
        self.given = given
        self.training, self.dev, self.accelerator, self.checkpoints = training, dev, accelerator, checkpoints
        self.progress = progress and accelerator.is_main_process
        self.watch = watch or Stopwatch()
        self.watch.device = model.device
        self.total_steps = total_steps(config, len(training))
        needs_teacher = config.distillation > 0 or config.negatives_from == "static"
        self.teacher = copy.deepcopy(model.encoder).eval() if needs_teacher else None
        self.optimizer = make_optimizer(model, config)
        self.curve = Curve()
        self.step = 0
        self._best: dict[str, Tensor] = {}
        self._since: dict[str, list[float]] = {"loss": [], "train_rr": []}

    def run(self) -> Curve:
        """Train for all steps, from the checkpoint if there is one, and return the curve.

        Raises:
            KeyboardInterrupt: after Ctrl-C or SIGTERM, with a checkpoint written and a line that says how to go on.
        """
        torch.manual_seed(self.config.seed)
        if not self._restore():
            self._evaluate()
        hidden = not (self.progress and self.total_steps)
        bar = tqdm(total=self.total_steps, initial=self.step, desc="train", unit="step", disable=hidden, leave=False)
        with StopRequests() as stop, bar:
            for batch in self._batches():
                self._train_on(batch)
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
                    raise KeyboardInterrupt(f"after step {self.step:,}; go on with the same command and --resume")
        self._keep_best()
        return self.curve

    def _train_on(self, batch: np.ndarray) -> None:
        """Take a step on the training queries at these positions."""
        self.model.train(self.config.dropout)
        own = batch[self.accelerator.process_index :: self.accelerator.num_processes]
        with (
            self.watch.phase("encode"),
            torch.autocast(self.model.device.type, torch.bfloat16, enabled=self.model.bf16),
        ):
            texts = [self.training[position].text for position in own]
            queries = embed_with_gradients(self.model.encoder, texts)
            with torch.no_grad():
                teacher = embed_with_gradients(self.teacher, texts) if self.teacher is not None else None
        with self.watch.phase("search"):
            candidates = self._candidates(queries.detach(), teacher, own)
        with self.watch.phase("loss"):
            loss = self._loss(queries, teacher, candidates) * (len(own) / len(batch))
            loss.backward()
        with self.watch.phase("update"):
            if self.accelerator.num_processes > 1:
                sum_gradients(self.model)
            torch.nn.utils.clip_grad_norm_(self.model.encoder.parameters(), self.config.max_grad_norm)
            for group in self.optimizer.param_groups:
                group.setdefault("initial_lr", group["lr"])
                group["lr"] = group["initial_lr"] * lr_factor(self.config, self.step, self.total_steps)
            self.optimizer.step()
            self.optimizer.zero_grad()
        self._since["loss"].append(loss.item() * len(batch) / len(own))

    def _candidates(self, queries: Tensor, teacher: Tensor | None, positions: np.ndarray) -> Batch:
        """Search the whole corpus for the top irrelevant documents (equation 20), or take those that are given."""
        relevant = [self.training[position].rows for position in positions]
        source, count = self.config.negatives_from, self.config.negatives
        hits = min(count + max(map(len, relevant)), len(self.model.flat))
        if self.given is not None:
            found = self.given.find(self.step, positions).to(queries.device)
        elif source == "flat":
            found = self.searches.flat.search(queries, hits)
        elif source == "static":
            found = self.searches.static.search(self.model.rotate(teacher), hits)
        else:
            found = self.searches.quantized.search(self.model.rotate(queries), hits)
        return Batch.of(take_negatives(found, relevant, count))

    def _loss(self, queries: Tensor, teacher: Tensor | None, batch: Batch) -> Tensor:
        if self.config.scoring == "flat":
            scores = self.model.flat_scores(queries, batch.rows)
        else:
            scores = self.model.scores(self.model.rotate(queries), batch.rows)
        teacher_scores = None
        if self.config.distillation > 0:
            teacher_scores = self.model.flat_scores(teacher, batch.rows) * self.score_scale
        self._since["train_rr"].append(batch.reciprocal_rank(scores.detach()))
        loss = objective(self.config, batch, scores * self.score_scale, teacher_scores)
        if self.config.reconstruction:
            relevant = batch.rows[:, : batch.positive_mask.shape[1]][batch.positive_mask].unique()
            rotated = self.model.rotate(self.model.documents(relevant))
            loss = loss + self.config.reconstruction * reconstruction_loss(rotated, self.model.centroids)
        return loss

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
        score = None
        if self.dev:
            with self.watch.phase("evaluate"):
                score = self.dev_score(self.dev)
            if self.progress:
                tqdm.write(f"step {self.step:,}: RR@10 {score:.4f} on {len(self.dev):,} dev queries")
        best = self.curve.best()
        means = {name: float(np.mean(values)) if values else None for name, values in self._since.items()}
        self.curve.points.append({"step": self.step, "rr@10": score, **means})
        self.accelerator.log({name: v for name, v in self.curve.points[-1].items() if v is not None}, step=self.step)
        for values in self._since.values():
            values.clear()
        if score is None or best is None or score > best:
            self.curve.best_step = self.step
            self._best = {name: value.detach().clone() for name, value in trained_parameters(self.model).items()}

    def dev_score(self, queries: Sequence[TrainingQuery]) -> float:
        """Mean RR@10 of the current weights on ``queries``, searched exhaustively."""
        self.model.eval()
        embeddings = embed_queries(self.model.encoder, [query.text for query in queries])
        embeddings = torch.from_numpy(embeddings).to(self.model.device)
        hits = min(CUTOFF, len(self.model.flat))
        if self.searches.quantized is None:
            found = self.searches.flat.search(embeddings, hits)
        else:
            found = self.searches.quantized.search(self.model.rotate(embeddings), hits)
        return reciprocal_rank(found, [query.rows for query in queries])

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
        with self.watch.phase("checkpoint"):
            self.checkpoints.save(self._checkpoint())

    def _checkpoint(self) -> Checkpoint:
        tensors = {f"model.{name}": value.detach() for name, value in trained_parameters(self.model).items()}
        tensors |= {f"best.{name}": value for name, value in self._best.items()}
        tensors |= optimizer_tensors(self.optimizer) | {"rng.cpu": torch.get_rng_state()}
        if self.model.device.type == "cuda":
            tensors["rng.cuda"] = torch.cuda.get_rng_state(self.model.device)
        facts = {"curve": vars(self.curve), "since": self._since, "time": self.watch.state()}
        return Checkpoint(self.step, tensors, facts)

    def _restore(self) -> bool:
        checkpoint = self.checkpoints.load() if self.checkpoints is not None else None
        if checkpoint is None:
            return False
        self.step, tensors = checkpoint.step, checkpoint.tensors
        with torch.no_grad():
            for name, value in trained_parameters(self.model).items():
                value.copy_(tensors[f"model.{name}"])
        self._best = {name: tensors[f"best.{name}"].to(self.model.device) for name in trained_parameters(self.model)}
        restore_optimizer(self.optimizer, tensors)
        torch.set_rng_state(tensors["rng.cpu"])
        if "rng.cuda" in tensors:
            torch.cuda.set_rng_state(tensors["rng.cuda"], self.model.device)
        self.curve = Curve(**checkpoint.facts["curve"])
        self._since = checkpoint.facts["since"]
        self.watch.resume(checkpoint.facts["time"])
        return True


def total_steps(config: TrainConfig, queries: int) -> int:
    """Steps of a run: epochs over the batches, cut at ``max_steps``."""
    steps = round(config.epochs * -(-queries // config.batch_size))
    return min(steps, config.max_steps) if config.max_steps is not None else steps


def evaluates_after(step: int, total_steps: int, interval: int | None) -> bool:
    """Tell whether step 1, 2, … is followed by an evaluation: each ``interval``-th and the last.

    Without an interval they are the last of each tenth of the run, or all where there are fewer than ten.
    """
    if interval is not None:
        return step % interval == 0 or step == total_steps
    return step * _EVALUATIONS // total_steps > (step - 1) * _EVALUATIONS // total_steps
