"""Outputs: what they may replace, one writer at a time, and what dead writers leave."""

import os
import signal
import stat
import subprocess
import sys
import threading
import time

import pytest

from jpq_pyserini.errors import JPQError
from jpq_pyserini.storage import (
    check_output,
    check_outputs,
    locked,
    new_directory,
    new_file,
    replacement,
)


def write(path, text="new"):
    with new_file(path) as file:
        file.write(text)


def test_a_fifo_is_written_into(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    got = []
    reader = threading.Thread(target=lambda: got.append((tmp_path / "fifo").read_text()), daemon=True)
    reader.start()
    write(tmp_path / "fifo", "text")
    reader.join(10)
    assert got == ["text"]
    assert stat.S_ISFIFO((tmp_path / "fifo").stat().st_mode)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may make a device")
def test_a_device_stays_a_device(tmp_path):
    try:
        os.mknod(tmp_path / "null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        write(tmp_path / "null")
    except PermissionError:
        pytest.skip("devices cannot be made or opened here")
    assert stat.S_ISCHR((tmp_path / "null").stat().st_mode)


def test_links_are_followed_and_modes_kept(tmp_path):
    (tmp_path / "there").mkdir()
    target, link = tmp_path / "there" / "file", tmp_path / "link"
    target.write_text("old")
    target.chmod(0o640)
    link.symlink_to(target)
    write(link)
    assert link.is_symlink()
    assert target.read_text() == "new"
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    target.chmod(0o444)
    with pytest.raises(JPQError, match=r"link is read-only: name another output"):
        write(link, "newer")
    assert target.read_text() == "new"
    (tmp_path / "dangling").symlink_to(tmp_path / "there" / "none")
    write(tmp_path / "dangling")
    assert (tmp_path / "there" / "none").read_text() == "new"


@pytest.mark.parametrize("name", ["", ".", "folder"])
def test_folders_are_refused_before_the_work(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(JPQError, match="is a folder: name a file"):
        check_output(name)
    with pytest.raises(JPQError, match="is a file, not a folder"):
        check_output("file/inside")


def test_an_output_is_no_input(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.txt").write_text("")
    (tmp_path / "link").symlink_to("run.txt")
    check_outputs(["out", None, "/dev/null", "/dev/null"], [tmp_path / "run.txt", None, "none"])
    for output in ("run.txt", "./run.txt", "link"):
        with pytest.raises(JPQError, match="is an input of this command"):
            check_outputs(["out", output], [tmp_path / "run.txt"])
    with pytest.raises(JPQError, match="named for two outputs"):
        check_outputs(["out", tmp_path / "out"], [])


_KILLED = """
import sys, time
from jpq_pyserini.storage import new_directory, new_file
with (new_directory if sys.argv[1] == "directory" else new_file)(sys.argv[2]):
    print("begun", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("kind", ["directory", "file"])
def test_what_killed_writers_left_is_removed_by_the_next_one(tmp_path, kind):
    def begin():
        process = subprocess.Popen([sys.executable, "-c", _KILLED, kind, tmp_path / "out"], stdout=subprocess.PIPE)
        assert process.stdout.readline() == b"begun\n"
        return process

    dead, alive = begin(), begin()
    try:
        dead.send_signal(signal.SIGKILL)
        dead.wait()
        assert len(list(tmp_path.iterdir())) == 2
        if kind == "directory":
            with new_directory(tmp_path / "out") as folder:
                (folder / "a").write_text("")
        else:
            write(tmp_path / "out")
        assert sorted(path.name == "out" for path in tmp_path.iterdir()) == [False, True]  # and the living one's
    finally:
        alive.kill()
        alive.wait()


def test_two_writers_of_one_new_directory(tmp_path):
    def make(name, meanwhile):
        with new_directory(tmp_path / "out") as folder:
            (folder / name).write_text("")
            meanwhile()

    with pytest.raises(JPQError, match="exists already"):
        make("a", lambda: make("b", lambda: None))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["b"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("exchange", [True, False])
def test_a_replacement_takes_the_place_or_leaves_all_as_it_was(tmp_path, monkeypatch, exchange):
    if not exchange:
        monkeypatch.setattr("jpq_pyserini.storage._exchanged", lambda *_: False)
    for text in ("one", "two"):
        with replacement(tmp_path / "out") as folder:
            (folder / "a").write_text(text)
        assert (tmp_path / "out" / "a").read_text() == text
    with pytest.raises(ZeroDivisionError), replacement(tmp_path / "out") as folder:
        (folder / "a").write_text(str(1 / 0))
    assert (tmp_path / "out" / "a").read_text() == "two"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_the_lock_lets_one_in_at_a_time(tmp_path):
    inside, order, said = [], [], []

    def work(number):
        for _ in range(5):
            with locked(tmp_path / "out", said.append), locked(tmp_path / "out"):  # again, by the same thread
                inside.append(number)
                assert len(inside) == 1
                time.sleep(0.002)
                order.append(inside.pop())

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(order) == sorted([0, 1, 2, 3] * 5)
    assert list(tmp_path.iterdir()) == []
    assert said
    assert all("another process is writing" in line for line in said)


def test_names_that_are_no_text_are_written_as_escapes_and_the_root_is_no_output(tmp_path):
    with new_file(tmp_path / "facts.json") as file:
        file.write('{"command": "--output \udcff é"}')
    assert (tmp_path / "facts.json").read_bytes() == '{"command": "--output \\udcff é"}'.encode()
    with pytest.raises(JPQError, match="/ is a folder of the system"), locked("/"):
        pass


def test_no_benchmark_replaces_what_it_reads(tmp_path):
    from argparse import Namespace

    from jpq_pyserini.bench.records import check_record

    (tmp_path / "topics.tsv").write_text("q\ttext\n")
    topics = str(tmp_path / "topics.tsv")
    check_record(Namespace(output=str(tmp_path / "new.json"), topics=topics, index=[str(tmp_path)]))
    for given in ({"topics": topics}, {"index": ["none", str(tmp_path)]}):
        with pytest.raises(JPQError, match="is an input of this command"):
            check_record(Namespace(output=topics, **given))
