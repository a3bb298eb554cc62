"""What a GPU does equals what the CPU does. Run with ``pytest -m gpu`` on a machine that has one."""

import importlib.util
import signal
import subprocess

import faiss
import numpy as np
import pytest
import torch

from jpq_pyserini import JPQIndex
from jpq_pyserini.index import layouts
from jpq_pyserini.index.exact import ExactIndex
from jpq_pyserini.index.rescoring import RescoringIndex
from jpq_pyserini.index.scan_choice import WAYS, fastest_scan
from jpq_pyserini.index.torch_search import TorchSearch, best_by_codes, best_in_tiles, byte_codebook, decoded_tiles
from jpq_pyserini.index.vectors import DTYPES, StoredVectors, encode_rows, write_vectors

from helpers.codes import random_codec, random_embeddings
from helpers.processes import read_run, run_python
from helpers.training import ENVIRONMENT, command, encoder_weights, run, start, wait_for_step

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU that PyTorch can use is here"),
]
GPU = "cuda:0"


@pytest.mark.parametrize("scan", ["tiles", "multiply", "look_up"])
@pytest.mark.parametrize(("nbits", "M"), [(8, 96), (8, 24), (8, 64), (4, 96), (4, 17)])
def test_hits_are_those_of_the_cpu(scan, nbits, M):
    D = {17: 68, 64: 768}.get(M, 384)
    codec = random_codec(D=D, M=M, nbits=nbits)
    codes = codec.encode(random_embeddings(5000, D=D))
    queries = random_embeddings(33, D=D, seed=3)
    index = layouts.build(codec, codes)
    expected = ExactIndex(index).search(queries, 50)
    proposer = TorchSearch(codec, codes, GPU, scan=scan)  # in float16: it proposes, the codes decide
    found = ExactIndex(index, margin=200, proposer=proposer).search(queries, 50)
    assert np.array_equal(found[1], expected[1])
    assert np.array_equal(found[0], expected[0])


@pytest.mark.parametrize("kernel", ["multiply", "look_up"])
@pytest.mark.parametrize("N", [5, 1000, 300_000])
def test_kernels_equal_the_tiles(kernel, N):
    codec = random_codec(D=96, M=12)
    codes = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (N, 12), dtype=np.uint8)).to(GPU)
    book = torch.from_numpy(byte_codebook(codec)).mul(4).round().to(GPU).contiguous()  # whole: sums are exact
    queries = torch.from_numpy(random_embeddings(5, D=96, seed=3)).mul(4).round().to(GPU)
    expected = best_in_tiles(queries, decoded_tiles(codes, book, 96), 100)
    scores, rows = best_by_codes(codes, book, queries, 100, scan=kernel)
    assert torch.equal(rows, expected[1])
    assert torch.equal(scores, expected[0])


def test_the_way_that_is_chosen_gives_the_hits_of_the_tiles():
    codec = random_codec(D=96, M=12)
    codes = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (50_000, 12), dtype=np.uint8)).to(GPU)
    book = torch.from_numpy(byte_codebook(codec)).mul(4).round().to(GPU).contiguous()
    for batch in (1, 32, 512):
        queries = torch.from_numpy(random_embeddings(batch, D=96, seed=3)).mul(4).round().to(GPU)
        assert fastest_scan(codes, book, queries, 100) in WAYS
        expected = best_in_tiles(queries, decoded_tiles(codes, book, 96), 100)
        assert torch.equal(best_by_codes(codes, book, queries, 100)[1], expected[1])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scan", [*WAYS, None])
def test_two_stage_search_gives_the_cpus_hits(scan, dtype, tmp_path):
    codec, embeddings = random_codec(D=96, M=24), random_embeddings(5000, D=96)
    codes, queries = codec.encode(embeddings), random_embeddings(33, D=96, seed=3)
    write_vectors(tmp_path / "vectors", dtype, 5000, 96, [encode_rows(embeddings, dtype)])
    stored, index = StoredVectors.open(tmp_path / "vectors"), layouts.build(codec, codes)
    expected = RescoringIndex(index, stored, candidates=600).search(queries, 50)

    def found(precision):
        proposer = TorchSearch(codec, codes, GPU, dtype=precision, scan=scan)
        return RescoringIndex(index, stored, candidates=600, proposer=proposer).search(queries, 50)

    assert np.array_equal(found(torch.float32)[1], expected[1])
    assert np.array_equal(found(torch.float32)[0], expected[0])
    shared = [np.isin(*rows).mean() for rows in zip(found(torch.float16)[1], expected[1], strict=True)]
    assert np.mean(shared) > 0.99  # other candidates may come last, which the vectors then rank


