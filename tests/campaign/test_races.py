"""Two commands that write to the same place at once: both results are kept, or the second is refused in one line."""

import os
import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest

from jpq_pyserini import JPQIndex
from jpq_pyserini.data.flat import FlatFolder
from jpq_pyserini.index.record import verify_directory
from jpq_pyserini.plugin.searcher import JPQFaissSearcher

from helpers import stock
from helpers.codes import random_embeddings
from helpers.forked import Forked, barrier

pytestmark = pytest.mark.slow

_NEW = ["--output", "new"]
_FLAT = ["--embeddings", "flat"]
_ADD = ["index", "add", "--index", "index", "--in-place", "--embeddings"]
_CONVERT = ["index", "convert", "--index", "index", *_NEW, "--layout"]
_BUILD = ["index", "build", "--like", "index", *_NEW, "--embeddings"]
_EMBED = ["index", "embed", "--corpus", "corpus.jsonl", "--encoder", "encoder", "--device", "cpu", *_NEW]
_RERANK = [
    *("rerank", "--run", "run.a.txt", "--topics", "topics.tsv", "--corpus", "same.jsonl", "--model", "cross"),
    *("--depth", "2", *_NEW),
]
_TRAIN = [
    *("train", *_FLAT, "--encoder", "encoder", "--topics", "topics.tsv", "--qrels", "qrels.txt", "--device", "cpu"),
    *("--m", "8", "--nbits", "4", "--max-steps", "3", "--opq-iterations", "1", "--negatives", "3", "--batch-size", "4"),
    *_NEW,
]
_FUSION = ["fusion", "--run", "run.a.txt", "--run", "run.b.txt", *_NEW]
#: Name -> the two commands, and whether both must succeed.
PAIRS = {
    "add in place": ([*_ADD, "a"], [*_ADD, "b"], True),
    "add and vectors": ([*_ADD, "a"], ["index", "vectors", "--index", "index", *_FLAT], False),
    "vectors": (["index", "vectors", "--index", "index", *_FLAT],) * 2 + (True,),
    "rescore": (
        ["index", "vectors", "--index", "index", *_FLAT],
        ["index", "vectors", "--index", "index", "--remove"],
        True,
    ),
    "add": (["index", "add", "--index", "index", *_NEW, "--embeddings", "a"],) * 2 + (False,),
    "convert": ([*_CONVERT, "ivf"], [*_CONVERT, "fastscan"], False),
    "merge": (["index", "merge", "--indexes", "index", "other", *_NEW],) * 2 + (False,),
    "build": ([*_BUILD, "a"], [*_BUILD, "b"], False),
    "embed": (_EMBED, _EMBED, False),
    "pack": (["prebuilt", "pack", "index", "--name", "a-b", *_NEW],) * 2 + (False,),
    "train": (_TRAIN, [*_TRAIN, "--resume"], False),
    "rerank": (_RERANK, [*_RERANK, "--resume"], True),
    "fusion": (_FUSION, _FUSION, True),
}
_QUICK = ("add in place", "convert", "embed")


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    root = stock.good(tmp_path_factory.mktemp("races") / "good")
    for name in "ab":
        FlatFolder.write(root / name, [f"{name}{i}" for i in range(50)], [random_embeddings(50, 32, seed=ord(name))])
    return root


def _names(folder):
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("name", [name for name in PAIRS if name in _QUICK or "JPQ_CAMPAIGN" in os.environ])
@pytest.mark.parametrize("number", range(10 if "JPQ_CAMPAIGN" in os.environ else 1))
def test_two_writers(good, tmp_path, monkeypatch, name, number):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYSERINI_CACHE", str(tmp_path / "cache"))
    folder = shutil.copytree(good, tmp_path / "work")
    before, gate = _names(folder), barrier(2)
    *commands, both = PAIRS[name]
    running = [Forked(words, folder, gate) for words in commands]
    ends = [each.wait() for each in running]
    refused = [line for status, line in ends if status]
    assert [status for status, _ in ends].count(0) == (2 if both else 2 - len(refused))
    assert len(refused) < 2, ends
    assert all(line.startswith("error: ") and line.isprintable() for line in refused), ends
    made = folder / ("new" if any("new" in words for words in commands) else "index")
    assert _names(folder) - before <= {"new", "new.facts.json"}
    if (made / "jpq.json").exists():
        assert verify_directory(made) == []
    if name == "add in place":
        assert len(JPQIndex.open(made)) == 240 + 100


def _swapped(tmp_path, tiny, swaps, open_one):
    """Let two indexes change places while threads open and search; return what went wrong, and how many searched."""
    one = JPQIndex.open(tiny / "index")
    two = one.add(random_embeddings(5, one.codec.dimension), [f"new{i}" for i in range(5)])
    place = shutil.copytree(tiny / "index", tmp_path / "ix")
    hits = {}
    for index in (two, one):
        index.save(place, replace_existing=True)
        hits[len(index)] = [hit.docid for hit in open_one(place).search("bace dife", 400)]
    wrong, done, opened = [], [], []

    def read(number):
        while not done:
            try:
                searcher = open_one(place)
                found = [hit.docid for hit in searcher.search("bace dife", 400)]
                opened.append(number)
                if found != hits[len(found)]:
                    wrong.append("hits of neither")
            except Exception as error:
                wrong.append(f"{type(error).__name__}: {error}")

    def write():
        try:
            for _ in range(swaps):
                for index in (two, one):
                    index.save(place, replace_existing=True)
        finally:
            done.append(True)

    with ThreadPoolExecutor(3) as pool:
        for work in [pool.submit(write), pool.submit(read, 1), pool.submit(read, 2)]:
            work.result()
    return wrong, len(opened)


def test_searchers_are_opened_while_an_index_is_replaced(tmp_path, tiny, monkeypatch):
    monkeypatch.setenv("PYSERINI_CACHE", str(tmp_path / "cache"))
    swaps = 50 if "JPQ_CAMPAIGN" in os.environ else 4
    wrong, opened = _swapped(tmp_path, tiny, swaps, JPQFaissSearcher)
    assert wrong == []
    assert opened
