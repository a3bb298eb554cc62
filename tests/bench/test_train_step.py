"""Our training step and the published one learn the same; the benchmark times both."""

import copy
import json

import numpy as np
import pytest
import torch

from jpq_pyserini.bench.published_step import PHASES, PublishedStep
from jpq_pyserini.codec.quantizer import ProductQuantizer
from jpq_pyserini.data.topics import TrainingQuery
from jpq_pyserini.encoders.text_encoder import load_text_encoder
from jpq_pyserini.train.config import TrainConfig
from jpq_pyserini.train.model import JPQModel
from jpq_pyserini.train.negatives import SearchedNegatives
from jpq_pyserini.train.search import FaissCodeSearch
from jpq_pyserini.train.step import TrainingStep

from helpers.processes import run_module


def test_both_steps_have_the_same_gradients_of_the_centroids(tiny):
    """With all documents as candidates the published loss is ours, up to how pairs are averaged."""
    encoder = load_text_encoder(str(tiny / "encoder"))
    rng = np.random.default_rng(3)
    centroids = rng.standard_normal((4, 256, 8)).astype(np.float32)
    codec = ProductQuantizer(centroids, centroids, np.linalg.qr(rng.standard_normal((32, 32)))[0])
    codes = rng.integers(0, 256, (60, 4), dtype=np.uint8)
    training = [TrainingQuery("1", "ba ce di", [3]), TrainingQuery("2", "foba", [9])]
    config = TrainConfig(negatives=59, lambda_cut=1000, dropout=False, train_encoder="all")

    def model():
        return JPQModel(copy.deepcopy(encoder), codec, codes, np.empty((0, 32)), False)

    ours, theirs = model(), model()
    search = FaissCodeSearch(ours.centroids, ours.codes, ours.rotation)
    step = TrainingStep(ours, SearchedNegatives(search, training, 60, 59), training, config, 1.0, 1)
    published = PublishedStep(theirs.eval(), training, config)
    gradients = []
    for way, its_model in ((step, ours), (published, theirs)):
        way.optimizer.step = lambda closure=None, its_model=its_model: gradients.append(
            its_model.centroids.grad.clone()
        )
        way(0, [0, 1])
    cosine = torch.nn.functional.cosine_similarity(*(each.flatten() for each in gradients), dim=0)
    assert cosine > 0.99


@pytest.mark.slow
def test_the_command(tiny, tmp_path):
    done = run_module(
        "jpq_pyserini.bench.train_step", "--encoder", tiny / "encoder", "--topics", tiny / "topics.tsv",
        "--documents", "300", "--m", "4", "--steps", "2", "--batch-size", "4", "--output", tmp_path / "steps.json",
    )  # fmt: skip
    seconds = json.loads((tmp_path / "steps.json").read_text())["seconds"]["300"]
    assert list(seconds) == ["ours", "published"]
    assert all(seconds[way][phase] > 0 for way in seconds for phase in PHASES)
    assert [line.split()[0] for line in done.stdout.splitlines()[2:]] == ["ours", "published", "ratio"]
