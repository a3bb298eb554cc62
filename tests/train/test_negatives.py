"""Searches of training: Faiss and torch find the same, follow the centroids in place, and train the same index."""

import subprocess

import numpy as np
import pytest
import torch

from jpq_pyserini import JPQIndex, TrainConfig
from jpq_pyserini.data.flat import FlatFolder
from jpq_pyserini.data.topics import TrainingQuery
from jpq_pyserini.train import search as searches
from jpq_pyserini.train.model import JPQModel
from jpq_pyserini.train.negatives import make_negatives, split_negatives
from jpq_pyserini.train.search import (
    FaissCodeSearch,
    FaissFlatSearch,
    TorchCodeSearch,
    TorchFlatSearch,
    code_search,
    flat_search,
    index_search,
)

from helpers.codes import random_codec, random_embeddings, write_flat
from helpers.training import ENVIRONMENT, command, run

#: Runs the training command with torch searching on the CPU, as it would on a GPU.
ON_DEVICE = """
from jpq_pyserini.train import __main__, search
search._TORCH_DEVICES = {"cpu"}
__main__.run_main(__main__.main)
"""


def tiled(centroids, codes):
    return TorchCodeSearch(centroids, codes, tile=7)  # tiles of fewer documents than hits


@pytest.mark.parametrize("kind", [FaissCodeSearch, TorchCodeSearch, tiled])
@pytest.mark.parametrize(("nbits", "M"), [(4, 6), (4, 3), (8, 6)])
def test_search_follows_the_centroids_without_rebuilding(kind, nbits, M):
    codec = random_codec(M=M, nbits=nbits)
    codes = codec.encode(random_embeddings(300))
    texts = random_embeddings(70, seed=6)  # more than are scored at once
    centroids = torch.nn.Parameter(torch.from_numpy(codec.centroids.copy()))
    search = kind(centroids, torch.from_numpy(codes))
    for values in (codec.centroids, np.ascontiguousarray(codec.centroids[:, ::-1] * 2)):
        with torch.no_grad():
            centroids.copy_(torch.from_numpy(values))  # as an optimizer does it
        changed = codec.with_centroids(values)
        rotated = torch.from_numpy(changed.rotate(texts)).requires_grad_()
        rows = search.search(rotated, 10)
        scores = changed.scores(texts, codes)
        assert np.allclose(np.take_along_axis(scores, rows.numpy(), 1), -np.sort(-scores)[:, :10], atol=1e-5)
        assert all(len(set(found)) == 10 for found in rows.tolist())
        with torch.autocast("cpu", torch.bfloat16):  # of the caller; scores stay float32
            assert torch.equal(search.search(rotated, 10), rows)
    assert not rows.is_inference()  # rows index what gradients go through


@pytest.mark.parametrize("tile", [None, 7])
def test_equal_scores_are_in_row_order(tile):
    """Of documents with the same codes the lower rows are kept; zero scores tie whatever their sign."""
    centroids = torch.tensor([[[1.0], [-1.0], [0.0], [2.0]]])
    codes = torch.from_numpy(np.random.default_rng(0).integers(0, 4, (200, 1), dtype=np.uint8))
    texts = torch.tensor([[1.0], [-0.5], [0.0]])
    scores = (texts @ centroids[0].T)[:, codes[:, 0].long()].numpy()
    for hits in (5, 60, 200):
        expected = np.argsort(-scores, axis=1, kind="stable")[:, :hits]
        assert np.array_equal(TorchCodeSearch(centroids, codes, tile=tile).search(texts, hits).numpy(), expected)


@pytest.mark.parametrize("kind", [FaissFlatSearch, TorchFlatSearch, lambda flat: TorchFlatSearch(flat, tile=7)])
def test_flat_search_is_brute_force(tmp_path, monkeypatch, kind):
    x, texts = random_embeddings(60), random_embeddings(4, seed=6)
    flat = FlatFolder.open(write_flat(tmp_path / "flat", x))
    expected = np.argsort(-(texts @ x.T), axis=1)[:, :10]
    assert np.array_equal(kind(flat).search(torch.from_numpy(texts), 10), expected)
    monkeypatch.setattr(FlatFolder, "chunk_rows", 7)  # a folder that is read in many parts
    assert len(list(flat.chunks())) == 9
    assert np.array_equal(kind(flat).search(torch.from_numpy(texts), 10), expected)


def test_more_hits_than_documents_are_padded():
    codec = random_codec()
    codes = torch.from_numpy(codec.encode(random_embeddings(4)))
    found = TorchCodeSearch(torch.from_numpy(codec.centroids), codes, tile=3).search(torch.randn(2, 24), 6)
    assert np.array_equal(found.sort(1).values, [[-1, -1, 0, 1, 2, 3]] * 2)
    taken = split_negatives(found, [[0], []], 5)
    assert taken.negative_mask.tolist() == [[True] * 3 + [False] * 2, [True] * 4 + [False]]


