"""The quickstart's steps: done once, resumed, stopped."""

import os
import signal
import subprocess
import sys

import pytest

from jpq_pyserini.errors import JPQError
from jpq_pyserini.quickstart.steps import Workspace


def test_a_step_is_done_once_and_again_after_a_change(tmp_path):
    done, output = [], tmp_path / "w" / "out"

    def do(made_from):
        def work():
            done.append(made_from)
            output.write_text(str(made_from))

        return Workspace(tmp_path / "w").step("name", made_from, [output], work)

    first = do(1)
    assert do(1) == first
    assert done == [1]
    assert do(2) != first
    assert done == [1, 2]
    output.write_text("touched")
    do(2)
    assert done == [1, 2, 2]
    output.unlink()
    do(2)
    assert done == [1, 2, 2, 2]


def test_an_interrupted_step_is_done_again_from_nothing(tmp_path):
    workspace, output = Workspace(tmp_path / "w"), tmp_path / "w" / "index"

    def stopped():
        output.mkdir()
        (output / "half").touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        workspace.step("index", 1, [output], stopped)
    Workspace(tmp_path / "w").step("index", 1, [output], lambda: (output.mkdir(), (output / "whole").touch()))
    assert [path.name for path in output.iterdir()] == ["whole"]


def test_what_a_stopped_step_left_is_kept_for_the_same_step_only(tmp_path):
    output, left = tmp_path / "w" / "index", tmp_path / "w" / "index.checkpoint"
    found = []

    def stopped():
        found.append(left.is_dir())
        left.mkdir(exist_ok=True)
        raise KeyboardInterrupt

    for made_from in (1, 1, 2):
        with pytest.raises(KeyboardInterrupt):
            Workspace(tmp_path / "w").step("train", made_from, [output], stopped, left)
    assert found == [False, True, False]


def test_an_interrupted_command_may_finish_what_it_is_at(tmp_path):
    code = (
        "import signal, sys, time\n"
        "def save(*_):\n    time.sleep(1)\n    open(sys.argv[1], 'w').close()\n    sys.exit(130)\n"
        "signal.signal(signal.SIGINT, save)\nprint('ready', flush=True)\ntime.sleep(30)\n"
    )
    parent = (
        "import sys\nfrom pathlib import Path\nfrom jpq_pyserini.quickstart.steps import Workspace\n"
        f"Workspace(Path(sys.argv[1])).command('x', ['-c', {code!r}, sys.argv[1] + '/saved'], 0, [], quiet=False)\n"
    )
    words = [sys.executable, "-u", "-c", parent, str(tmp_path / "w")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert any(line.strip() == "ready" for line in process.stdout)
        os.killpg(process.pid, signal.SIGINT)
        process.communicate(timeout=30)
    assert process.returncode != 0
    assert (tmp_path / "w" / "saved").exists()


def test_a_terminated_quickstart_takes_its_command_with_it(tmp_path):
    (tmp_path / "child.py").write_text("import time\nprint('ready', flush=True)\ntime.sleep(30)\n")
    parent = (
        "import signal, sys\nfrom jpq_pyserini.quickstart.steps import _status\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))\n_status([sys.executable, sys.argv[1]])\n"
    )
    words = [sys.executable, "-c", parent, str(tmp_path / "child.py")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        process.terminate()
        process.stdout.read()  # ends when the child, which holds it too, is gone
        assert process.wait(20) == 143


def test_a_moved_workspace_is_still_done(tmp_path):
    def make(name):
        workspace = Workspace(tmp_path / name)
        output = tmp_path / name / "out"
        command = ["-c", "import sys; open(sys.argv[1], 'w').close()", output]
        workspace.command("touch", command, None, [output])
        return workspace.seconds

    assert make("before")
    (tmp_path / "before").rename(tmp_path / "after")
    assert not make("after")


def test_a_command_that_fails_names_its_last_line_and_its_log(tmp_path, capsys):
    workspace = Workspace(tmp_path / "w")
    command = ["-c", "import sys; print('why it failed'); sys.exit(3)"]
    with pytest.raises(JPQError, match=r"step 'bad' ended with exit status 3: why it failed \(all of it: .*bad.log\)"):
        workspace.command("bad", command, None, [tmp_path / "w" / "out"])
    assert "$ python -c 'import sys;" in capsys.readouterr().out


def test_a_directory_of_other_things_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(JPQError, match="no quickstart's directory"):
        Workspace(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
