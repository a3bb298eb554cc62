"""Embeddings in every form people have: each gives the numbers and docids that were put in."""

import gzip
import json
import os
import pickle

import faiss
import numpy as np
import pytest
import torch

from jpq_pyserini.data.embeddings import Rows, open_embeddings
from jpq_pyserini.errors import JPQError

from helpers.codes import random_embeddings, write_flat
from helpers.embedding_forms import FORMS, HALF, write_form

N, D = 240, 24


@pytest.fixture(scope="module")
def whole():
    return random_embeddings(N, D), [f"d{i}" for i in range(N)]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_what_was_put_in(tmp_path, whole, form):
    x, docids = whole
    source, given = write_form(form, tmp_path, x, docids)
    opened = open_embeddings(source, given)
    expected = x.astype(np.float16).astype(np.float32) if form in HALF else x
    assert opened.embeddings.shape == (N, D)
    assert list(opened.docids) == docids
    assert np.array_equal(np.concatenate([chunk for _, chunk in opened.chunks(100)]), expected)
    rows = np.array([[5, 230], [99, 0]])
    assert np.array_equal(opened.embeddings[rows], expected[rows])
    assert np.array_equal(opened.embeddings[7], expected[7])
    assert np.array_equal(opened.sample(N, seed=0), expected)


def test_arrays_of_other_libraries_and_lists(whole):
    x, docids = whole
    tensor = torch.tensor(x, requires_grad=True)
    for source, names in ((tensor, docids), (x.tolist(), tuple(docids)), (tensor.half(), np.array(docids))):
        opened = open_embeddings(source, names)
        np.testing.assert_allclose(opened.embeddings[:], x, atol=0.01 if source is not tensor else 0, rtol=1e-3)
        assert list(opened.docids) == docids