def test_the_device_chooses_and_nothing_is_copied(tmp_path, monkeypatch):
    codec = random_codec()
    flat = FlatFolder.open(write_flat(tmp_path / "flat", random_embeddings(30)))
    model = JPQModel(torch.nn.Linear(1, 1), codec, codec.encode(np.array(flat.embeddings)), flat.embeddings)
    assert isinstance(index_search(model, flat), FaissCodeSearch)
    assert isinstance(flat_search(model, flat), FaissFlatSearch)
    monkeypatch.setattr(searches, "_TORCH_DEVICES", {"cpu"})
    current, static = index_search(model, flat), code_search(model, model.centroids.detach().clone())
    assert isinstance(current, TorchCodeSearch)
    assert isinstance(flat_search(model, flat), TorchFlatSearch)
    assert current._codes is static._codes is model.codes
    assert current._centroids is model.centroids
    uncompressed = JPQModel(torch.nn.Linear(1, 1), None, None, flat.embeddings)
    assert isinstance(index_search(uncompressed, flat), TorchFlatSearch)


@pytest.mark.parametrize("devices", [{"cuda"}, {"cpu"}])
def test_where_negatives_come_from(tmp_path, monkeypatch, devices):
    """Each setting finds what brute force finds, before the centroids have changed and after."""
    monkeypatch.setattr(searches, "_TORCH_DEVICES", devices)
    codec = random_codec()
    flat = FlatFolder.open(write_flat(tmp_path / "flat", random_embeddings(30)))
    codes = codec.encode(np.array(flat.embeddings))
    model = JPQModel(torch.nn.Linear(1, 1), codec, codes, flat.embeddings)
    training = [TrainingQuery(str(i), "", [i] * (i % 2)) for i in range(4)]
    search = index_search(model, flat)
    made = {
        source: make_negatives(TrainConfig(negatives_from=source, negatives=5), model, flat, search, training)
        for source in ("quantized", "static", "flat")
    }
    queries, teacher = torch.from_numpy(random_embeddings(3, seed=2)), torch.from_numpy(random_embeddings(3, seed=3))
    changed = codec.with_centroids(np.ascontiguousarray(codec.centroids[:, ::-1]))
    for now in (codec, changed):
        with torch.no_grad():
            model.centroids.copy_(torch.from_numpy(now.centroids))
        expected = {
            "quantized": now.scores(queries.numpy(), codes),
            "static": codec.scores(teacher.numpy(), codes),
            "flat": queries.numpy() @ np.array(flat.embeddings).T,
        }
        for source, scores in expected.items():
            found = made[source].find(0, [2, 1, 0], queries, teacher)
            assert np.array_equal(found, np.argsort(-scores, axis=1)[:, :6]), source  # one more: it may be relevant


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings", [{}, {"negatives_from": "static"}, {"scoring": "flat", "negatives_from": "flat", "compress": False}]
)
def test_torch_trains_what_faiss_trains(tiny, queries, tmp_path, monkeypatch, settings):
    settings = {"epochs": 3, "encoder_lr": 1e-4, **settings}  # small steps: rounding errors are not to grow
    with_faiss = run(tiny, queries, tmp_path / "faiss", **settings)
    monkeypatch.setattr(searches, "_TORCH_DEVICES", {"cpu"})
    for name in ("FaissCodeSearch", "FaissFlatSearch"):
        monkeypatch.setattr(searches, name, None)  # not to be used now
    with_torch = run(tiny, queries, tmp_path / "torch", **settings)
    assert [point["step"] for point in with_torch.curve.points] == [point["step"] for point in with_faiss.curve.points]
    for name in ("rr@10", "loss", "train_rr"):
        ours, theirs = (
            [point[name] for point in report.curve.points[1:]] for report in (with_torch, with_faiss)
        )  # at step 0 there is no loss
        assert np.allclose(ours, theirs, atol=1e-4), name
    if settings.get("compress", True):
        ours, theirs = (JPQIndex.open(tmp_path / name).codec for name in ("torch", "faiss"))
        assert np.allclose(ours.centroids, theirs.centroids, atol=1e-5)
        assert np.abs(ours.centroids - ours.assignment_centroids).max() > 1e-3


@pytest.mark.slow
def test_two_processes_search_their_own_queries(tiny, queries, tmp_path, monkeypatch):
    script = tmp_path / "on_device.py"
    script.write_text(ON_DEVICE)
    settings = {"dropout": False, "epochs": 2, "checkpoint_steps": 100}
    launch = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script))
    arguments = command(tiny, queries, tmp_path / "two", module=launch, **settings)
    done = subprocess.run(arguments, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[:3000]
    monkeypatch.setattr(searches, "_TORCH_DEVICES", {"cpu"})
    run(tiny, queries, tmp_path / "one", eval_steps=24, device="cpu", **settings)
    one, two = (JPQIndex.open(tmp_path / name) for name in ("one", "two"))
    assert two.record.training["processes"] == 2
    assert np.allclose(one.codec.centroids, two.codec.centroids, atol=2e-5)
