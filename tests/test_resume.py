"""What a stopped command leaves: for the same command on the same inputs only, and whole."""

import os

import numpy as np
import pytest

from jpq_pyserini.errors import JPQError
from jpq_pyserini.resume import GrowingArray, GrowingLines, WorkFolder, fingerprint


def test_only_the_same_command_goes_on(tmp_path):
    path = tmp_path / "out.work"
    WorkFolder(path, {"codec": "b"}, resume=True).claim()
    WorkFolder(path, {"codec": "a", "files": ("x", None)}, resume=False).claim()  # the other one had kept nothing
    (path / "kept").write_text("")
    with pytest.raises(JPQError, match=r"out.work is what a stopped run left: add --resume to continue from it"):
        WorkFolder(path, {"codec": "a", "files": ("x", None)}, resume=False)
    with pytest.raises(JPQError, match="comes from a run with codec='a', this one has 'b': give the same, or remove"):
        WorkFolder(path, {"codec": "b"}, resume=True)
    work = WorkFolder(path, {"codec": "a", "files": ("x", None)}, resume=True)
    assert (path / "kept").exists()
    work.discard()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [None, "", "[]", "null", "[" * 100_000])
def test_a_folder_that_no_run_of_ours_left_is_kept_and_an_empty_one_is_used(tmp_path, content):
    path = tmp_path / "work"
    path.mkdir()
    if content is not None:
        (path / "run.json").write_text(content)
    WorkFolder(path, {"codec": "a"}, resume=False).claim()
    assert [file.name for file in path.iterdir()] == ["run.json"]
    (path / "theirs").write_text("")
    (path / "run.json").unlink()
    if content is not None:
        (path / "run.json").write_text(content)
    with pytest.raises(JPQError, match=r"run.json, so no stopped run left it|damaged.*: remove .* and start again"):
        WorkFolder(path, {"codec": "a"}, resume=True)
    assert (path / "theirs").exists()


@pytest.mark.parametrize("cut", [0, 1, 23, 24, 25, 48])
def test_an_interrupted_append_leaves_no_rows(tmp_path, cut):
    rows = np.arange(12, dtype=np.float32).reshape(4, 3)
    array = GrowingArray(tmp_path / "rows", np.float32, 3, together=2)
    assert len(array) == 0
    assert array.read().shape == (0, 3)
    array.append(rows[:2])
    array.append(rows[2:])
    assert np.array_equal(array.mapped(), rows)
    with open(tmp_path / "rows", "r+b") as file:
        file.truncate(cut)
    again = GrowingArray(tmp_path / "rows", np.float32, 3, together=2)
    assert len(again) == cut // 24 * 2
    assert np.array_equal(again.read(), rows[: len(again)])


def test_a_line_cut_off_by_a_stop_is_dropped(tmp_path):
    lines = GrowingLines(tmp_path / "lines")
    assert lines.read() == []
    lines.append(["é", 0.1])
    lines.append(None)
    with open(tmp_path / "lines", "ab") as file:
        file.write('{"é'.encode()[:-1])
    again = GrowingLines(tmp_path / "lines")
    again.append({"a": 1})
    assert again.read() == [["é", 0.1], None, {"a": 1}]
    (tmp_path / "file").write_text("")
    with pytest.raises(JPQError, match="is no folder of this version: remove it"):
        WorkFolder(tmp_path / "file", {}, resume=True)


def test_fingerprints_are_of_contents(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").write_text("1")
    assert fingerprint(tmp_path / "a") == fingerprint(tmp_path / "b")
    (tmp_path / "b" / "x").write_text("2")
    assert fingerprint(tmp_path / "a") != fingerprint(tmp_path / "b")
    assert fingerprint(tmp_path / "a" / "x") != fingerprint(tmp_path / "b" / "x")
    assert fingerprint("msmarco-passage-dev") == "msmarco-passage-dev"
    assert fingerprint(None) is None


def test_a_full_disk_names_the_file(tmp_path):
    os.symlink("/dev/full", tmp_path / "lines")
    with pytest.raises(OSError, match="No space left") as error:
        GrowingLines(tmp_path / "lines").append("x")
    assert error.value.filename == str(tmp_path / "lines")
