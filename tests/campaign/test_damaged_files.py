"""Flips and cuts of every file of an index in every layout: the same answer as before, or one clear line.

The checksums find all of them; without (``JPQ_VERIFY=0``) what Faiss, safetensors and our own checks find must still
end in a line, and nothing may crash.
"""

import os
import random
import shutil

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jpq_pyserini import JPQError, JPQIndex
from jpq_pyserini.data.docids import is_docid
from jpq_pyserini.data.flat import FlatFolder
from jpq_pyserini.index import IndexDirectory
from jpq_pyserini.index.exact import ExactIndex
from jpq_pyserini.index.layouts import LAYOUTS
from jpq_pyserini.json_text import JSONError, parse_json

from helpers.codes import random_codec, random_embeddings

_QUERIES = random_embeddings(3, 24)


@pytest.fixture(scope="module", params=LAYOUTS)
def saved(request, tmp_path_factory):
    codec, embeddings = random_codec(D=24, M=6, nbits=4), random_embeddings(200, 24)
    index = JPQIndex(codec, codec.encode(embeddings), [f"d{i}" for i in range(200)])
    return index.convert(request.param).save(tmp_path_factory.mktemp("layout") / "ix")


def _answer(directory):
    parts = IndexDirectory.open(directory)
    scores, rows = ExactIndex(parts.faiss_index, parts.docids).search(_QUERIES, 5)
    return scores.tolist(), [[parts.docids[row] for row in of_query if row >= 0] for of_query in rows]


def _damages(files, count, seed):
    rng = random.Random(seed)
    for _ in range(count):
        file = rng.choice(files)
        content = bytearray(file.read_bytes())
        how = rng.choice(("flip", "byte", "cut", "grow", "eight bytes"))
        # half of them at the start, where sizes and kinds stand
        at = rng.randrange(min(len(content), 200) if rng.random() < 0.5 else len(content))
        if how == "flip":
            content[at] ^= 1 << rng.randrange(8)
        elif how == "byte":
            content[at] = rng.randrange(256)
        elif how == "cut":
            del content[at:]
        elif how == "grow":
            content += bytes(rng.randrange(1, 100))
        else:
            content[at : at + 8] = rng.choice((b"\xff" * 8, bytes(8), rng.randbytes(8)))
        yield file, how, at, bytes(content)


def _try(saved, tmp_path, count, must_match):
    expected, wrong = _answer(saved), []
    copy = tmp_path / "ix"
    shutil.copytree(saved, copy)
    files = sorted(path for path in copy.rglob("*") if path.is_file())
    for file, how, at, content in _damages(files, count, seed=count):
        whole = file.read_bytes()
        file.write_bytes(content)
        try:
            if _answer(copy) != expected and must_match:
                wrong.append(f"another answer: {file.name} {how} at {at}")
        except JPQError as error:
            if "\n" in str(error):
                wrong.append(f"{str(error)!r}: {file.name} {how} at {at}")
        except Exception as error:
            wrong.append(f"{type(error).__name__} {error}: {file.name} {how} at {at}")
        file.write_bytes(whole)
    assert not wrong, f"{len(wrong)} of {count}:\n" + "\n".join(wrong)


@pytest.mark.parametrize("checksums", ["", "0"])
def test_some_damage(saved, tmp_path, monkeypatch, checksums):
    monkeypatch.setenv("JPQ_VERIFY", checksums)
    monkeypatch.setenv("PYSERINI_CACHE", str(tmp_path / "cache"))
    _try(saved, tmp_path, 25, must_match=checksums != "0")


@pytest.mark.slow
@pytest.mark.skipif("JPQ_CAMPAIGN" not in os.environ, reason="takes long: set JPQ_CAMPAIGN=1")
@pytest.mark.parametrize("checksums", ["", "0"])
def test_much_damage(saved, tmp_path, monkeypatch, checksums):
    monkeypatch.setenv("JPQ_VERIFY", checksums)
    monkeypatch.setenv("PYSERINI_CACHE", str(tmp_path / "cache"))
    _try(saved, tmp_path, 2000, must_match=checksums != "0")


def test_checksums_are_compared_once_for_a_state_of_the_files(saved, tmp_path, monkeypatch):
    from jpq_pyserini.index import verified

    compared = []
    monkeypatch.setenv("PYSERINI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(verified, "check_verified", lambda directory, but: compared.append(directory))
    monkeypatch.setattr(verified, "_SETTLED", -1)  # as if the files had not been written just now
    for setting, times in (("", 1), ("", 1), ("0", 1), ("1", 2), ("", 2)):
        monkeypatch.setenv("JPQ_VERIFY", setting)
        IndexDirectory.open(saved)
        assert len(compared) == times
    (saved / "docid").write_bytes((saved / "docid").read_bytes())
    IndexDirectory.open(saved)
    assert len(compared) == 3
    monkeypatch.setenv("JPQ_VERIFY", "yes")
    with pytest.raises(JPQError, match="JPQ_VERIFY=yes: set it to 1"):
        IndexDirectory.open(saved)


def test_queries_that_are_not_finite_are_an_error(saved):
    parts = IndexDirectory.open(saved)
    queries = _QUERIES.copy()
    queries[1, 3] = np.nan
    with pytest.raises(JPQError, match="NaN or infinity for query 2 of 3"):
        ExactIndex(parts.faiss_index, parts.docids).search(queries, 5)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=6), min_size=1, max_size=5))
@example(["\x85"])
@example(["\xa0a"])
@example(["a\u3000", "é"])
def test_docids_that_break_run_files_are_refused_where_they_enter(tmp_path_factory, docids):
    folder = tmp_path_factory.mktemp("flat")
    lines = "".join(f"{docid}\n" for docid in docids)
    kept = [docid.rstrip() for docid in docids]  # as Pyserini reads lines
    breaks = "\x7f\x85\u2028\u2029"
    sound = all(each and each == each.lstrip() and not any(c <= " " or c in breaks for c in each) for each in kept)
    try:
        flat = FlatFolder.write(folder, docids, [np.ones((len(docids), 2), np.float32)])
    except JPQError:
        assert not sound
    else:
        assert list(flat.docids) == [line.rstrip() for line in lines.split("\n")[:-1]]
        assert all(is_docid(docid) for docid in flat.docids)


@settings(deadline=None, max_examples=50)
@given(st.one_of(st.text(max_size=20), st.binary(max_size=20), st.integers(1, 200_000).map(lambda n: "[" * n)))
def test_json_is_parsed_or_refused_in_one_way(text):
    try:
        parse_json(text)
    except JSONError as error:
        reason = str(error)
        assert reason and "\n" not in reason  # noqa: PT018 (which texts are refused is not the question)


def test_json_that_python_cannot_hold():
    for text, reason in (("9" * 5000, "too many digits"), ('{"a":' * 100_000, "nested"), (b"\xff", "UTF-8")):
        with pytest.raises(JSONError, match=reason):
            parse_json(text)
