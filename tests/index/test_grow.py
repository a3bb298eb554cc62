"""Adding and merging: what is grown equals what is built at once; nothing is lost, nothing mixed up."""

import numpy as np
import pytest

from jpq_pyserini import JPQError, JPQIndex
from jpq_pyserini.index import layouts

from helpers.codes import random_codec, random_embeddings

N = 600


def trained_codec(nbits=8):
    """A codec whose trained centroids are far from those that documents are assigned to."""
    codec = random_codec(M=6, nbits=nbits)
    noise = np.random.default_rng(9).standard_normal(codec.centroids.shape).astype(np.float32)
    return codec.with_centroids(codec.centroids + noise)


def make(codec, embeddings, first=0, layout="pq", **options):
    docids = [f"d{i}" for i in range(first, first + len(embeddings))]
    index = JPQIndex(codec, codec.encode(embeddings), docids)
    return index if layout == "pq" else index.convert(layout, **options)


@pytest.mark.parametrize("nbits", [4, 8])
def test_half_and_half_is_the_whole_byte_for_byte(tmp_path, nbits):
    codec, embeddings = trained_codec(nbits), random_embeddings(N)
    make(codec, embeddings).save(tmp_path / "whole")
    half = make(codec, embeddings[: N // 2])
    half.add(embeddings[N // 2 :], [f"d{i}" for i in range(N // 2, N)], source="more").save(tmp_path / "grown")
    shards = [half, make(codec, embeddings[N // 2 :], N // 2)]
    JPQIndex.merge(shards).save(tmp_path / "merged")
    for name in ("grown", "merged"):
        for file in ("index", "docid", "codec.safetensors"):
            assert (tmp_path / name / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()
    assert len(half) == N // 2
    # an answer that knows nothing of the code: nearest assignment centroid, then scores with the trained ones
    opened = JPQIndex.open(tmp_path / "grown")
    rotated = codec.rotate(embeddings).reshape(N, codec.m, -1)
    distances = ((rotated[:, :, None] - codec.assignment_centroids) ** 2).sum(-1)
    assert np.array_equal(opened.codes, distances.argmin(-1))
    scores, rows = opened.faiss_index.search(random_embeddings(3, seed=3), N)
    expected = codec.scores(random_embeddings(3, seed=3), opened.codes)
    assert np.allclose(scores, np.take_along_axis(expected, rows, 1), atol=1e-4)


@pytest.mark.parametrize("layout", [layout for layout in layouts.LAYOUTS if layout != "pq"])
def test_other_layouts_keep_layout_and_lists(tmp_path, layout):
    codec, embeddings = trained_codec(4), random_embeddings(N)
    lists = {"nlist": 9, "nprobe": 3} if layout.startswith("ivf") else {}
    half = make(codec, embeddings[: N // 2], layout=layout, **lists)
    half.save(tmp_path / "half")
    half = JPQIndex.open(tmp_path / "half")
    grown = half.add(embeddings[N // 2 :], [f"d{i}" for i in range(N // 2, N)])
    grown.save(tmp_path / "grown")
    whole = make(codec, embeddings)
    whole_index = layouts.build(codec, whole.codes, layout, half.coarse)
    opened = JPQIndex.open(tmp_path / "grown")
    assert opened.record.layout == layout
    assert np.array_equal(opened.codes, whole.codes)
    queries = random_embeddings(5, seed=3)
    for mine, theirs in zip(opened.faiss_index.search(queries, 40), whole_index.search(queries, 40), strict=True):
        assert np.array_equal(mine, theirs)
    rest = make(codec, embeddings[N // 2 :], N // 2)
    merged = JPQIndex.merge([half, rest.convert(layout, **lists)])  # ivf: of other lists than the first one's
    for mine, theirs in zip(merged.faiss_index.search(queries, 40), whole_index.search(queries, 40), strict=True):
        assert np.array_equal(mine, theirs)
    if lists:
        assert opened.record.lists["nprobe"] == 3
        assert np.array_equal(layouts.lists_of(merged.faiss_index), layouts.lists_of(whole_index))


def test_what_cannot_be_added_or_merged():
    codec, embeddings = trained_codec(), random_embeddings(100)
    index = make(codec, embeddings)
    bad = embeddings[:2].copy()
    bad[1, 3] = np.nan
    for arguments, message in (
        ((embeddings[:2], ["x", "d7"]), "docid d7 is in an index that was never saved and again in the new documents"),
        ((embeddings[:2], ["x", "x"]), "docid x is twice in the new documents"),
        ((embeddings[:2], ["x"]), "2 embeddings and 1 docids"),
        ((bad, ["x", "y"]), "embedding of docid y holds NaN"),
        ((embeddings[:2, :5], ["x", "y"]), r"shape \(2, 5\) do not fit a codec of dimension"),
    ):
        with pytest.raises(JPQError, match=message):
            index.add(*arguments)
    with pytest.raises(JPQError, match=r"codes of shape \(2, 5\)"):
        index.add_codes(np.zeros((2, 5), np.uint8), ["x", "y"])
    other = make(codec.with_centroids(codec.centroids + 0.5), embeddings, 100)
    small = make(trained_codec(4), embeddings, 100)
    fast = small.convert("fastscan")
    for pair, message in (
        ((index,), "1 index given"),
        ((index, index), "docid d0 is in"),
        ((index, other), r"the centroids of their codecs differ \(by up to 0.5\)"),
        ((index, small), "nbits=8 in one and D=24 M=6 nbits=4 in the other"),
        ((small, fast), "has the layout pq, .*fastscan: bring them to one with"),
        ((index, make(random_codec(M=6, nbits=8, rotate=False), embeddings, 100)), "one has a rotation and the other"),
    ):
        with pytest.raises(JPQError, match=message):
            JPQIndex.merge(pair)
