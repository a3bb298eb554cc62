"""Tarballs: the same bytes every time; nothing outside, no links, no devices, nothing half-unpacked."""

import gzip
import io
import os
import tarfile

import pytest

from jpq_pyserini import JPQError
from jpq_pyserini.prebuilt.archive import pack, unpack
from jpq_pyserini.prebuilt.entries import Entry
from jpq_pyserini.prebuilt.store import install


def everything(name):
    return True


def tarball(path, *members, mode="w:gz"):
    """Write members (name, type or bytes, link target)."""
    with tarfile.open(path, mode) as tar:
        for name, content, *target in members:
            member = tarfile.TarInfo(name)
            if isinstance(content, bytes) and len(content) > 1:
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
            else:
                member.type, member.linkname = content, target[0] if target else ""
                tar.addfile(member)
    return path


def test_same_files_same_bytes(tmp_path):
    for turn in ("one", "two"):
        folder = tmp_path / turn
        (folder / "inner").mkdir(parents=True)
        for name in ("b", "inner/a") if turn == "one" else ("inner/a", "b"):
            (folder / name).write_text(name)
        os.utime(folder / "b", (1, 1) if turn == "one" else None)
        (folder / "b").chmod(0o600 if turn == "one" else 0o755)
        (folder / "not listed").write_text(turn)
        pack(folder, ["b", "inner/a"], tmp_path / f"{turn}.tar.gz", "top")
    assert (tmp_path / "one.tar.gz").read_bytes() == (tmp_path / "two.tar.gz").read_bytes()
    with tarfile.open(tmp_path / "one.tar.gz") as tar:
        assert tar.getnames() == ["top", "top/inner", "top/b", "top/inner/a"]
        assert tar.getmembers()[0].isdir()  # Pyserini looks for one
    (tmp_path / "out").mkdir()
    unpack(tmp_path / "one.tar.gz", tmp_path / "out", everything, strip_top=True)
    assert (tmp_path / "out" / "inner" / "a").read_text() == "inner/a"


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ([("top/../../evil", b"evil")], "outside"),
        ([("/tmp/evil", b"evil")], "outside"),
        ([("..", tarfile.DIRTYPE)], "outside"),
        ([("top\\..\\evil", b"evil")], "more than one folder"),
        ([("top/link", tarfile.SYMTYPE, "/etc/passwd")], "a link"),
        ([("top/link", tarfile.SYMTYPE, ".."), ("top/link/evil", b"evil")], "a link"),
        ([("top/a", b"first"), ("top/b", tarfile.LNKTYPE, "top/a")], "a link"),
        ([("top/null", tarfile.CHRTYPE)], "a device"),
        ([("top/disk", tarfile.BLKTYPE)], "a device"),
        ([("top/pipe", tarfile.FIFOTYPE)], "a device"),
        ([("top/a", b"first"), ("top/a", b"second")], "twice"),
        ([("top/a", b"first"), ("top/a/b", b"second")], "twice"),
        ([("top/a", b"first"), ("other/a", b"second")], "more than one folder"),
        ([("file", b"no folder")], "more than one folder"),
        ([(f"top/{number}", b"ab") for number in range(2001)], "more files"),
        ([(f"top/{'a/' * 20}b", b"deep")], "deeper folders"),
        ([(f"top/{'a' * 1500}", b"long")], "more files or deeper folders"),
        ([], "empty"),
    ],
)
def test_bad_members_are_refused(tmp_path, members, reason):
    (tmp_path / "out").mkdir()
    with pytest.raises(JPQError, match=reason) as caught:
        unpack(tarball(tmp_path / "bad.tar.gz", *members), tmp_path / "out", everything, strip_top=True)
    assert "bad.tar.gz" in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.tar.gz", "out"]
    assert not [path for path in tmp_path.rglob("*") if path.is_symlink() or path.name == "evil"]


