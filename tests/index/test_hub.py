"""Index directories on the Hugging Face Hub, through its real client against a small server of this machine."""

import json
import shutil

import numpy as np
import pytest

from jpq_pyserini import JPQError, JPQIndex
from jpq_pyserini.index import IndexRecord
from jpq_pyserini.index.hub import from_hub, model_card

from helpers.hub_server import hub_server
from helpers.processes import run_python

REPO = "someone/tiny-jpq"
PUSH = """
import sys
from jpq_pyserini import JPQIndex
print(JPQIndex.open(sys.argv[1]).push_to_hub(sys.argv[2], private=True, token="hf_x", scores={"test": {"RR@10": 0.5}}))
"""
PULL = """
import sys
from jpq_pyserini import JPQError, JPQIndex
try:
    index = JPQIndex.from_hub(sys.argv[1])
    print(index.path, len(index), index.docids[-1], index.query_encoder_path.is_dir())
except JPQError as error:
    print("error:", error)
"""


@pytest.mark.slow
def test_there_and_back_and_offline(static_index, tmp_path):
    home = {"HF_HOME": str(tmp_path / "hf"), "no_proxy": "127.0.0.1", "HF_TOKEN": None}
    with hub_server(REPO) as server:
        online = {**home, "HF_ENDPOINT": server.url, "HF_HUB_OFFLINE": None, "HF_HUB_DISABLE_XET": "1"}
        assert server.url in run_python("-c", PUSH, static_index, REPO, **online).stdout
        assert server.created == [(REPO, True)]
        here = {str(path.relative_to(static_index)) for path in static_index.rglob("*") if path.is_file()}
        assert set(server.files) == here | {"README.md"}
        assert b"| test | RR@10 | 0.500 |" in server.files["README.md"]
        server.files["evil.py"] = b"import os"
        path, *rest = run_python("-c", PULL, REPO, **online).stdout.split()
        assert rest == ["300", "d299", "True"]
        assert not list((tmp_path / "hf").rglob("*.py"))
        assert "error: cannot get someone/other" in run_python("-c", PULL, "someone/other", **online).stdout
        server.files["docid"] = b"changed\n"
        fresh = {**online, "HF_HOME": str(tmp_path / "fresh")}
        assert "docid is missing or damaged" in run_python("-c", PULL, REPO, **fresh).stdout
    offline = {**home, "HF_ENDPOINT": server.url, "HF_HUB_OFFLINE": "1"}
    assert run_python("-c", PULL, REPO, **offline).stdout.split() == [path, *rest]
    assert "error: cannot get someone/other" in run_python("-c", PULL, "someone/other", **offline).stdout


def test_card_tells_the_training(tiny, tmp_path):
    shutil.copytree(tiny / "index", tmp_path / "index")
    record = json.loads((tmp_path / "index" / "jpq.json").read_text())
    record["training"] = {
        "config": {"m": 8, "epochs": 2},
        "data": {"topics": "train.tsv"},
        "steps": 1200,
        "best_step": 600,
        "training_queries": 5000,
        "dev_queries": 100,
        "curve": [{"step": 0, "rr@10": 0.25}, {"step": 600, "rr@10": 0.375}],
    }
    (tmp_path / "index" / "jpq.json").write_text(json.dumps(record))
    card = model_card(IndexRecord.read(tmp_path / "index"), REPO)
    assert card.startswith("---\nlibrary_name: jpq_pyserini\n")
    for line in (
        "| Documents | 300 |",
        "| Bytes a document | 4 (32 times fewer than float32) |",
        "| development queries | RR@10 | 0.375 |",
        "1,200 steps on 5,000 queries; the weights of step 600 were kept, by 100 development queries.",
        "Settings: `m=8`, `epochs=2`.",
        f'JPQIndex.from_hub("{REPO}")',
    ):
        assert line in card


def test_unsaved_and_changed_indexes_are_not_pushed(tiny, tmp_path):
    index = JPQIndex.open(tiny / "index")
    unsaved = JPQIndex(index.codec, np.zeros((1, index.codec.m), np.uint8), ["x"])
    with pytest.raises(JPQError, match="never saved"):
        unsaved.push_to_hub(REPO)
    changed = shutil.copytree(tiny / "index", tmp_path / "index")
    (changed / "query_encoder" / "modules.json").write_text("[]")
    with pytest.raises(JPQError, match=r"query_encoder/modules\.json is missing or not the file that was written"):
        JPQIndex.open(changed).push_to_hub(REPO)


def test_name_that_is_none(monkeypatch):
    with pytest.raises(JPQError, match="cannot get not a name"):
        from_hub("not a name")
