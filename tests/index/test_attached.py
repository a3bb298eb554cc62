"""Vectors through the life of an index: written, referred to, added to, merged, converted, and told when damaged."""

import errno
import json
import os
import shutil

import numpy as np
import pytest

from jpq_pyserini import JPQError, JPQIndex
from jpq_pyserini.data.flat import FlatFolder
from jpq_pyserini.index.directory import IndexDirectory
from jpq_pyserini.index.record import IndexRecord, verify_directory
from jpq_pyserini.index.rescoring import RescoringIndex, scored_index
from jpq_pyserini.index.vectors import DTYPES, encode_rows, write_vectors

from helpers.codes import make_index, random_codec, random_embeddings, write_flat

N, D = 100, 24


@pytest.fixture
def flat(tmp_path) -> FlatFolder:
    return FlatFolder.open(write_flat(tmp_path / "flat", random_codec().decode(make_index(N).codes)))


@pytest.fixture
def saved(tmp_path, flat):
    """An index directory with int8 vectors."""
    index = make_index(N)
    index.attach(flat)
    return index.save(tmp_path / "saved")


def vectors_of(directory) -> np.ndarray:
    stored = JPQIndex.open(directory).vectors
    return stored.read(np.arange(stored.count))


def near(some, others) -> bool:
    """As near as int8 allows."""
    return some.shape == others.shape and bool(np.all(np.abs(some - others) <= np.abs(others).max() / 127))


@pytest.mark.parametrize("dtype", DTYPES)
def test_saved_vectors_are_those_of_the_documents(tmp_path, flat, dtype):
    index = make_index(N)
    index.attach(flat, dtype=dtype)
    directory = index.save(tmp_path / "saved")
    assert IndexRecord.read(directory).vectors["dtype"] == dtype
    assert near(vectors_of(directory), flat.embeddings)
    assert verify_directory(directory) == []


def test_documents_in_another_order_and_among_others_are_found(tmp_path, flat):
    order = np.random.default_rng(0).permutation(N)
    others = random_embeddings(20, seed=9)
    mixed = np.concatenate([others, flat.embeddings[order]])
    docids = [f"x{i}" for i in range(20)] + [f"d{i}" for i in order]
    folder = FlatFolder.open(write_flat(tmp_path / "mixed", mixed, docids))
    index = make_index(N)
    index.attach(folder)
    assert near(vectors_of(index.save(tmp_path / "saved")), flat.embeddings)
    with pytest.raises(JPQError, match=r"not the documents of .* in the same order"):
        index.attach(folder, refer=True)


def test_embeddings_of_something_else_are_refused(tmp_path, flat):
    index = make_index(N)
    with pytest.raises(JPQError, match="no embedding of docid d50"):
        index.attach(FlatFolder.open(write_flat(tmp_path / "few", np.array(flat.embeddings[:50]))))
    with pytest.raises(JPQError, match=r"not those that the codes of .* were made of"):
        index.attach(FlatFolder.open(write_flat(tmp_path / "others", random_embeddings(N, seed=5))))
    large = np.array(flat.embeddings)
    large[:, 3] = 3e38
    with pytest.raises(JPQError, match=r"holds a value of 3e\+38, whose square is beyond float32"):
        index.attach(FlatFolder.open(write_flat(tmp_path / "large", large)))
    with pytest.raises(JPQError, match="8 dimensions do not fit"):
        index.attach(FlatFolder.open(write_flat(tmp_path / "narrow", random_embeddings(N, D=8))))
    with pytest.raises(JPQError, match="vectors of type 'int4': choose one of int8"):
        index.attach(flat, dtype="int4")


