"""The scan kernels in Triton's interpreter give the scores of equation 12 and the order of the search in tiles."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from jpq_pyserini.codec.codes import pack_codes
from jpq_pyserini.index.torch_search import best_in_tiles, byte_codebook, decoded_tiles

from helpers.codes import random_codec, random_embeddings

pytest.importorskip("triton", reason="Triton is not installed: pip install triton")


@pytest.fixture(scope="module")
def triton_scan():
    """The module with its kernels interpreted: conftest.py asks for that before Triton is imported."""
    if torch.cuda.is_available():
        pytest.skip("kernels run on the GPU here: see the tests marked gpu")
    from jpq_pyserini.index import triton_scan

    return triton_scan


@pytest.mark.parametrize("kernel", ["multiply", "look_up"])
@pytest.mark.parametrize(("D", "M", "nbits"), [(24, 6, 8), (24, 8, 4), (24, 3, 4), (48, 4, 8)])
@pytest.mark.parametrize("N", [5, 128, 300])
def test_best_are_those_of_the_tiles(triton_scan, kernel, D, M, nbits, N):
    codec = random_codec(D=D, M=M, nbits=nbits)
    codes = codec.encode(random_embeddings(N, D=D))
    packed = torch.from_numpy(pack_codes(codes, nbits))
    book = torch.from_numpy(byte_codebook(codec))
    queries = torch.from_numpy(codec.rotate(random_embeddings(3, D=D, seed=4)))
    scores, rows = triton_scan.best_by_scan(packed, book, queries, 20, kernel, rows_at_once=256)
    expected = best_in_tiles(queries, decoded_tiles(packed, book, D), 20)
    assert torch.equal(rows, expected[1])
    assert torch.allclose(scores, expected[0], atol=1e-4)
    flat = codec.scores(random_embeddings(3, D=D, seed=4), codes)  # equation 12, in numpy
    known = rows.numpy() >= 0
    assert np.allclose(scores.numpy()[known], -np.sort(-flat, axis=1)[:, :20].ravel()[: known.sum()], atol=1e-3)


@pytest.mark.parametrize("kernel", ["multiply", "look_up"])
def test_equal_scores_are_in_row_order(triton_scan, kernel):
    codec = random_codec()
    codes = np.repeat(codec.encode(random_embeddings(2)), 200, axis=0)
    packed, book = torch.from_numpy(codes), torch.from_numpy(byte_codebook(codec)).mul(4).round()
    queries = torch.from_numpy(codec.rotate(random_embeddings(2, seed=9))).mul(4).round()  # whole: sums are exact
    rows = triton_scan.best_by_scan(packed, book, queries, 250, kernel)[1].tolist()
    first, second = list(range(200)), list(range(200, 400))
    for found in rows:
        assert found in (first + second[:50], second + first[:50])


def test_importing_the_search_does_not_import_triton():
    done = "import jpq_pyserini.index.torch_search, sys; sys.exit('triton' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", done], check=False).returncode == 0


def test_torch_search_takes_the_kernel_it_is_told(triton_scan):
    from jpq_pyserini.index.torch_search import TorchSearch

    codec = random_codec()
    codes = codec.encode(random_embeddings(200))
    rotated = codec.rotate(random_embeddings(3, seed=4))
    expected = TorchSearch(codec, codes, "cpu", scan="tiles").search(rotated, 10)
    for scan in ("multiply", "look_up"):
        assert np.array_equal(TorchSearch(codec, codes, "cpu", scan=scan).search(rotated, 10)[1], expected[1])


def test_the_fastest_way_is_taken_and_measured_once(triton_scan, monkeypatch):
    from jpq_pyserini.index import scan_choice

    seconds = {"multiply": 3.0, "look_up": 1.0, "tiles": 2.0}
    asked = []
    monkeypatch.setattr(scan_choice, "_chosen", {})
    monkeypatch.setattr(scan_choice, "_seconds", lambda way, *_: asked.append(way) or seconds[way])
    codes, book = torch.zeros((300, 6), dtype=torch.uint8), torch.zeros((6, 256, 4))

    def chosen(batch):
        return scan_choice.fastest_scan(codes, book, torch.zeros((batch, 24)), 10)

    assert [chosen(3), chosen(4)] == ["look_up", "look_up"]  # one measurement for sizes that are alike
    assert sorted(asked) == sorted(seconds)
    assert chosen(512) == "tiles"  # which reads the codes once for all queries
    seconds["multiply"] = seconds["tiles"] = float("inf")
    monkeypatch.setattr(scan_choice, "_chosen", {})
    assert chosen(512) == "tiles"  # when everything fails, tiles say why


def test_a_kernel_that_fails_is_not_chosen(triton_scan, monkeypatch):
    from jpq_pyserini.index import scan_choice, torch_search

    def broken(*_, **__):
        raise OSError("no compiler")

    monkeypatch.setattr(triton_scan, "best_by_scan", broken)
    monkeypatch.setattr(torch_search, "can_scan", lambda codes: True)
    monkeypatch.setattr(scan_choice, "_chosen", {})
    codec = random_codec()
    codes = codec.encode(random_embeddings(200))
    rotated = codec.rotate(random_embeddings(3, seed=4))
    expected = torch_search.TorchSearch(codec, codes, "cpu", scan="tiles").search(rotated, 10)
    found = torch_search.TorchSearch(codec, codes, "cpu").search(rotated, 10)
    assert np.array_equal(found[1], expected[1])
    assert list(scan_choice._chosen.values()) == ["tiles"]
