"""Training steps a second by phase, against the published way, and the memory they take."""

import copy
from collections.abc import Iterator

import numpy as np
import torch

from jpq_pyserini.bench.gpu.clock import Clock, OutOfTimeError
from jpq_pyserini.bench.gpu.models import SIZES, random_encoder, random_texts
from jpq_pyserini.bench.gpu.search import reason
from jpq_pyserini.bench.published_step import PHASES, PublishedStep
from jpq_pyserini.codec.quantizer import ProductQuantizer
from jpq_pyserini.data.topics import TrainingQuery
from jpq_pyserini.train.config import TrainConfig
from jpq_pyserini.train.model import JPQModel
from jpq_pyserini.train.negatives import SearchedNegatives
from jpq_pyserini.train.search import FaissCodeSearch, TorchCodeSearch
from jpq_pyserini.train.step import TrainingStep
from jpq_pyserini.train.stopwatch import Stopwatch

BATCH = 32


def points(clock: Clock, device: str, small: bool) -> Iterator[dict]:
    """Yield seconds a step by phase for each size of encoder and collection, ours and published."""
    sizes = [("tiny", 2_000, 8)] if small else [
        ("MiniLM", 1_000_000, 96), ("BERT-base", 1_000_000, 96),
        ("MiniLM", 8_841_823, 96), ("BERT-base", 8_841_823, 96),
    ]  # fmt: skip
    for size, documents, m in sizes:
        for way in ("ours", "published"):
            point = {
                "what": "training",
                "way": way,
                "encoder": size,
                "documents": documents,
                "bytes": m,
                "batch": BATCH,
            }
            try:
                yield {**point, **_steps(clock, device, way, size, documents, m)}
            except (RuntimeError, OutOfTimeError) as error:
                yield {**point, "failed": reason(error)}


def _steps(clock: Clock, device: str, way: str, size: str, documents: int, m: int, steps: int = 8) -> dict:
    rng = np.random.default_rng(0)
    D = SIZES[size][0]
    centroids = (rng.standard_normal((m, 256, D // m)) * 0.05).astype(np.float32)
    codec = ProductQuantizer(centroids, centroids, np.linalg.qr(rng.standard_normal((D, D)))[0].astype(np.float32))
    codes = rng.integers(0, 256, (documents, m), dtype=np.uint8)
    texts = random_texts((steps + 2) * BATCH, 8, seed=1)
    training = [TrainingQuery("", text, [int(rng.integers(documents))]) for text in texts]
    gpu = device.startswith("cuda")
    if gpu:
        torch.cuda.reset_peak_memory_stats()
    encoder = random_encoder(size, device)
    model = JPQModel(copy.deepcopy(encoder), codec, codes, np.empty((0, D)), bf16=gpu and way == "ours").to(device)
    config = TrainConfig(m=m)
    step: TrainingStep | PublishedStep
    if way == "ours":
        search = (TorchCodeSearch if gpu else FaissCodeSearch)(model.centroids, model.codes, model.rotation)
        negatives = SearchedNegatives(search, training, documents, config.negatives)
        step = TrainingStep(model, negatives, training, config, score_scale=1.0, total_steps=len(texts) // BATCH)
    else:
        step = PublishedStep(model, training, config)
    taken: list[dict] = []
    for number in range(steps + 2):
        if not taken:
            clock.left()
        elif clock.is_over():
            break
        step.watch = Stopwatch()
        step.watch.device = model.device
        step(number, range(number * BATCH, (number + 1) * BATCH))
        if number >= 2:  # the first compile and warm up
            taken.append(dict(step.watch.seconds))
    seconds = {phase: float(np.median([each[phase] for each in taken])) for phase in PHASES}
    memory = {"peak_gpu_bytes": torch.cuda.max_memory_allocated()} if gpu else {}
    searched = "torch on the GPU" if gpu and way == "ours" else "Faiss on the CPU"
    figures = {"seconds": seconds, "steps_a_second": 1 / sum(seconds.values()), "steps": len(taken)}
    return {"negatives_from": searched, **figures, **memory}