@pytest.mark.parametrize("damage", ["cut", "flipped", "text", "cut tar", "empty"])
def test_damaged_archives(tmp_path, damage):
    content = os.urandom(50_000)
    path = tarball(tmp_path / "bad.tar.gz", ("top/a", content), mode="w" if damage == "cut tar" else "w:gz")
    data = bytearray(path.read_bytes())
    if damage == "flipped":
        data[len(data) // 2] ^= 0xFF
    path.write_bytes({"text": b"<html>", "empty": b""}.get(damage, data[:20_000] if "cut" in damage else data))
    (tmp_path / "out").mkdir()
    with pytest.raises(JPQError, match=r"bad\.tar\.gz is damaged or no tarball"):
        unpack(path, tmp_path / "out", everything, strip_top=True)


def test_more_than_the_disk(tmp_path, monkeypatch):
    path = tarball(tmp_path / "bomb.tar.gz", ("top/zeros", bytes(100_000)))
    monkeypatch.setattr("shutil.disk_usage", lambda where: os.terminal_size((0, 0)) and _Usage())
    (tmp_path / "out").mkdir()
    with pytest.raises(OSError, match="holds 100,000 bytes, 99,999 are free"):
        unpack(path, tmp_path / "out", everything, strip_top=True)


class _Usage:
    free = 99_999


def headers(path, *blocks):
    """Write a tarball by its blocks: (name, type, content)."""
    with gzip.open(path, "wb") as file:
        for name, kind, content in blocks:
            member = tarfile.TarInfo(name)
            member.type, member.size = kind, len(content)
            file.write(member.tobuf(tarfile.GNU_FORMAT) + content + bytes(-len(content) % 512))
        file.write(bytes(1024))
    return path


@pytest.mark.parametrize(
    "blocks",
    [
        [("long", tarfile.GNUTYPE_LONGNAME, bytes(1 << 24)), ("top/a", tarfile.REGTYPE, b"a")],
        [
            ("top/b", tarfile.REGTYPE, b"b"),
            ("pax", tarfile.XHDTYPE, b"a" * (1 << 24)),
            ("top/a", tarfile.REGTYPE, b"a"),
        ],
        [("pax", tarfile.XHDTYPE, b"20 GNU.sparse.map=x\n"), ("top/a", tarfile.REGTYPE, b"a")],
        [("pax", tarfile.XHDTYPE, b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n"), ("top/a", tarfile.REGTYPE, b"a")],
        [("pax", tarfile.XHDTYPE, b"")] * 3000,
    ],
    ids=["long name", "pax header", "sparse map", "sparse map in the data", "headers of headers"],
)
def test_headers_that_no_index_has(tmp_path, blocks):
    (tmp_path / "out").mkdir()
    with pytest.raises(JPQError, match=r"bad\.tar\.gz is damaged or no tarball") as caught:
        unpack(headers(tmp_path / "bad.tar.gz", *blocks), tmp_path / "out", everything, strip_top=True)
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("compression", ["", "gz", "bz2", "xz"])
def test_only_what_is_wanted_is_unpacked(tmp_path, compression):
    path = tarball(tmp_path / "x", ("top/a/b", b"wanted"), ("top/c", b"unwanted"), mode=f"w:{compression}")
    (tmp_path / "out").mkdir()
    unpack(path, tmp_path / "out", "a/b".__eq__, strip_top=True)
    assert [path.name for path in (tmp_path / "out").rglob("*")] == ["a", "b"]
    assert (tmp_path / "out" / "a" / "b").read_bytes() == b"wanted"
    with pytest.raises(JPQError, match="6 bytes where at most 5 are expected"):
        unpack(path, tmp_path / "out", "a/b".__eq__, strip_top=True, most=5)


@pytest.mark.parametrize("fault", ["link", "no record", "changed file", "missing file"])
def test_install_leaves_nothing_half_written(tiny, tmp_path, fault):
    index = tiny / "index"
    names = sorted(str(path.relative_to(index)) for path in index.rglob("*") if path.is_file())
    members = [(f"top/{name}", (index / name).read_bytes()) for name in names]
    if fault == "link":
        members.append(("top/link", tarfile.SYMTYPE, "x"))
    elif fault == "no record":
        members = [member for member in members if member[0] != "top/jpq.json"]
    elif fault == "changed file":
        members = [(name, data + b"d300\n" if name == "top/docid" else data) for name, data in members]
    else:
        members = [member for member in members if member[0] != "top/codec.safetensors"]
    archive = tarball(tmp_path / "x.tar.gz", *members)
    entry = Entry(name="x", urls=("https://example.org/x.tar.gz",))
    with pytest.raises(JPQError, match=r"x\.tar\.gz"):
        install(archive, tmp_path / "cache" / "x", entry)
    assert list((tmp_path / "cache").iterdir()) == []


def test_install_takes_only_the_files_of_the_record(tiny, tmp_path):
    index = tiny / "index"
    names = sorted(str(path.relative_to(index)) for path in index.rglob("*") if path.is_file())
    members = [(f"top/{name}", (index / name).read_bytes()) for name in names]
    archive = tarball(
        tmp_path / "x.tar.gz", *members, ("top/evil.py", b"import os"), ("top/query_encoder/x.bin", b"xx")
    )
    install(archive, tmp_path / "x", Entry(name="x", urls=("https://example.org/x.tar.gz",)))
    assert names == sorted(
        str(path.relative_to(tmp_path / "x")) for path in (tmp_path / "x").rglob("*") if path.is_file()
    )
