"""A training step as it was published, and ours beside it, phase by phase; ``jpq train-step`` is the command."""

import copy
import statistics
from collections.abc import Sequence

import numpy as np
import torch

from jpq_pyserini.codec.quantizer import ProductQuantizer
from jpq_pyserini.data.topics import TrainingQuery
from jpq_pyserini.encoders.text_encoder import embed_with_gradients
from jpq_pyserini.train.config import TrainConfig
from jpq_pyserini.train.inputs import uses_bf16
from jpq_pyserini.train.model import JPQModel
from jpq_pyserini.train.negatives import SearchedNegatives
from jpq_pyserini.train.search import FaissCodeSearch
from jpq_pyserini.train.step import TrainingStep
from jpq_pyserini.train.stopwatch import Stopwatch

PHASES = ("encode", "search", "loss", "update")


class PublishedStep:
    """Embeddings rebuilt (equation 14), one query after the other, all parameters, float32.

    Takes and has what :class:`~jpq_pyserini.train.step.TrainingStep` takes and has.
    """

    def __init__(self, model: JPQModel, training: Sequence[TrainingQuery], config: TrainConfig):
        self.model, self.training, self.config, self.watch = model, training, config, Stopwatch()
        self.search = FaissCodeSearch(model.centroids, model.codes)
        groups = [{"params": model.encoder.parameters()}, {"params": [model.centroids]}]
        self.optimizer = torch.optim.AdamW(groups, lr=config.encoder_lr)

    def __call__(self, step: int, positions: Sequence[int]) -> None:
        relevant = [self.training[position].rows for position in positions]
        with self.watch.phase("encode"):
            queries = embed_with_gradients(self.model.encoder, [self.training[position].text for position in positions])
        rotated = self.model.rotate(queries)
        with self.watch.phase("search"):
            found = self.search.search(rotated, self.config.negatives + max(map(len, relevant)))
        with self.watch.phase("loss"):
            self.loss(rotated, found, relevant).backward()
        with self.watch.phase("update"):
            torch.nn.utils.clip_grad_norm_(self.model.encoder.parameters(), self.config.max_grad_norm)
            self.optimizer.step()
            self.optimizer.zero_grad()

    def loss(self, rotated, found, relevant):
        total = 0.0
        for query, rows, positives in zip(rotated, found, relevant, strict=True):
            missing = [row for row in positives if row not in rows]
            rows = torch.cat([rows, rows.new_tensor(missing)])
            labels = torch.isin(rows, rows.new_tensor(positives))
            sub_vectors = torch.arange(len(self.model.centroids), device=rows.device).expand(len(rows), -1)
            documents = self.model.centroids[sub_vectors, self.model.codes[rows].long()].reshape(len(rows), -1)
            scores = (query * documents).sum(-1)
            gains = 1.0 / (1 + torch.arange(len(rows), device=rows.device))
            weights = (gains[labels].unsqueeze(1) - gains[~labels].unsqueeze(0)).abs()
            differences = scores[~labels].unsqueeze(0) - scores[labels].unsqueeze(1)
            total = total + (torch.log(1 + torch.exp(differences)) * weights).mean()
        return total / len(rotated)


def compare_steps(
    encoder, queries: Sequence[str], documents: int, m: int, steps: int, batch_size: int, seed: int
) -> dict[str, dict[str, float]]:
    """Take ``steps`` steps of both ways in turns; returns median seconds by phase for ``"ours"`` and ``"published"``.

    Codes and centroids are random: they cost the same as real ones.
    """
    rng = np.random.default_rng(seed)
    D = encoder.get_embedding_dimension()
    centroids = (rng.standard_normal((m, 256, D // m)) * 0.05).astype(np.float32)
    codec = ProductQuantizer(centroids, centroids, np.linalg.qr(rng.standard_normal((D, D)))[0])
    codes = rng.integers(0, 256, (documents, m), dtype=np.uint8)
    training = []
    for _ in range(steps + 1):
        texts = rng.choice(len(queries), batch_size)
        relevant = rng.integers(0, documents, batch_size)
        training += [TrainingQuery("", queries[i], [int(row)]) for i, row in zip(texts, relevant, strict=True)]

    def model(bf16: bool) -> JPQModel:
        return JPQModel(copy.deepcopy(encoder), codec, codes, np.empty((0, D)), bf16).train()

    config, ours = TrainConfig(), model(uses_bf16("auto", torch.device("cpu")))
    search = FaissCodeSearch(ours.centroids, ours.codes, ours.rotation)
    negatives = SearchedNegatives(search, training, documents, config.negatives)
    ways: dict[str, TrainingStep | PublishedStep] = {
        "ours": TrainingStep(ours, negatives, training, config, score_scale=1.0, total_steps=steps + 1),
        "published": PublishedStep(model(bf16=False), training, config),
    }
    times: dict[str, list[dict]] = {name: [] for name in ways}
    for step in range(steps + 1):
        for name, way in ways.items():
            way.watch = Stopwatch()
            way(step, range(step * batch_size, (step + 1) * batch_size))
            if step:  # the first warms up
                times[name].append(way.watch.seconds)
    return {
        name: {phase: statistics.median(each[phase] for each in taken) for phase in PHASES}
        for name, taken in times.items()
    }