def test_float16_stays_so_on_disk(tmp_path, whole, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    x, docids = whole
    (tmp_path / "e").mkdir()
    opened = open_embeddings(write_form("pickle float16", tmp_path / "e", x, docids)[0])
    spool = next(tmp_path.glob("jpq-embeddings-*/rows-0"))
    assert spool.stat().st_size == 2 * 100 * D  # of the first of two parts
    del opened
    assert not spool.exists()


@pytest.mark.parametrize(
    ("quantizer", "worst", "words"),
    [
        (faiss.ScalarQuantizer.QT_fp16, 2e-3, "float16"),
        (faiss.ScalarQuantizer.QT_bf16, 1e-2, "bfloat16"),
        (faiss.ScalarQuantizer.QT_8bit, 2e-2, "8 bits a number"),
    ],
)
def test_scalar_codes_are_read_with_a_warning(tmp_path, whole, caplog, quantizer, worst, words):
    x, _ = whole
    index = faiss.IndexScalarQuantizer(D, quantizer, faiss.METRIC_INNER_PRODUCT)
    index.train(x)
    opened = open_embeddings(write_flat(tmp_path / "sq", x, index=index))
    found = np.asarray(opened.embeddings[:])
    np.testing.assert_allclose(found, x, atol=worst * np.abs(x).max())
    assert np.array_equal(found, index.reconstruct_n(0, N))
    assert words in caplog.text


def test_a_graph_of_scalar_codes_is_read_as_they_are(tmp_path, whole, caplog):
    x, _ = whole
    index = faiss.IndexHNSWSQ(D, faiss.ScalarQuantizer.QT_fp16, 8, faiss.METRIC_INNER_PRODUCT)
    index.train(x)
    opened = open_embeddings(write_flat(tmp_path / "graph", x, index=index))
    assert np.array_equal(opened.embeddings[:], x.astype(np.float16).astype(np.float32))
    assert "float16" in caplog.text


def test_a_byte_order_mark_is_no_part_of_a_docid(tmp_path, whole):
    x, docids = whole
    flat = write_flat(tmp_path / "flat", x)
    np.save(tmp_path / "x.npy", x)
    text = "\ufeff" + "\r\n".join(docids)
    for source, beside in ((flat, flat / "docid"), (tmp_path / "x.npy", tmp_path / "given")):
        beside.write_text(text, encoding="utf-8", newline="")
        opened = open_embeddings(source, None if source == flat else beside)
        assert list(opened.docids) == docids
        assert opened.docids[0] == docids[0]
    beside.write_text("\ufeff\n" + "\n".join(docids), encoding="utf-8")
    with pytest.raises(JPQError, match="the docid '' in line 1 would break"):
        open_embeddings(tmp_path / "x.npy", beside)


def test_a_dataset_cloned_without_git_lfs(tmp_path, whole):
    folder, _ = write_form("dataset", tmp_path, *whole)
    next(folder.glob("*.arrow")).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    with pytest.raises(JPQError, match=r"\.arrow is a Git LFS pointer"):
        open_embeddings(folder)


def test_a_header_of_safetensors_that_begins_as_a_pickle(tmp_path, whole):
    x, docids = whole
    header = b'{"e":{"dtype":"F32","shape":[%d,%d],"data_offsets":[0,%d]}}' % (N, D, x.nbytes)
    (tmp_path / "e.safetensors").write_bytes((0x80).to_bytes(8, "little") + header.ljust(0x80) + x.tobytes())
    assert np.array_equal(open_embeddings(tmp_path / "e.safetensors", docids).embeddings[:], x)


def test_ids_of_an_index_without_docids_are_the_docids(tmp_path, whole):
    x, _ = whole
    index = faiss.IndexIDMap(faiss.IndexFlatIP(D))
    index.add_with_ids(x, np.arange(N)[::-1] * 7)
    faiss.write_index(index, str(tmp_path / "some.faiss"))
    opened = open_embeddings(tmp_path / "some.faiss")
    assert list(opened.docids) == [str(7 * i) for i in range(N)]
    assert np.array_equal(opened.embeddings[:], x[::-1])


@pytest.mark.parametrize("kind", ["flat", "HNSW"])
def test_l2_distance_goes_with_one_length_only(tmp_path, whole, kind):
    x, _ = whole
    make = {"flat": lambda: faiss.IndexFlatL2(D), "HNSW": lambda: faiss.IndexHNSWFlat(D, 8)}[kind]
    with pytest.raises(JPQError, match=r"is an index for L2 distance, and its embeddings have lengths from [\d.]+ to"):
        open_embeddings(write_flat(tmp_path / "l2", x, index=make()))
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    assert np.array_equal(open_embeddings(write_flat(tmp_path / "unit", unit, index=make())).embeddings[:], unit)


class _Call:
    def __reduce__(self):
        return os.system, ("touch /tmp/never",)


def test_pickles_make_nothing_but_arrays_and_text(tmp_path):
    for content in (_Call(), (np.ones((1, 2), np.float32), [_Call()]), {"a": object()}):
        (tmp_path / "p.pkl").write_bytes(pickle.dumps(content))
        with pytest.raises(JPQError, match=r"is a pickle that is not read .*wants to load"):
            open_embeddings(tmp_path / "p.pkl")
    (tmp_path / "p.pkl").write_bytes(pickle.dumps({"a": [1]}))
    with pytest.raises(JPQError, match="no pair of vectors and docids"):
        open_embeddings(tmp_path / "p.pkl")


def test_what_is_refused(tmp_path, whole):
    x, docids = whole
    np.save(tmp_path / "x.npy", x)
    (tmp_path / "docids").write_text("\n".join(docids[1:]))
    with pytest.raises(JPQError, match=r"has no docids: give a file .* as --docids"):
        open_embeddings(tmp_path / "x.npy")
    with pytest.raises(JPQError, match="239 docids for 240 embeddings"):
        open_embeddings(tmp_path / "x.npy", tmp_path / "docids")
    with pytest.raises(JPQError, match="240 embeddings and 239 docids"):
        open_embeddings(x, docids[1:])
    with pytest.raises(JPQError, match="'a b' would break run files"):
        open_embeddings(x, ["a b", *docids[1:]])
    with pytest.raises(JPQError, match=r"docids of its own: leave --docids out"):
        open_embeddings(write_form("jsonl", tmp_path, x, docids)[0], tmp_path / "docids")
    pq = faiss.index_factory(D, "PQ8x4")
    pq.train(x)
    with pytest.raises(JPQError, match=r"is a product-quantized Faiss index \(PQ\), whose vectors cannot be read back"):
        open_embeddings(write_flat(tmp_path / "pq", x, index=pq))
    np.save(tmp_path / "y.npy", x[:, :8])
    with pytest.raises(JPQError, match=r"y.npy has vectors of dimension 8, .*x.npy of 24"):
        open_embeddings([tmp_path / "x.npy", tmp_path / "y.npy"], docids * 2)
    for name, content, message in (
        ("no.jsonl", b'{"id": "a", "vector": [1.0, 2.0]}\n{"id": "b", "vector": [1.0]}\n', "line 2 has no vector of 2"),
        ("no.npy", b"\x93NUMPYxxxxxxxx", "cannot be read .*format version"),
        ("no.parquet", b"PAR1xxxxxxxxxxxxPAR1", "cannot be read .*: copy or write"),
        ("no.bin", b"hello", "of no kind that is known here"),
        ("lfs.npy", b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        ("deep.safetensors", (200).to_bytes(8, "little") + b'{"a":5}' + b" " * 300, "cannot be read"),
        ("large.jsonl", b'{"id": "a", "vector": [1%s]}\n' % (b"0" * 400), "line 1 has no vector of 1 numbers"),
        ("half.pkl", pickle.dumps((np.ones((1, 2), np.float32), ["\ud800"])), "would break run files"),
        ("none.pkl", pickle.dumps((np.ones((1, 2), np.float32), [None])), "the docid None would break run files"),
        ("memo.pkl", b"\x80\x04Nr\xff\xff\xff\x3f0.", "LONG_BINPUT 1073741823 in 10 bytes"),
        ("no.faiss", b"IHNf" + bytes(40), "cannot be read .*: copy or write"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(JPQError, match=message):
            open_embeddings(tmp_path / name, None if name.endswith(("jsonl", "pkl")) else docids)
    with pytest.raises(JPQError, match="is missing"):
        open_embeddings(tmp_path / "nowhere")
    flat = write_flat(tmp_path / "flat", x, index=faiss.IndexFlat(D, faiss.METRIC_L1))
    with pytest.raises(JPQError, match=r"is for another metric than inner product .*number 2"):
        open_embeddings(flat)
    for name in ("docid", "index"):
        (flat / name).write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
        with pytest.raises(JPQError, match=rf"flat/{name} is a Git LFS pointer"):
            open_embeddings(flat if name == "index" else tmp_path / "x.npy", None if name == "index" else flat / name)


def test_a_folder_of_parts_is_read_in_the_order_of_their_numbers(tmp_path, whole):
    x, docids = whole
    for part in range(12):
        lines = [json.dumps({"docid": docids[i], "vector": x[i].tolist()}) for i in range(20 * part, 20 * part + 20)]
        with gzip.open(tmp_path / f"part{part}.jsonl.gz", "wt") as file:
            file.write("\n".join(lines) + "\n")
    opened = open_embeddings(tmp_path)
    assert list(opened.docids) == docids
    assert np.array_equal(opened.embeddings[:], x)
    np.save(tmp_path / "x.npy", x)
    with pytest.raises(JPQError, match="files of several kinds"):
        open_embeddings(tmp_path)


def test_rows_of_parts():
    parts = [np.ones((2, 3), np.float16), np.zeros((0, 3), np.float32), np.full((4, 3), 2.0)]
    rows = Rows(parts)
    assert rows.shape == (6, 3)
    assert rows[1:3].tolist() == [[1.0] * 3, [2.0] * 3]
    assert np.asarray(rows).dtype == np.float32