def test_a_flat_folder_that_is_referred_to_stays_where_it_is(tmp_path, flat, monkeypatch):
    index = make_index(N)
    index.attach(flat, refer=True)
    directory = index.save(tmp_path / "saved")
    assert not (directory / "vectors.safetensors").exists()
    assert np.array_equal(vectors_of(directory), flat.embeddings)
    again = JPQIndex.open(directory).convert("ivf", nlist=4).save(tmp_path / "again")
    assert IndexRecord.read(again).vectors == IndexRecord.read(directory).vectors

    added = JPQIndex.open(directory).add(random_embeddings(5, seed=3), [f"e{i}" for i in range(5)])
    grown = added.save(tmp_path / "grown")  # a folder cannot grow: now they are copied
    assert IndexRecord.read(grown).vectors["dtype"] == "int8"
    assert near(vectors_of(grown), np.concatenate([flat.embeddings, random_embeddings(5, seed=3)]))

    shutil.rmtree(flat.path)
    with pytest.raises(JPQError, match=f"{flat.path}/index is missing or not the file that was written"):
        IndexDirectory.open(directory)
    monkeypatch.setenv("JPQ_VERIFY", "0")
    with pytest.raises(JPQError, match=f"vectors of {directory} are those of {flat.path}, which cannot be read"):
        IndexDirectory.open(directory)


def test_a_change_in_the_middle_of_a_folder_that_is_referred_to_is_noticed(tmp_path, flat, monkeypatch):
    monkeypatch.setattr("jpq_pyserini.resume._WHOLE", 512)  # of larger files the fingerprint is of both ends only
    index = make_index(N)
    index.attach(flat, refer=True)
    directory = index.save(tmp_path / "saved")
    with open(flat.path / "index", "r+b") as file:
        file.seek(5000)
        file.write(b"\1\2\3")
    remedy = "put it back as it was, or write the vectors again .*, or set JPQ_RESCORE=0"
    with pytest.raises(JPQError, match=f"{flat.path}/index is missing or not the file that was written .*: {remedy}"):
        IndexDirectory.open(directory)
    with pytest.raises(JPQError, match="not the file that was written"):
        JPQIndex.open(directory, verify=True)
    IndexDirectory.open(directory, vectors=False)  # the codes are not concerned


def test_add_appends_the_vectors_and_leaves_the_others_bit_by_bit(tmp_path, saved, flat):
    new = random_embeddings(30, seed=3)
    grown = JPQIndex.open(saved).add(new, [f"e{i}" for i in range(30)]).save(tmp_path / "grown")
    assert near(vectors_of(grown)[N:], new)
    assert np.array_equal(vectors_of(grown)[:N], vectors_of(saved))
    assert verify_directory(grown) == []
    with pytest.raises(JPQError, match="has the documents' vectors and the new documents has not"):
        JPQIndex.open(saved).add_codes(np.zeros((1, 6), dtype=np.uint8), ["e1"])


def test_merge_and_convert_keep_them(tmp_path, saved):
    index = JPQIndex.open(saved)
    other = JPQIndex(index.codec, index.codes, [f"e{i}" for i in range(N)], vectors=index.vectors)
    merged = JPQIndex.merge([index, other]).save(tmp_path / "merged")
    assert np.array_equal(vectors_of(merged), np.concatenate([vectors_of(saved)] * 2))
    converted = index.convert("ivf", nlist=4).save(tmp_path / "converted")
    assert np.array_equal(vectors_of(converted), vectors_of(saved))
    without = JPQIndex(index.codec, index.codes, [f"f{i}" for i in range(N)])
    with pytest.raises(JPQError, match="saved has the documents' vectors and an index that was never saved has not"):
        JPQIndex.merge([index, without])


def test_an_index_may_take_its_own_place(saved):
    before = vectors_of(saved)
    JPQIndex.open(saved).add(random_embeddings(1, seed=3), ["e0"]).save(saved, replace_existing=True)
    assert np.array_equal(vectors_of(saved)[:N], before)
    JPQIndex.open(saved, vectors=False).save(saved, replace_existing=True)
    assert JPQIndex.open(saved).vectors is None
    assert not (saved / "vectors.safetensors").exists()


