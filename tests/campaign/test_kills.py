"""Commands that are killed at any moment: the same command once more gives the same files, and nothing is left over.

Three commands are killed once, with ``JPQ_CAMPAIGN=1`` all of them twenty times.
"""

import json
import os
import random
import re
import shutil
import time

import pytest

from helpers import stock
from helpers.forked import Forked

_TEXTS = ["--encoder", "encoder", "--device", "cpu"]
_JUDGED = ["--topics", "topics.tsv", "--qrels", "qrels.txt"]
#: Name -> words; "{resume}" is what a second call adds.
COMMANDS = {
    "convert": ["index", "convert", "--index", "index", "--layout", "ivf", "--output", "new"],
    "merge": ["index", "merge", "--indexes", "index", "other", "--output", "new"],
    "build": ["index", "build", "--like", "index", "--embeddings", "flat", "--vectors", "int8", "--output", "new"],
    "add": ["index", "add", "--index", "index", "--corpus", "corpus.jsonl", "--output", "new", "{resume}"],
    "add in place": ["index", "add", "--index", "index", "--corpus", "corpus.jsonl", "--in-place", "{resume}"],
    "vectors": ["index", "vectors", "--index", "index", "--embeddings", "flat"],
    "embed": ["index", "embed", "--corpus", "corpus.jsonl", *_TEXTS, "--output", "new", "{resume}"],
    "pack": ["prebuilt", "pack", "index", "--name", "a-b", "--output", "new"],
    "fusion": ["fusion", "--run", "run.a.txt", "--run", "run.b.txt", "--output", "new"],
    "rerank": [
        *("rerank", "--run", "run.a.txt", "--topics", "topics.tsv", "--corpus", "same.jsonl", "--model", "cross"),
        *("--depth", "3", "--output", "new", "{resume}"),
    ],
    "train": [
        *("train", "--embeddings", "flat", *_TEXTS, *_JUDGED, "--m", "8", "--nbits", "4", "--max-steps", "12"),
        *("--opq-iterations", "2", "--negatives", "5", "--batch-size", "4", "--checkpoint-steps", "2"),
        *("--output", "new", "{resume}"),
    ],
}
_QUICK = ("convert", "add in place", "train")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    root = stock.good(tmp_path_factory.mktemp("kills") / "good")
    assert Forked(["index", "describe", "--index", "index"], root).wait(600)[0] == 0  # the imports are not timed
    return root


def _begun(name, good, folder, again=False):
    shutil.copytree(good, folder, dirs_exist_ok=True) if not again else None
    words = [word for word in COMMANDS[name] if word != "{resume}"]
    return Forked(words + ["--resume"] * (again and "{resume}" in COMMANDS[name]), folder)


def _content(folder) -> dict:
    """Return what is in a folder; of records and facts what does not depend on the hour."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_file() and not name.endswith((".facts.json", ".tar.gz", "a-b.json")):
            found[name] = path.read_bytes().replace(bytes(folder), b"FOLDER")  # some name their inputs
        if path.name == "jpq.json":
            record = json.loads(found[name])
            history = [{key: value for key, value in event.items() if key != "when"} for event in record["history"]]
            training = {key: value for key, value in record["training"].items() if key not in ("seconds", "command")}
            found[name] = [record["sha256"], record["count"], history, training]
        if path.name.endswith("README.md"):
            found[name] = "a page with the hour and a name made of digests"
    return {name if "README" not in name else "README": value for name, value in found.items()}


def _tried(name, good, root, times, rng):
    whole = root / "whole"
    start = time.monotonic()
    assert _begun(name, good, whole).wait()[0] == 0
    seconds = time.monotonic() - start
    expected, wrong = _content(whole), []
    for number in range(times):
        folder, at = root / f"killed{number}", rng.uniform(0.02, seconds)
        killed = _begun(name, good, folder)
        killed.process.join(at)
        killed.process.kill()
        if killed.wait()[0] != 0:
            status, line = _begun(name, good, folder, again=True).wait()
            if status != 0 and not re.search("exists already|is in .* already", line):  # killed when all was written
                wrong.append(f"killed after {at:.2f} s, then {status}: {line}")
                continue
        now = _content(folder)
        different = sorted(key for key in now.keys() | expected.keys() if now.get(key) != expected.get(key))
        if different:
            wrong.append(f"killed after {at:.2f} s: {different[:4]} are different or left over")
        shutil.rmtree(folder)
    return wrong


@pytest.mark.parametrize("name", [name for name in COMMANDS if name in _QUICK or "JPQ_CAMPAIGN" in os.environ])
def test_a_killed_command_loses_nothing_and_leaves_nothing(good, tmp_path, monkeypatch, name):
    monkeypatch.setenv("PYSERINI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    wrong = _tried(name, good, tmp_path, 20 if "JPQ_CAMPAIGN" in os.environ else 1, random.Random(name))
    assert not wrong, "\n".join(wrong)
