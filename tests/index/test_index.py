"""The index directory: what Faiss searches, what comes back from disk, what is refused."""

import dataclasses
import errno
import gc
import json
import os
import shutil

import faiss
import numpy as np
import pytest
from safetensors.numpy import load_file

from jpq_pyserini import JPQError, JPQIndex
from jpq_pyserini.codec.quantizer import ProductQuantizer
from jpq_pyserini.index import IndexRecord, layouts
from jpq_pyserini.storage import new_directory, new_file, sha256_of

from helpers.codes import make_index, random_codec, random_embeddings


@pytest.mark.parametrize("nbits", [4, 8])
@pytest.mark.parametrize("rotate", [True, False])
def test_faiss_scores_equal_equation_12(nbits, rotate):
    index = make_index(nbits=nbits, rotate=rotate)
    queries = random_embeddings(5, seed=3)
    scores, rows = index.faiss_index.search(queries, 100)
    expected = index.codec.scores(queries, index.codes)
    assert np.allclose(scores, np.take_along_axis(expected, rows, 1), atol=1e-5)
    assert np.array_equal(np.sort(rows), np.tile(np.arange(100), (5, 1)))


def test_vectors_for_feedback_are_rotated_back():
    index = make_index()
    _, rows, vectors = index.faiss_index.search_and_reconstruct(random_embeddings(2, seed=3), 4)
    assert np.allclose(vectors, index.codec.decode(index.codes[rows.ravel()]).reshape(2, 4, -1), atol=1e-5)


@pytest.mark.parametrize("nbits", [4, 8])
def test_save_and_open(tmp_path, nbits):
    index = make_index(nbits=nbits)
    index.save(tmp_path / "ix", lambda folder: (folder.mkdir(), (folder / "f").write_text("x")))
    opened = JPQIndex.open(tmp_path / "ix")
    assert np.array_equal(opened.codes, index.codes)
    assert opened.docids == index.docids
    assert opened.query_encoder_path == tmp_path / "ix" / "query_encoder"
    record = json.loads((tmp_path / "ix" / "jpq.json").read_text())
    assert set(record["sha256"]) == {"index", "docid", "codec.safetensors", "query_encoder/f"}
    assert all(sha256_of(tmp_path / "ix" / name) == digest for name, digest in record["sha256"].items())
    assert record["versions"]["faiss-cpu"] == faiss.__version__
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ix"]
    # a document costs its codes: what is left is the codec and a header
    assert (tmp_path / "ix" / "index").stat().st_size - 100 * 6 * nbits // 8 < 4 * (24 * 24 + 24 * (1 << nbits)) + 400


def test_disk_full_or_interrupted_leaves_nothing(tmp_path, monkeypatch):
    def interrupted(folder):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_index().save(tmp_path / "ix", interrupted)
    monkeypatch.setattr(
        faiss, "write_index", lambda *_: (_ for _ in ()).throw(RuntimeError("write error: No space left"))
    )
    with pytest.raises(OSError, match="No space left on device") as raised:
        make_index().save(tmp_path / "ix")
    assert raised.value.errno == errno.ENOSPC
    assert list(tmp_path.iterdir()) == []


