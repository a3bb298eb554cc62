"""Queries are encoded once: the same vectors, by encoder and settings, for several processes."""

import numpy as np
import pytest

from jpq_pyserini.encoders.query_cache import VARIABLE, QueryCache, encoder_key
from jpq_pyserini.errors import JPQError

from helpers.processes import read_run, run_module


class Encoder:
    """Counts what it encodes: the length of a text, and its first letter's number."""

    def __init__(self):
        self.asked = []

    def __call__(self, queries):
        self.asked.append(list(queries))
        return np.array([[len(query), ord(query[0])] for query in queries], dtype=np.float32)


def test_only_what_is_not_known_is_encoded(tmp_path):
    encoder, cache = Encoder(), QueryCache(tmp_path / "new", "a")
    assert cache.encode(["one", "three", "one"], encoder).tolist() == [[3, 111], [5, 116], [3, 111]]
    assert QueryCache(tmp_path / "new", "a").encode(["three", "four"], encoder).tolist() == [[5, 116], [4, 102]]
    assert encoder.asked == [["one", "three"], ["four"]]
    QueryCache(tmp_path / "new", "another encoder").encode(["one"], encoder)
    assert encoder.asked[-1] == ["one"]


def test_many_queries(tmp_path):
    queries = [f"{number} words" for number in range(1700)]
    encoder, cache = Encoder(), QueryCache(tmp_path, "a")
    first = cache.encode(queries, encoder)
    assert np.array_equal(cache.encode(queries[::-1], encoder), first[::-1])
    assert len(encoder.asked) == 1


def test_nothing_is_kept_of_an_encoding_that_fails(tmp_path):
    def fails(queries):
        raise ValueError("no")

    cache, encoder = QueryCache(tmp_path, "a"), Encoder()
    with pytest.raises(ValueError, match="no"):
        cache.encode(["one"], fails)
    cache.encode(["one"], encoder)
    assert encoder.asked == [["one"]]


def test_a_damaged_file_is_one_line(tmp_path):
    (tmp_path / "queries.sqlite").write_bytes(b"not a database, " * 100)
    with pytest.raises(JPQError, match=r"queries.sqlite: cannot keep .*remove the file, or unset JPQ_QUERY_CACHE"):
        QueryCache(tmp_path, "a").encode(["one"], Encoder())


def test_encoders_differ_by_files_and_settings(tmp_path):
    (tmp_path / "a").write_text("1")
    keys = [encoder_key(tmp_path, backend="torch"), encoder_key(tmp_path, backend="onnx")]
    (tmp_path / "a").write_text("2")
    keys.append(encoder_key(tmp_path, backend="torch"))
    assert len(set(keys)) == 3


@pytest.mark.slow
def test_the_command_line_gives_the_same_run(tiny, tmp_path):
    arguments = ["pyserini.search.faiss", "--encoder", "jpq", "--index", tiny / "index", "--hits", "9"]
    arguments += ["--topics", tiny / "topics.tsv", "--batch-size", "64", "--threads", "1"]
    for name, folder in (("plain", None), ("first", tmp_path / "kept"), ("second", tmp_path / "kept")):
        run_module(*arguments, "--output", tmp_path / name, **{VARIABLE: folder and str(folder)})
    assert (tmp_path / "kept" / "queries.sqlite").is_file()
    runs = [read_run(tmp_path / name) for name in ("plain", "first", "second")]
    assert runs[0] == runs[1] == runs[2]
