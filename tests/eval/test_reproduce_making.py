"""What an experiment makes: again when it is outdated, and not by half where a command is stopped or fails."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest

from jpq_pyserini.errors import JPQError
from jpq_pyserini.eval.reproduce import __main__ as command

SLOW = """\
title: slow
topics: [{topic_key: t, topics: x, eval_key: y}]
steps:
  - name: half
    RESUMES
    command:
      - mkdir -p $output.kept $output.partly
      - python -c "import time; open('STARTED', 'w').close(); time.sleep(DURATION)"
      - mv $output.partly $output
conditions: [{name: c, needs: half, command: cp half/none $output}]
"""


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
@pytest.mark.parametrize("resumes", [pytest.param(False, marks=pytest.mark.slow), True])
def test_a_stopped_command_leaves_no_output(tmp_path, resumes, number):
    out, started = tmp_path / "out", tmp_path / "started"
    text = SLOW.replace("RESUMES", f"resumes: {str(resumes).lower()}").replace("STARTED", str(started))
    (tmp_path / "slow.yaml").write_text(text.replace("DURATION", "300"))
    process = subprocess.Popen(
        [sys.executable, "-m", "jpq_pyserini.eval.reproduce", tmp_path / "slow.yaml", "--directory", out],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ,
    )
    for _ in range(3000):
        if started.exists():
            break
        time.sleep(0.02)
    process.send_signal(number)
    _, messages = process.communicate(timeout=30)
    assert process.returncode == 130
    assert messages.splitlines()[-1] == "stopped: during step half; the same command continues from here"
    assert not (out / "half").exists()
    left = [path.name for path in (out / ".reproduce" / "partial").glob("*/*")]
    assert sorted(left) == (["half.kept", "half.partly"] if resumes else [])
    if resumes:  # it continues from what it kept, and the step is done; the condition then fails in one line
        (tmp_path / "slow.yaml").write_text(text.replace("DURATION", "0"))
        with pytest.raises(JPQError) as caught:
            command.main([str(tmp_path / "slow.yaml"), "--directory", str(out)])
        assert (out / "half").is_dir()
        assert str(caught.value) == (
            "condition c on t: the command ended with status 1 (its messages are above): "
            "cp half/none " + str(out / ".reproduce/partial/run.slow.c.t.txt/run.slow.c.t.txt")
        )


REBUILT = """\
title: rebuilt
rebuild: true
variables:
  source: {}
  tail: {default: ""}
  times: {default: 1, least: 1}
  kind: {default: "", choices: [x, y], goes_with: tail}
topics: [{topic_key: t, topics: x, eval_key: y}]
steps:
  - {name: copy, command: "python -c \\"import shutil, sys; shutil.copy(*sys.argv[1:3])\\" $source $output [$tail]"}
  - {name: other, command: "python -c \\"import sys; open(sys.argv[1], 'w')\\" $output $times"}
  - {name: after, needs: copy, command: cp copy $output}
conditions:
  - {name: first, needs: after, command: cp after $output}
  - {name: second, needs: other, runs: first, command: cp $first $output}
"""


def _made(tmp_path, capsys, *settings):
    """Run the experiment; return the names of what was made."""
    (tmp_path / "rebuilt.yaml").write_text(REBUILT)
    given = ["--directory", str(tmp_path / "out"), "--skip-eval", "--set", f"source={tmp_path / 'source'}"]
    command.main([str(tmp_path / "rebuilt.yaml"), *given, *(f"--set={setting}" for setting in settings)])
    return [line.split()[2] for line in capsys.readouterr().err.splitlines() if line.startswith("[")]


def test_rebuild_makes_again_what_is_outdated_and_what_needs_it(tmp_path, capsys):
    source, out = tmp_path / "source", tmp_path / "out"
    source.write_text("one")
    everything = ["copy", "after", "first", "other", "second"]
    assert _made(tmp_path, capsys) == everything
    assert _made(tmp_path, capsys) == []
    assert _made(tmp_path, capsys, "times=2") == ["other", "second"]
    source.write_text("other words")
    assert _made(tmp_path, capsys, "times=2") == ["copy", "after", "first", "second"]
    assert (out / "run.rebuilt.second.t.txt").read_text() == "other words"
    assert _made(tmp_path, capsys, "times=2", "tail=x") == ["copy", "after", "first", "second"]
    # stopped after copy: what needs it is older
    (out / "after").unlink()
    (out / ".reproduce" / "made" / "after.json").unlink()
    assert _made(tmp_path, capsys, "times=2", "tail=x") == ["after", "first", "second"]
    # what nobody knows the making of is left alone
    (out / ".reproduce" / "made" / "copy.json").unlink()
    (out / "copy").write_text("mine")
    assert _made(tmp_path, capsys, "times=2") == []
    assert (out / "copy").read_text() == "mine"


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("times=0", "rebuilt: times '0': it must be a whole number of at least 1"),
        ("times=1.5", "rebuilt: times '1.5': it must be"),
        ("kind=z", "rebuilt: kind 'z': choose one of x, y"),
        ("kind=x", "rebuilt: kind x needs tail, too"),
    ],
)
def test_values_that_a_variable_may_not_have(tmp_path, capsys, setting, message):
    with pytest.raises(JPQError, match=re.escape(message)):
        _made(tmp_path, capsys, setting)


def test_a_quiet_command_that_fails_tells_its_last_line_and_its_log(tmp_path):
    (tmp_path / "q.yaml").write_text(
        "title: quiet\ntopics: [{topic_key: t}]\nconditions:\n"
        '  - {name: c, quiet: true, command: "python -c \'raise SystemExit(\\"no luck\\")\' $output"}\n'
    )
    with pytest.raises(JPQError, match=r"status 1 \(no luck; all of its messages: .*/run.q.c.t.txt.log\): python -c "):
        command.main([str(tmp_path / "q.yaml"), "--directory", str(tmp_path / "out")])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("c", "condition c on t: the command ended with status 3"),
        ("nothing", "condition nothing on t: the command ended well but made no $output"),
        ("absent", "condition absent on t: cannot run no-such-program: No such file or directory"),
    ],
)
def test_a_failed_command_leaves_no_output(tmp_path, monkeypatch, name, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.yaml").write_text(
        "title: bad\ntopics: [{topic_key: t}]\nconditions:\n"
        "  - {name: c, command: [touch $output, 'python -c \"raise SystemExit(3)\"']}\n"
        "  - {name: nothing, command: 'true $output'}\n  - {name: absent, command: no-such-program $output}\n"
    )
    with pytest.raises(JPQError, match=re.escape(message)):
        command.main(["bad.yaml", "--condition", name])
    assert not list((tmp_path / "runs" / "bad").glob("run*"))
    assert not list((tmp_path / "runs" / "bad" / ".reproduce" / "partial").iterdir())
