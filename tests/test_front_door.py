"""``jpq`` and ``python -m jpq_pyserini``: the list of commands, and the commands it runs."""

import ast
import sys
import time
from pathlib import Path

import pytest

import jpq_pyserini
from jpq_pyserini.__main__ import COMMANDS, main

from helpers.processes import run_python

PACKAGE = Path(jpq_pyserini.__file__).parent
MODULES = {name: module for group in COMMANDS.values() for name, (module, _) in group.items()}


@pytest.mark.slow
def test_every_module_that_can_be_run_is_listed():
    runnable = {
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        for path in PACKAGE.rglob("*.py")
        if any(
            isinstance(node, ast.Call) and ast.unparse(node).removeprefix("cli.") == "run_main(main)"
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        )
    }
    assert runnable - {"__main__", "eval.reproduce.collection"} == set(MODULES.values())


@pytest.mark.parametrize("arguments", [[], ["--help"], ["help"], ["-h"]])
def test_the_list_comes_without_anything_heavy(arguments):
    program = "import sys; from jpq_pyserini.__main__ import main; main(sys.argv[1:]); print(len(sys.modules))"
    shown = run_python("-c", program, *arguments).stdout
    assert all(f"\n  {name} " in shown for name in MODULES)
    assert int(shown.splitlines()[-1]) < 200  # NumPy alone would bring more


def test_help_and_mistakes_answer_at_once():
    def best_of_three(*arguments):
        seconds = []
        for _ in range(3):
            start = time.perf_counter()
            run_python(*arguments, check=False)
            seconds.append(time.perf_counter() - start)
        return min(seconds)

    bare = best_of_three("-c", "pass")
    for arguments in (["--help"], ["trian"]):
        assert best_of_three("-m", "jpq_pyserini", *arguments) - bare < 0.5


@pytest.mark.parametrize(
    ("wrong", "meant"), [("trian", "train"), ("fuse", "fusion"), ("compar", "compare"), ("docter", "doctor")]
)
def test_near_misses(wrong, meant):
    done = run_python("-m", "jpq_pyserini", wrong, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: jpq {wrong}: no such command; did you mean {meant}")
    assert done.stdout == ""


def test_nothing_is_near():
    done = run_python("-m", "jpq_pyserini", "xyzzy", check=False)
    assert done.stderr == "error: jpq xyzzy: no such command; `jpq --help` lists all\n"


def test_a_command_runs_as_its_module_does(tmp_path):
    run, qrels = tmp_path / "run.txt", tmp_path / "qrels.txt"
    run.write_text("1 Q0 a 1 2.0 t\n1 Q0 b 2 1.0 t\n")
    qrels.write_text("1 0 b 1\n")
    arguments = ["--qrels", qrels, "--run", f"X={run}", "--measures", "RR@10"]
    through_jpq = run_python("-m", "jpq_pyserini", "compare", *arguments)
    assert "0.500" in through_jpq.stdout
    assert through_jpq.stdout == run_python("-m", "jpq_pyserini.eval.compare", *arguments).stdout
    missing = run_python("-m", "jpq_pyserini", "compare", "--qrels", qrels, "--run", tmp_path / "none", check=False)
    assert (missing.returncode, missing.stderr) == (1, f"error: no such run file: {tmp_path / 'none'}\n")


def test_the_console_script():
    script = Path(sys.executable).with_name("jpq")
    assert script.exists(), "install the package: pip install -e ."
    assert "usage: jpq compare" in run_python(script, "help", "compare").stdout
    assert run_python(script, "--version").stdout == f"jpq_pyserini {jpq_pyserini.__version__}\n"


@pytest.mark.parametrize("name", MODULES)
def test_help_of_every_command(name, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["jpq"])
    monkeypatch.setenv("COLUMNS", "100")
    with pytest.raises(SystemExit) as end:
        main([name, "--help"])
    assert end.value.code == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: jpq {name} ")  # so its parser comes from cli.new_parser