def test_existing_output_is_never_touched(tmp_path):
    (tmp_path / "ix").mkdir()
    (tmp_path / "ix" / "mine").write_text("keep")
    with pytest.raises(JPQError, match=r"ix exists already.*another output"):
        make_index().save(tmp_path / "ix")
    assert (tmp_path / "ix" / "mine").read_text() == "keep"
    (tmp_path / "file").write_text("keep")
    with pytest.raises(JPQError, match="file exists already"), new_directory(tmp_path / "file"):
        pass
    with pytest.raises(ZeroDivisionError), new_file(tmp_path / "file") as file:
        file.write(str(1 // 0))
    assert (tmp_path / "file").read_text() == "keep"
    (tmp_path / "empty").mkdir()
    with pytest.raises(JPQError, match="empty is a folder: name a file"), new_file(tmp_path / "empty"):
        pass
    assert make_index().save(tmp_path / "empty").is_dir()


def test_others_may_read_an_index_as_the_umask_says(tmp_path):
    before = os.umask(0o027)
    try:
        directory = make_index().save(tmp_path / "ix")
    finally:
        os.umask(before)
    assert {oct(path.stat().st_mode & 0o777) for path in directory.iterdir()} == {"0o640"}


def damage(directory, name, how):
    path = directory / name
    if how == "missing":
        path.unlink()
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "truncated":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif how == "garbage":
        path.write_bytes(b"\x00garbage" * 100)
    elif how == "extra line":
        path.write_text(path.read_text() + "d100\n")


@pytest.mark.parametrize(
    ("name", "how", "message"),
    [
        ("index", "missing", "index is missing"),
        ("index", "empty", "index is empty"),
        ("index", "truncated", "index is truncated or no Faiss index"),
        ("index", "garbage", "index is truncated or no Faiss index"),
        ("docid", "missing", "docid is missing"),
        ("docid", "extra line", "index has 100 documents, docid 101 lines"),
        ("docid", "empty", "index has 100 documents, docid 0 lines"),
        ("codec.safetensors", "missing", "codec.safetensors is no readable codec"),
        ("codec.safetensors", "truncated", "codec.safetensors is no readable codec"),
        ("jpq.json", "missing", r"has no jpq.json.*jpq_pyserini.train"),
        ("jpq.json", "truncated", "jpq.json is damaged"),
        ("jpq.json", "empty", "jpq.json is damaged"),
    ],
)
def test_damaged_directories(tmp_path, monkeypatch, name, how, message):
    monkeypatch.setenv("JPQ_VERIFY", "0")  # what is found without the checksums
    make_index().save(tmp_path / "ix")
    damage(tmp_path / "ix", name, how)
    with pytest.raises(JPQError, match=message) as raised:
        JPQIndex.open(tmp_path / "ix")
    assert "\n" not in str(raised.value)


def test_parts_of_two_indexes(tmp_path, monkeypatch):
    monkeypatch.setenv("JPQ_VERIFY", "0")
    make_index().save(tmp_path / "a")
    other = random_codec(D=24, M=12)
    JPQIndex(other, other.encode(random_embeddings(100)), [f"d{i}" for i in range(100)]).save(tmp_path / "b")
    shutil.copy(tmp_path / "b" / "codec.safetensors", tmp_path / "a" / "codec.safetensors")
    with pytest.raises(JPQError, match=r"codec.safetensors: .* shape \(12, 256, 2\) do not fit .* \(6, 256, 4\)"):
        JPQIndex.open(tmp_path / "a")


@pytest.mark.parametrize("layout", layouts.LAYOUTS)
def test_rotation_and_centroids_are_stored_once_and_read_from_the_faiss_index(tmp_path, layout):
    codec = random_codec(D=24, M=6, nbits=4)
    for name, assigned in (("trained", codec.assignment_centroids), ("untrained", codec.centroids)):
        codec = dataclasses.replace(codec, assignment_centroids=assigned)
        index = JPQIndex(codec, codec.encode(random_embeddings(100)), [f"d{i}" for i in range(100)])
        directory = index.convert(layout, **({"nlist": 4} if "ivf" in layout else {})).save(tmp_path / name)
        kept = load_file(directory / "codec.safetensors")
        assert set(kept) == ({"assignment_centroids"} if name == "trained" else set())
        opened = JPQIndex.open(directory).codec  # the index itself is forgotten: the memory is still there
        gc.collect(1)
        for array in ("rotation", "centroids", "assignment_centroids"):
            assert np.array_equal(getattr(opened, array), getattr(codec, array))
            assert (directory / "index").read_bytes().count(codec.rotation.tobytes()) == 1
    with pytest.raises(JPQError, match="no readable codec without the index beside it"):
        ProductQuantizer.load(directory / "codec.safetensors")


def test_later_formats_and_no_directory(tmp_path):
    make_index().save(tmp_path / "ix")
    path = tmp_path / "ix" / "jpq.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format_version": 99}))
    with pytest.raises(JPQError, match=r"format version 99.*--upgrade"):
        IndexRecord.read(tmp_path / "ix")
    with pytest.raises(JPQError, match="nowhere is no directory"):
        JPQIndex.open(tmp_path / "nowhere")
    with pytest.raises(JPQError, match="do not fit 3 docids"):
        JPQIndex(random_codec(), np.zeros((4, 6), np.uint8), ["a", "b", "c"])


@pytest.mark.slow
def test_core_never_imports_pyserini():
    from helpers.processes import run_python

    code = (
        "import jpq_pyserini.index, jpq_pyserini.train.losses, jpq_pyserini.train.pipeline, sys;"
        "print([name for name in sys.modules if name.startswith(('pyserini', 'jnius'))])"
    )
    assert run_python("-c", code).stdout.strip() == "[]"
