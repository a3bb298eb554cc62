"""The torch search on the CPU: the same hits as the float scores, in tiles, with 4 and 8 bits."""

import numpy as np
import pytest
import torch

from jpq_pyserini.index import layouts
from jpq_pyserini.index.exact import ExactIndex
from jpq_pyserini.index.torch_search import TorchSearch

from helpers.codes import random_codec, random_embeddings


@pytest.mark.parametrize(("nbits", "M"), [(8, 6), (4, 6), (4, 3)])
@pytest.mark.parametrize("tile", [7, 1000])
def test_scores_and_rows(nbits, M, tile):
    codec = random_codec(M=M, nbits=nbits)
    codes = codec.encode(random_embeddings(300))
    queries = random_embeddings(5, seed=3)
    scores, rows = TorchSearch(codec, codes, "cpu", tile=tile).search(codec.rotate(queries), 20)
    expected = codec.scores(queries, codes)
    assert np.allclose(scores, -np.sort(-expected, axis=1)[:, :20], atol=1e-4)
    assert np.allclose(scores, np.take_along_axis(expected, rows, 1), atol=1e-4)
    assert all(len(set(found)) == 20 for found in rows.tolist())


def test_fewer_documents_than_hits():
    codec = random_codec()
    codes = codec.encode(random_embeddings(4))
    scores, rows = TorchSearch(codec, codes, "cpu", tile=3).search(codec.rotate(random_embeddings(2)), 6)
    assert np.array_equal(np.sort(rows, 1), [[-1, -1, 0, 1, 2, 3]] * 2)
    assert np.all(rows[:, 4:] == -1)
    assert np.all(np.diff(scores, axis=1) <= 0)


def test_half_precision_candidates_become_exact():
    codec = random_codec(D=48, M=12, nbits=4)
    codes = codec.encode(random_embeddings(2000, D=48))
    queries = random_embeddings(6, D=48, seed=5)
    index = layouts.build(codec, codes)
    expected = ExactIndex(index).search(queries, 30)
    rough = TorchSearch(codec, codes, "cpu", dtype=torch.bfloat16)
    assert not np.array_equal(rough.search(codec.rotate(queries), 30)[1], expected[1])
    found = ExactIndex(index, margin=300, proposer=rough).search(queries, 30)
    assert np.array_equal(found[1], expected[1])
    assert np.array_equal(found[0], expected[0])
