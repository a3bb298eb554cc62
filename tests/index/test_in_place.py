"""Directories that are replaced: by two writers at once, under readers, and with damage in them."""

import json
import subprocess
import sys
import threading

import pytest

from jpq_pyserini import JPQError, JPQIndex
from jpq_pyserini.data.flat import FlatFolder
from jpq_pyserini.index import IndexRecord
from jpq_pyserini.index.__main__ import main
from jpq_pyserini.index.directory import IndexDirectory
from jpq_pyserini.storage import locked

from helpers.codes import make_index, random_embeddings


def flat(path, count, prefix, seed=5):
    FlatFolder.write(path, [f"{prefix}{row}" for row in range(count)], [random_embeddings(count, seed=seed)])
    return path


@pytest.mark.slow
def test_both_of_two_additions_in_place_survive(tmp_path):
    make_index().save(tmp_path / "ix")
    command = [sys.executable, "-m", "jpq_pyserini.index", "add", "--in-place", "--index", str(tmp_path / "ix")]
    with locked(tmp_path / "ix"):  # until both have started, so that they cannot miss each other
        writers = [
            subprocess.Popen([*command, "--embeddings", str(flat(tmp_path / name, 50, name))], stderr=subprocess.PIPE)
            for name in ("a", "b")
        ]
        said = [writer.stderr.readline() for writer in writers]
    assert all(b"another process is writing" in line for line in said)
    assert [writer.communicate()[1] for writer in writers] == [b"", b""]
    assert [writer.returncode for writer in writers] == [0, 0]
    opened = JPQIndex.open(tmp_path / "ix", verify=True)
    assert {docid[0] for docid in opened.docids[100:]} == {"a", "b"}
    assert len(opened) == 200
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "ix"]


def test_readers_see_the_old_index_or_the_new_one(tmp_path):
    one, two = make_index(100), make_index(101)
    one.save(tmp_path / "ix")
    failures, seen, stop = [], set(), threading.Event()

    def read():
        while not stop.is_set():
            try:
                parts = IndexDirectory.open(tmp_path / "ix")
                seen.add((len(parts.docids), parts.faiss_index.ntotal, parts.record.count))
            except Exception as error:
                failures.append(error)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for swap in range(300):
        for index in (two, one):
            index.save(tmp_path / "ix", replace_existing=True)
        if swap >= 5 and len(seen) == 2:  # a busy machine may let readers see one only, for a while
            break
    stop.set()
    for reader in readers:
        reader.join()
    assert failures == []
    assert seen == {(100, 100, 100), (101, 101, 101)}


@pytest.mark.parametrize("command", ["add", "add in place", "convert", "build", "merge"])
def test_nothing_is_derived_from_damage(tmp_path, monkeypatch, command):
    make_index().save(tmp_path / "ix")
    content = bytearray((tmp_path / "ix" / "index").read_bytes())
    content[-100] ^= 64  # a code: nothing but its sha256 gives it away
    (tmp_path / "ix" / "index").write_bytes(content)
    monkeypatch.setenv("JPQ_VERIFY", "0")
    JPQIndex.open(tmp_path / "ix")
    new, ix, source = str(tmp_path / "new"), str(tmp_path / "ix"), str(flat(tmp_path / "flat", 5, "x"))
    arguments = {
        "add": ["add", "--index", ix, "--embeddings", source, "--output", new],
        "add in place": ["add", "--index", ix, "--embeddings", source, "--in-place"],
        "convert": ["convert", "--index", ix, "--output", new],
        "build": ["build", "--like", ix, "--embeddings", source, "--output", new],
        "merge": ["merge", "--indexes", ix, ix, "--output", new],
    }[command]
    with pytest.raises(JPQError, match=r"ix: index is missing or not the file that was written.*copy the directory"):
        main(arguments)
    assert (tmp_path / "ix" / "index").read_bytes() == bytes(content)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["flat", "ix"]


@pytest.mark.parametrize("kept", [{}, {"docid": 1}])
def test_a_record_without_checksums_is_damage(tmp_path, kept):
    make_index().save(tmp_path / "ix")
    path = tmp_path / "ix" / "jpq.json"
    record = json.loads(path.read_text())
    record["sha256"] = {name: digest for name, digest in record["sha256"].items() if name in kept}
    path.write_text(json.dumps(record))
    with pytest.raises(JPQError, match=r"index, .*codec.safetensors, jpq.json is missing or not"):
        JPQIndex.open(tmp_path / "ix", verify=True)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("count", None),
        ("count", -1),
        ("count", 10**30),
        ("count", "600"),
        ("m", "x"),
        ("m", 6.5),
        ("dimension", True),
        ("sha256", []),
        ("sha256", {"index": 5}),
        ("history", 1),
        ("history", ["x"]),
        ("training", None),
        ("training", {"curve": [1]}),
        ("lists", 1),
        ("encoder", "x"),
        ("encoder", {"name_or_path": 5}),
        ("versions", {"python": 3}),
    ],
)
def test_values_of_another_type_give_one_line(tmp_path, name, value):
    make_index().save(tmp_path / "ix")
    path = tmp_path / "ix" / "jpq.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), name: value}))
    with pytest.raises(JPQError, match=rf"jpq.json is damaged \({name}.*: copy the index directory again") as raised:
        IndexRecord.read(tmp_path / "ix")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("content", ["[]", "null", "[" * 100_000, '{"format_version": %s}' % ("9" * 5000), "\x00"])
def test_a_record_that_is_none(tmp_path, content):
    (tmp_path / "jpq.json").write_text(content)
    with pytest.raises(JPQError, match=r"jpq.json (is damaged|has format version)"):
        IndexRecord.read(tmp_path)


def test_more_that_a_later_release_wrote_is_kept_or_left_out(tmp_path):
    make_index().save(tmp_path / "ix")
    path = tmp_path / "ix" / "jpq.json"
    record = json.loads(path.read_text())
    record |= {"later": 1, "encoder": {"name_or_path": "x", "later": 2}, "training": {"later": [3], "curve": []}}
    path.write_text(json.dumps(record))
    read = IndexRecord.read(tmp_path / "ix")
    assert read.encoder == record["encoder"]
    assert read.training == record["training"]