@pytest.mark.parametrize("layout", ["fastscan", "pq", "ivf", "ivf-fastscan"])
def test_every_layout_gives_the_cpus_run_through_pyserini(layout, tiny, tmp_path):
    pytest.importorskip("pyserini", reason="Pyserini is not installed")
    if layout.startswith("ivf") and not getattr(faiss, "get_num_gpus", int)():
        pytest.skip("this Faiss has no GPU support, which the ivf layouts need")
    index = JPQIndex.open(tiny / "index").convert(layout).save(tmp_path / layout)
    arguments = ["-m", "pyserini.search.faiss", "--encoder", "jpq", "--index", index, "--hits", "20"]
    arguments += ["--topics", tiny / "topics.tsv"]
    run_python(*arguments, "--output", tmp_path / "cpu.txt")
    done = run_python(*arguments, "--output", tmp_path / "gpu.txt", "--faiss-device", GPU, check=False)
    if layout == "ivf-fastscan":
        assert "the layout ivf-fastscan runs on the CPU" in done.stderr
        return
    assert done.returncode == 0, done.stderr[-2000:]
    assert read_run(tmp_path / "gpu.txt") == read_run(tmp_path / "cpu.txt")


def test_twenty_steps_give_the_cpus_centroids(tiny, queries, tmp_path):
    for device in ("cpu", GPU):
        run(tiny, queries, tmp_path / device, dev=False, dropout=False, max_steps=20, device=device)
    cpu, gpu = (JPQIndex.open(tmp_path / device).codec for device in ("cpu", GPU))
    assert np.abs(cpu.centroids - cpu.assignment_centroids).max() > 1e-3  # they were trained
    assert np.abs(cpu.centroids - gpu.centroids).max() < 1e-4


def test_bf16_trains(tiny, queries, tmp_path):
    report = run(tiny, queries, tmp_path / "jpq", device=GPU, precision="bf16")
    assert report.after > report.before


def test_a_killed_run_goes_on_from_its_checkpoint(tiny, queries, tmp_path):
    settings = {"device": GPU, "dropout": False}
    subprocess.run(command(tiny, queries, tmp_path / "whole", **settings), env=ENVIRONMENT, check=True)
    killed = tmp_path / "killed"
    process = start(command(tiny, queries, killed, **settings))
    wait_for_step(tmp_path / "killed.checkpoint", 10, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    subprocess.run(command(tiny, queries, killed, "--resume", **settings), env=ENVIRONMENT, check=True)
    whole, resumed = encoder_weights(tmp_path / "whole"), encoder_weights(killed)
    assert all(
        np.allclose(whole[name], resumed[name], atol=1e-3) for name in whole
    )  # sums on a GPU have no fixed order


def test_negatives_of_a_training_come_from_the_kernel():
    assert importlib.util.find_spec("triton") is not None
    from jpq_pyserini.train.search import TorchCodeSearch

    codec = random_codec(D=96, M=12)
    codes = codec.encode(random_embeddings(4000, D=96))
    queries = torch.from_numpy(random_embeddings(32, D=96, seed=5)).to(GPU)
    held = torch.from_numpy(codes).to(GPU)
    search = TorchCodeSearch(torch.from_numpy(codec.centroids).to(GPU), held)
    found = search.search(queries, 200).cpu().numpy()
    documents = codec.centroids[np.arange(12), codes].reshape(len(codes), -1)
    exact = np.argsort(-(queries.cpu().numpy() @ documents.T), axis=1)
    shared = [len(set(a) & set(b[:200])) / 200 for a, b in zip(found.tolist(), exact.tolist(), strict=True)]
    assert min(shared) > 0.98
