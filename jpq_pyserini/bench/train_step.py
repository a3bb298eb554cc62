"""``python -m jpq_pyserini.bench.train_step``: our training step against the published way of doing it, as a ratio.

Both steps start from the same encoder, batch, codes and centroids, in one process, in turns. The published way (the
paper's section 3.2, and the code its authors released) rebuilds the quantized embeddings of each query's candidates,
loops over the queries of a batch, and updates every parameter of the encoder.
"""

import argparse
import copy
import json
import os
import statistics
import time
from collections.abc import Callable, Sequence

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch

from jpq_pyserini.cli import command_line, run_main
from jpq_pyserini.codec.quantizer import ProductQuantizer
from jpq_pyserini.data.topics import read_topics
from jpq_pyserini.encoders.text_encoder import load_text_encoder
from jpq_pyserini.index import library_versions
from jpq_pyserini.storage import new_file
from jpq_pyserini.train.config import TrainConfig
from jpq_pyserini.train.inputs import uses_bf16
from jpq_pyserini.train.model import JPQModel, embed_with_gradients
from jpq_pyserini.train.negatives import FaissCodeSearch, take_negatives
from jpq_pyserini.train.objective import Batch, objective
from jpq_pyserini.train.optimizer import make_optimizer

PHASES = ("encode", "search", "loss", "update")


class Step:
    """What both ways share: a model, a search and a clock; subclasses fill in the phases that differ."""

    config: TrainConfig

    def __init__(self, encoder, codec: ProductQuantizer, codes: np.ndarray, bf16: bool):
        self.model = JPQModel(copy.deepcopy(encoder), codec, codes, np.empty((0, codec.dimension)), bf16).train()
        self.search = FaissCodeSearch(self.model.centroids, self.model.codes)
        self.optimizer = self.make_optimizer()

    def __call__(self, texts: list[str], relevant: list[list[int]]) -> dict[str, float]:
        """Do one step; returns seconds by phase."""
        seconds = {}
        queries = _timed(seconds, "encode", lambda: self.embed(texts))
        hits = self.config.negatives + max(map(len, relevant))
        rotated = self.model.rotate(queries)
        found = _timed(seconds, "search", lambda: self.search.search(rotated, hits))
        _timed(seconds, "loss", lambda: self.loss(rotated, found, relevant).backward())
        _timed(seconds, "update", self.update)
        return seconds

    def update(self) -> None:
        """Clip and update; the search reads the new centroids by itself."""
        torch.nn.utils.clip_grad_norm_(self.model.encoder.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()


class OurStep(Step):
    """As :class:`jpq_pyserini.train.trainer.Trainer` does it."""

    config = TrainConfig()

    def make_optimizer(self):
        return make_optimizer(self.model, self.config)

    def embed(self, texts):
        with torch.autocast("cpu", torch.bfloat16, enabled=self.model.bf16):
            return embed_with_gradients(self.model.encoder, texts)

    def loss(self, rotated, found, relevant):
        batch = Batch.of(take_negatives(found, relevant, self.config.negatives))
        return objective(self.config, batch, self.model.scores(rotated, batch.rows), None)


class PublishedStep(Step):
    """Embeddings rebuilt (equation 14), one query after the other, all parameters, float32."""

    config = TrainConfig(train_encoder="all")

    def make_optimizer(self):
        groups = [{"params": self.model.encoder.parameters()}, {"params": [self.model.centroids]}]
        return torch.optim.AdamW(groups, lr=self.config.encoder_lr)

    def embed(self, texts):
        return embed_with_gradients(self.model.encoder, texts)

    def loss(self, rotated, found, relevant):
        total = 0.0
        for query, rows, positives in zip(rotated, found, relevant, strict=True):
            missing = [row for row in positives if row not in rows]
            rows = torch.cat([rows, torch.tensor(missing, dtype=torch.int64)])
            labels = torch.isin(rows, torch.tensor(positives))
            sub_vectors = torch.arange(len(self.model.centroids)).expand(len(rows), -1)
            documents = self.model.centroids[sub_vectors, self.model.codes[rows].long()].reshape(len(rows), -1)
            scores = (query * documents).sum(-1)
            gains = 1.0 / (1 + torch.arange(len(rows)))
            weights = (gains[labels].unsqueeze(1) - gains[~labels].unsqueeze(0)).abs()
            differences = scores[~labels].unsqueeze(0) - scores[labels].unsqueeze(1)
            total = total + (torch.log(1 + torch.exp(differences)) * weights).mean()
        return total / len(rotated)


def measure(
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
    bf16 = uses_bf16("auto", torch.device("cpu"))
    ways = {"ours": OurStep(encoder, codec, codes, bf16), "published": PublishedStep(encoder, codec, codes, False)}
    times: dict[str, list[dict]] = {name: [] for name in ways}
    for step in range(steps + 1):
        texts = [queries[i] for i in rng.choice(len(queries), batch_size)]
        relevant = [[int(row)] for row in rng.integers(0, documents, batch_size)]
        for name, way in ways.items():
            seconds = way(texts, relevant)
            if step:  # the first warms up
                times[name].append(seconds)
    return {
        name: {phase: statistics.median(each[phase] for each in taken) for phase in PHASES}
        for name, taken in times.items()
    }


def main() -> None:
    """Measure at every size and print the ratios."""
    parser = argparse.ArgumentParser(prog="python -m jpq_pyserini.bench.train_step", description=__doc__)
    parser.add_argument("--encoder", required=True, metavar="NAME", help="sentence-transformers model, name or folder")
    parser.add_argument("--topics", required=True, metavar="T", help="queries to make batches of")
    parser.add_argument("--documents", type=int, nargs="+", default=[20_000, 1_000_000], metavar="N")
    parser.add_argument("--m", type=int, default=48)
    parser.add_argument("--steps", type=int, default=10, help="steps timed of each way (default: 10)")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--output", metavar="F", help="also write the figures as JSON")
    args = parser.parse_args()
    import faiss

    torch.set_num_threads(args.threads)
    faiss.omp_set_num_threads(args.threads)
    encoder = load_text_encoder(args.encoder, max_length=32)
    queries = list(read_topics(args.topics).values())
    results = {}
    for documents in args.documents:
        found = measure(encoder, queries, documents, args.m, args.steps, args.batch_size, args.seed)
        results[documents] = found
        print(
            f"N = {documents:,}, M = {args.m}, batch {args.batch_size}, {args.threads} threads, medians of {args.steps}"
        )
        print(f"{'':10}" + "".join(f"{phase:>12}" for phase in (*PHASES, "step")))
        for name, phases in found.items():
            figures = [*phases.values(), sum(phases.values())]
            print(f"{name:10}" + "".join(f"{1000 * seconds:9.1f} ms" for seconds in figures))
        ratios = [found["published"][phase] / found["ours"][phase] for phase in PHASES]
        ratios.append(sum(found["published"].values()) / sum(found["ours"].values()))
        print(f"{'ratio':10}" + "".join(f"{ratio:11.1f}x" for ratio in ratios))
    if args.output:
        with new_file(args.output) as file:
            record = {"command": command_line("jpq_pyserini.bench.train_step"), "versions": library_versions()}
            json.dump({**record, "seconds": results}, file, indent=1)


def _timed(seconds: dict[str, float], phase: str, work: Callable):
    started = time.perf_counter()
    result = work()
    seconds[phase] = time.perf_counter() - started
    return result


if __name__ == "__main__":
    run_main(main)
