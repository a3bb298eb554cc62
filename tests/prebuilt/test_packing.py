"""Packing an index for others: the same bytes every time, nothing that could not be searched, nothing private."""

import json
import shutil
import tarfile

import pytest

from jpq_pyserini import JPQError
from jpq_pyserini.prebuilt.packing import pack

NAME = "tiny.jpq-m8"


def test_pack_gives_the_same_bytes(tiny, tmp_path):
    packed = tmp_path / "share"
    pack(tiny / "index", packed, name=NAME)
    shutil.copytree(tiny / "index", tmp_path / "copy")
    (tmp_path / "copy" / "notes.txt").write_text("mine")  # not in the record
    entry = pack(
        tmp_path / "copy", tmp_path / "again", name=NAME, urls=("https://example.org/", "https://b.org/x.tar.gz")
    )
    assert (tmp_path / "again" / entry.filename).read_bytes() == (packed / entry.filename).read_bytes()
    assert entry.urls == (f"https://example.org/{entry.filename}", "https://b.org/x.tar.gz")
    written = json.loads((packed / f"{NAME}.json").read_text())[NAME]
    assert written["size"] == written["size compressed (bytes)"] == (packed / entry.filename).stat().st_size
    assert (written["documents"], written["jpq"]["m"], written["jpq"]["nbits"]) == (300, 8, 4)
    assert written["jpq"]["encoder"]["document"] == "encoder"  # not the path on this machine
    text = (packed / entry.readme).read_text()
    assert str(tiny) not in text
    assert entry.md5 in text
    assert f"--index {NAME} --encoder jpq" in text


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("changed", "docid is missing or not the file that was written"),
        ("no encoder", "has no query_encoder"),
        ("no index", "no jpq.json"),
    ],
)
def test_pack_refuses_what_could_not_be_searched(tiny, tmp_path, fault, reason):
    index = shutil.copytree(tiny / "index", tmp_path / "index")
    if fault == "changed":
        (index / "docid").write_text("")
    elif fault == "no index":
        (index / "jpq.json").unlink()
    else:
        shutil.rmtree(index / "query_encoder")
        record = json.loads((index / "jpq.json").read_text())
        record["sha256"] = {name: value for name, value in record["sha256"].items() if "/" not in name}
        del record["digest"]
        (index / "jpq.json").write_text(json.dumps(record))
    with pytest.raises(JPQError, match=reason):
        pack(index, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_packing_tells_nothing_of_this_machine(tiny, tmp_path):
    directory = shutil.copytree(tiny / "index", tmp_path / "index")
    record = json.loads((directory / "jpq.json").read_text())
    assert record["encoder"]["name_or_path"] == str(tiny / "encoder")
    record["training"] = {"data": {"topics": str(tmp_path / "secret" / "topics.tsv")}}
    del record["digest"]
    (directory / "jpq.json").write_text(json.dumps(record))
    entry = pack(directory, tmp_path / "share", name="tiny.public")
    with tarfile.open(tmp_path / "share" / entry.filename) as archive:
        inside = archive.extractfile(next(name for name in archive.getnames() if name.endswith("jpq.json"))).read()
    packed = json.loads(inside)
    assert packed["encoder"]["name_or_path"] == "encoder"
    assert packed["training"]["data"] == {"topics": "topics.tsv"}
    texts = [inside.decode(), *(path.read_text() for path in (tmp_path / "share").glob("*.[jR]*"))]
    assert not [text for text in texts if str(tmp_path) in text or str(tiny) in text]
