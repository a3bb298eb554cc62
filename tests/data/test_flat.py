"""Flat Faiss folders, read without Faiss."""

import faiss
import numpy as np
import pytest

from jpq_pyserini.data.flat import FlatFolder
from jpq_pyserini.errors import JPQError

from helpers.codes import random_embeddings, write_flat


@pytest.mark.parametrize("kind", [faiss.IndexFlatIP, faiss.IndexFlatL2])
def test_embeddings_are_what_was_added(tmp_path, kind):
    x = random_embeddings(1000)
    x /= np.linalg.norm(x, axis=1, keepdims=True)  # else L2 distance ranks otherwise
    flat = FlatFolder.open(write_flat(tmp_path / "f", x, index=kind(24)))
    assert np.array_equal(flat.embeddings, x)
    parts = list(flat.chunks(300))
    assert [start for start, _ in parts] == [0, 300, 600, 900]
    assert np.array_equal(np.concatenate([part for _, part in parts]), x)
    sample = flat.sample(50, seed=1)
    assert len({row.tobytes() for row in sample} & {row.tobytes() for row in x}) == 50
    assert np.array_equal(sample, flat.sample(50, seed=1))
    assert np.array_equal(flat.sample(5000, seed=1), x)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_bad_embeddings_are_named(tmp_path, value):
    x = random_embeddings(500)
    x[321, 5] = value
    with pytest.raises(JPQError, match=r"docid d321 \(row 321\) holds NaN or infinity"):
        list(FlatFolder.open(write_flat(tmp_path / "f", x)).chunks(100))


def test_bad_folders(tmp_path):
    x = random_embeddings(100)
    folder = write_flat(tmp_path / "f", x)
    whole = (folder / "index").read_bytes()
    for content, message in (
        (whole[:-1], "truncated"),
        (whole[:3000], "truncated"),
        (b"", "0 bytes, too few"),
        (b"x" * 5000, "not a flat one"),
    ):
        (folder / "index").write_bytes(content)
        with pytest.raises(JPQError, match=message):
            FlatFolder.open(folder)
    with pytest.raises(JPQError, match="docid has 99 lines but index has 100"):
        FlatFolder.open(write_flat(tmp_path / "g", x, docids=range(99)))
    with pytest.raises(JPQError, match="not a flat one"):
        FlatFolder.open(write_flat(tmp_path / "h", x, index=faiss.IndexHNSWFlat(24, 4)))
    with pytest.raises(JPQError, match="holds no embeddings"):
        FlatFolder.open(write_flat(tmp_path / "i", x[:0]))
    with pytest.raises(JPQError, match="index is missing"):
        FlatFolder.open(tmp_path / "nowhere")


def test_written_as_faiss_writes_it(tmp_path):
    embeddings = random_embeddings(50)
    write_flat(tmp_path / "theirs", embeddings)
    docids = [f"d{row}" for row in range(50)]
    FlatFolder.write(tmp_path / "ours", iter(docids), (embeddings[start : start + 7] for start in range(0, 50, 7)))
    for name in ("index", "docid"):
        assert (tmp_path / "ours" / name).read_bytes() == (tmp_path / "theirs" / name).read_bytes()
    with pytest.raises(JPQError, match="docid has 1 lines but index has 50"):
        FlatFolder.write(tmp_path / "few", ["d0"], [embeddings])
    (tmp_path / "ours" / "encoder.json").write_text("[]")
    with pytest.raises(JPQError, match=r"encoder.json is damaged"):
        _ = FlatFolder.open(tmp_path / "ours").encoder


def test_what_is_no_flat_index_is_named_in_words(tmp_path):
    vectors = np.random.default_rng(0).normal(size=(300, 8)).astype(np.float32)
    (tmp_path / "docid").write_text("".join(f"d{row}\n" for row in range(300)))
    for factory, words in (
        ("IDMap,Flat", "its own ids"),
        ("IDMap2,Flat", "its own ids"),
        ("HNSW8", "a graph"),
        ("IVF4,Flat", "IVF-Flat"),
        ("PQ2x4", "a product-quantized"),
        ("SQ8", "scalar codes"),
        ("OPQ2,PQ2x4", "behind a rotation"),
    ):
        index = faiss.index_factory(8, factory, faiss.METRIC_INNER_PRODUCT)
        index.train(vectors)
        index.add_with_ids(vectors, np.arange(300)) if "IDMap" in factory else index.add(vectors)
        faiss.write_index(index, str(tmp_path / "index"))
        with pytest.raises(JPQError, match=f"{words}.* not a flat one"):
            FlatFolder.open(tmp_path)
    (tmp_path / "index").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.raises(JPQError, match=r"is a Git LFS pointer.*git lfs pull"):
        FlatFolder.open(tmp_path)


def test_values_whose_squares_are_beyond_float32(tmp_path):
    vectors = np.ones((3, 4), dtype=np.float32)
    vectors[1, 2] = -1e25
    flat = FlatFolder.write(tmp_path, ["a", "b", "c"], [vectors])
    with pytest.raises(JPQError, match=r"docid b \(row 1\) holds a value of 1e\+25, whose square is beyond float32"):
        flat.check_finite()
