"""Files of real vectors: against numpy and safetensors, and damaged in every way."""

import os
import struct

import numpy as np
import pytest
from safetensors.numpy import load_file

from jpq_pyserini import JPQError
from jpq_pyserini.index.vectors import (
    DTYPES,
    StoredVectors,
    decode_rows,
    encode_rows,
    row_bytes,
    write_vectors,
)

N, D = 1000, 24


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    vectors = np.random.default_rng(0).normal(size=(N, D)).astype(np.float32)
    vectors[7] = 0
    vectors[8] *= 1e4
    return vectors


def write(path, vectors, dtype, rows=300):
    chunks = (encode_rows(vectors[start : start + rows], dtype) for start in range(0, len(vectors), rows))
    write_vectors(path, dtype, *vectors.shape, chunks)
    return path


@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_come_back_in_any_order_as_near_as_the_type_allows(tmp_path, vectors, dtype):
    stored = StoredVectors.open(write(tmp_path / "vectors", vectors, dtype))
    assert (stored.dtype, stored.count, stored.dimension, len(stored)) == (dtype, N, D, N)
    rows = np.array([999, 0, 7, 8, 8, 500])
    largest = np.abs(vectors[rows]).max(axis=1, keepdims=True)
    error = {"float32": 0, "float16": 2**-11, "int8": 0.5 / 127 + 1e-6}[dtype]
    assert np.all(np.abs(stored.read(rows) - vectors[rows]) <= error * largest)
    assert stored.read(np.empty(0, dtype=np.int64)).shape == (0, D)


def test_the_file_is_safetensors(tmp_path, vectors):
    """A reader that knows nothing of ours finds the numbers where the documentation says."""
    for dtype in ("float16", "float32"):
        rows = load_file(write(tmp_path / dtype, vectors, dtype))["rows"]
        assert rows.dtype == dtype
        assert np.array_equal(rows, vectors.astype(dtype))
    rows = load_file(write(tmp_path / "int8", vectors, "int8"))["rows"]
    assert rows.shape == (N, 4 + D)
    for row, vector in zip(rows, vectors, strict=True):
        (scale,) = struct.unpack("<f", row[:4].tobytes())
        assert scale == np.float32(np.abs(vector).max() / 127)
        assert [struct.unpack("b", bytes([value]))[0] for value in row[4:]] == [
            round(float(value) / scale) if scale else 0 for value in vector
        ]
    assert rows.nbytes == N * row_bytes("int8", D)


def test_rows_of_the_same_type_are_copied_bit_by_bit_and_others_converted(tmp_path, vectors):
    stored = StoredVectors.open(write(tmp_path / "vectors", vectors, "int8"))
    assert np.array_equal(np.concatenate(list(stored.chunks_as("int8"))), stored.read_raw(np.arange(N)))
    wide = decode_rows(np.concatenate(list(stored.chunks_as("float32"))), "float32")
    assert np.array_equal(wide, stored.read(np.arange(N)))


def test_rows_out_of_the_page_cache_are_the_same(tmp_path, vectors):
    stored = StoredVectors.open(write(tmp_path / "vectors", vectors, "int8"))
    warm = stored.read_raw(np.arange(0, N, 3))
    handle = os.open(stored.path, os.O_RDONLY)
    os.fsync(handle)
    os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(handle)
    assert np.array_equal(stored.read_raw(np.arange(0, N, 3)), warm)


def test_rows_that_wait_for_the_disk_make_the_others_asked_for(tmp_path, vectors, monkeypatch):
    stored = StoredVectors.open(write(tmp_path / "vectors", vectors, "int8"))
    expected, asked = stored.read_raw(np.arange(50)), []
    monkeypatch.setattr(os, "posix_fadvise", lambda *advice: asked.append(advice))
    monkeypatch.setattr("jpq_pyserini.index.vectors._FROM_DISK", 0)
    assert np.array_equal(stored.read_raw(np.arange(50)), expected)
    assert len(asked) == 50 - 8
    start = stored.path.stat().st_size - N * row_bytes("int8", D)
    assert asked[0][1:] == (start + 8 * row_bytes("int8", D), row_bytes("int8", D), os.POSIX_FADV_WILLNEED)


def test_a_file_cut_short_while_it_is_open_ends_in_one_line(tmp_path, vectors):
    path = write(tmp_path / "vectors", vectors, "int8")
    stored = StoredVectors.open(path)
    os.truncate(path, 5000)
    assert len(stored.read(np.arange(10))) == 10  # what is there is right still
    with pytest.raises(JPQError, match="was cut short after it was opened"):
        stored.read(np.array([3, 999]))
    with pytest.raises(JPQError, match="was cut short"):
        list(stored.chunks())


def test_a_disk_error_ends_in_one_line(tmp_path, vectors, monkeypatch):
    stored = StoredVectors.open(write(tmp_path / "vectors", vectors, "float16"))

    def fail(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "pread", fail)
    with pytest.raises(JPQError, match=r"vectors cannot be read \(\[Errno 5\] Input/output error\)"):
        stored.read(np.arange(3))


def test_systems_without_the_advice_read_the_same(tmp_path, vectors, monkeypatch):
    stored = StoredVectors.open(write(tmp_path / "vectors", vectors, "int8"))
    expected = stored.read(np.arange(50))
    monkeypatch.delattr(os, "posix_fadvise")
    assert np.array_equal(stored.read(np.arange(50)), expected)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), "is missing"),
        (lambda path: os.truncate(path, 0), "no readable vectors file"),
        (lambda path: os.truncate(path, 60), "no readable vectors file"),
        (lambda path: os.truncate(path, path.stat().st_size - 1), "bytes, .* expected for 1,000 × 24 int8"),
        (lambda path: path.write_bytes(path.read_bytes() + b"x"), "bytes, .* expected"),
        (lambda path: path.write_bytes(path.read_bytes().replace(b'"int8"', b'"int3"', 1)), "no vectors of ours"),
        (lambda path: path.write_bytes(b"\xff" * 4096), "no readable vectors file"),
    ],
)
def test_damaged_files_are_told_in_one_line(tmp_path, vectors, damage, message):
    path = write(tmp_path / "vectors", vectors, "int8")
    damage(path)
    with pytest.raises(JPQError, match=message) as error:
        StoredVectors.open(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_another_number_of_rows_or_width_leaves_no_file(tmp_path, vectors):
    for chunks, message in (
        ([encode_rows(vectors[:999], "int8")], "999 vectors for 1,000 documents"),
        ([encode_rows(vectors[:, :8], "int8")], "rows of 12 bytes, 28 expected"),
    ):
        with pytest.raises(JPQError, match=message):
            write_vectors(tmp_path / "vectors", "int8", N, D, iter(chunks))
    assert not any(tmp_path.iterdir())


def test_a_value_beyond_float16_is_refused():
    assert np.isfinite(decode_rows(encode_rows(np.full((1, 8), 65519, np.float32), "float16"), "float16")).all()
    with pytest.raises(JPQError, match=r"a value of 7e\+04, beyond float16"):
        encode_rows(np.full((1, 8), -7e4, np.float32), "float16")