def _another_type(directory):
    record = json.loads((directory / "jpq.json").read_text())
    record["vectors"]["dtype"] = "float16"
    (directory / "jpq.json").write_text(json.dumps(record))


def _one_more_document(directory):
    index = JPQIndex.open(directory).add(random_embeddings(1), ["e"]).save(directory.parent / "more")
    shutil.copy(index / "vectors.safetensors", directory)


def _one_byte(directory):
    data = bytearray((directory / "vectors.safetensors").read_bytes())
    data[-100] ^= 1
    (directory / "vectors.safetensors").write_bytes(data)


def _of_another_dimension(directory):
    rows = encode_rows(random_embeddings(N, 20), "int8")
    write_vectors(directory / "vectors.safetensors", "int8", N, 20, [rows])


def _a_fifo(directory):
    (directory / "vectors.safetensors").unlink()
    os.mkfifo(directory / "vectors.safetensors")


def _a_folder(directory):
    (directory / "vectors.safetensors").unlink()
    (directory / "vectors.safetensors").mkdir()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda d: (d / "vectors.safetensors").unlink(), "vectors.safetensors is missing"),
        (lambda d: os.truncate(d / "vectors.safetensors", 2000), "2,000 bytes, .* expected"),
        (_another_type, "has 100 vectors of 24 int8, .* says 100 of 24 float16"),
        (_one_more_document, "has 101 vectors of 24 int8, .* says 100 of 24 int8"),
        (_one_byte, "was changed after .*jpq.json was written"),
        (_of_another_dimension, "has 100 vectors of 20 int8, .* says 100 of 24 int8"),
        (lambda d: os.truncate(d / "vectors.safetensors", 0), "is no readable vectors file"),
        (lambda d: os.truncate(d / "vectors.safetensors", 5), "is no readable vectors file"),
        (lambda d: (d / "vectors.safetensors").write_bytes(b"\xff" * 5000), "is no readable vectors file"),
        (lambda d: os.truncate(d / "vectors.safetensors", 5000), "5,000 bytes, .* expected"),
        (_a_fifo, "is a FIFO, a socket or a device"),
        (_a_folder, "is no readable vectors file"),
    ],
)
@pytest.mark.parametrize("checksums", [False, True])
def test_vectors_that_are_not_as_recorded_are_told_in_one_line(saved, monkeypatch, damage, message, checksums):
    monkeypatch.setenv("JPQ_VERIFY", str(int(checksums)))
    message = "is missing or not the file" if checksums else message
    damage(saved)
    with pytest.raises(JPQError, match=message) as error:
        IndexDirectory.open(saved)
    assert "\n" not in str(error.value)
    assert checksums or "JPQ_RESCORE=0" in str(error.value)
    monkeypatch.setenv("JPQ_VERIFY", "0")  # the record may have been changed
    parts = IndexDirectory.open(saved, vectors=False)  # the codes are not concerned
    assert type(scored_index(parts, 0)) is not RescoringIndex


def test_a_disk_that_fails_in_the_middle_of_a_search_is_told_before_any_result(saved, monkeypatch):
    parts = IndexDirectory.open(saved)
    plain, reads = os.pread, []

    def fails(handle, size, start):
        reads.append(start)
        if len(reads) > 50:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return plain(handle, size, start)

    monkeypatch.setattr(os, "pread", fails)
    with pytest.raises(JPQError, match=r"vectors.safetensors cannot be read \(.*Input/output error\): copy it again"):
        scored_index(parts).search(random_embeddings(3, seed=7), 10)
    assert len(reads) == 51


def test_an_index_is_rescored_where_it_has_vectors(tmp_path, saved):
    assert isinstance(scored_index(IndexDirectory.open(saved)), RescoringIndex)
    plain = make_index(N).save(tmp_path / "plain")
    assert not isinstance(scored_index(IndexDirectory.open(plain)), RescoringIndex)
    with pytest.raises(JPQError, match="plain has no vectors to score 50 candidates with"):
        scored_index(IndexDirectory.open(plain), 50)
