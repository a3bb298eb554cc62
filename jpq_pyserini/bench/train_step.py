"""``python -m jpq_pyserini.bench.train_step``: our training step against the published way of doing it, as a ratio.

Both steps start from the same encoder, batch, codes and centroids, in one process, in turns. The published way (the
paper's section 3.2, and the code its authors released) rebuilds the quantized embeddings of each query's candidates,
loops over the queries of a batch, and updates every parameter of the encoder.
"""

import argparse
import copy
import os
import statistics
from collections.abc import Sequence

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch

from jpq_pyserini import cli, tables
from jpq_pyserini.bench.records import write_record
from jpq_pyserini.codec.quantizer import ProductQuantizer
from jpq_pyserini.data.topics import TrainingQuery, read_topics
from jpq_pyserini.encoders.text_encoder import embed_with_gradients, load_text_encoder
from jpq_pyserini.errors import JPQError
from jpq_pyserini.timing import use_threads
from jpq_pyserini.train.config import TrainConfig
from jpq_pyserini.train.inputs import uses_bf16
from jpq_pyserini.train.model import JPQModel
from jpq_pyserini.train.negatives import SearchedNegatives
from jpq_pyserini.train.search import FaissCodeSearch
from jpq_pyserini.train.step import TrainingStep
from jpq_pyserini.train.stopwatch import Stopwatch

_MODULE = "jpq_pyserini.bench.train_step"
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


def main(argv: Sequence[str] | None = None) -> None:
    """Measure at every size and print the ratios."""
    args = _parser().parse_args(argv)
    encoder = load_text_encoder(args.encoder, max_length=32)
    if encoder.get_embedding_dimension() % args.m:
        raise JPQError(f"--m {args.m} does not divide the dimension {encoder.get_embedding_dimension()} of the encoder")
    queries = list(read_topics(args.topics).values())
    results = {}
    for documents in args.documents:
        with use_threads(args.threads):
            found = compare_steps(encoder, queries, documents, args.m, args.steps, args.batch_size, args.seed)
        results[documents] = found
        shape = f"N = {documents:,}, M = {args.m}, batch {args.batch_size}, {args.threads} threads"
        cli.say(f"{shape}, medians of {args.steps} steps\n{as_table(found)}")
    if args.output:
        write_record(args.output, _MODULE, argv, seconds=results)


def as_table(found: dict[str, dict[str, float]]) -> str:
    """Return what :func:`compare_steps` found, and the ratio of both ways, as text."""
    seconds = {way: [*phases.values(), sum(phases.values())] for way, phases in found.items()}
    rows: list[tuple[str, ...]] = [("", *PHASES, "step")]
    rows += [(way, *(f"{1000 * each:.1f} ms" for each in taken)) for way, taken in seconds.items()]
    ratios = zip(seconds["published"], seconds["ours"], strict=True)
    return tables.as_text([*rows, ("ratio", *(f"{theirs / ours:.1f}x" for theirs, ours in ratios))])


def _parser() -> argparse.ArgumentParser:
    parser = cli.new_parser(
        _MODULE,
        "Time a training step, phase by phase, beside the way it was published: embeddings rebuilt from their codes, "
        "query by query, all parameters of the encoder trained. Codes and centroids are random.",
    )
    add = parser.add_argument
    add("--encoder", required=True, metavar="NAME", help="sentence-transformers model, name or folder")
    cli.add_topics(parser, "queries that batches are drawn from")
    sizes = "sizes of the collection"
    add("--documents", type=cli.positive_int, nargs="+", default=[20_000, 1_000_000], metavar="N", help=sizes)
    add("--m", type=cli.positive_int, default=48, metavar="M", help="sub-vectors, which is bytes per document")
    add("--steps", type=cli.positive_int, default=10, metavar="N", help="steps timed of each way")
    cli.add_batch_size(parser, 32, "queries in a batch")
    cli.add_threads(parser)
    cli.add_seed(parser)
    cli.add_output(parser, "JSON file for all figures", required=False)
    return parser


if __name__ == "__main__":
    cli.run_main(main)
