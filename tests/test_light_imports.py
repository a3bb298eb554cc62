"""Help, wrong arguments and missing files cost no torch: heavy imports come after the command line is understood."""

import json
import subprocess
import sys

import pytest

_HEAVY = ("torch", "transformers", "sentence_transformers", "faiss", "pyserini", "accelerate", "pandas", "scipy", "ray")
# A process that has imported nothing runs each command in a fork of itself.
_CODE = f"""
import contextlib, importlib, io, json, os, sys
from jpq_pyserini.__main__ import _BY_NAME
for command in json.loads(sys.argv[1]):
    reader, writer = os.pipe()
    if os.fork() == 0:
        sys.argv[:] = [f"jpq {{command[0]}}", *command[1:]]
        status = None
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            try:
                importlib.import_module("jpq_pyserini." + _BY_NAME[command[0]][0]).main()
            except BaseException as end:
                status = getattr(end, "code", str(end))
        os.write(writer, json.dumps([status, [name for name in {_HEAVY} if name in sys.modules]]).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        print(answer.read())
    os.wait()
"""
_GROUPS = {
    "start": (["doctor", "--help"], ["prebuilt", "--help"], ["quickstart", "--help"], ["prebuilt", "wrong"]),
    "train": (
        ["train", "--help"],
        ["train", "--m", "many"],
        ["train", "--embeddings", "e", "--encoder", "n", "--output", "o", "--m", "0"],
    ),
    "index": (
        ["index", "--help"],
        *([["index", name, "--help"] for name in ("embed", "add", "merge", "build", "convert", "vectors", "describe")]),
        ["index", "embed", "--corpus", "c"],
    ),
    "distributed": tuple(["distributed", *name, "--help"] for name in ([], ["build"], ["embed"], ["search"])),
    "eval": tuple(
        [name, "--help"]
        for name in ("compare", "fusion", "rerank", "rerank-train", "figures", "submission", "expansion", "reproduce")
    ),
    "bench": (
        *([name, "--help"] for name in ("latency", "gpu", "backends", "nprobe", "memory", "scale", "train-step")),
        ["latency", "--documents", "many", "--output", "o"],
        ["gpu", "--minutes", "few", "--output", "o"],
        ["train-step", "--m", "x"],
        ["nprobe", "--index"],
    ),
}


_SLOW = {*_GROUPS} - {"train"}


@pytest.mark.parametrize(
    "group", [pytest.param(group, marks=[pytest.mark.slow] if group in _SLOW else []) for group in _GROUPS]
)
def test_nothing_heavy_is_imported(group):
    commands = _GROUPS[group]
    arguments = [sys.executable, "-c", _CODE, json.dumps(commands)]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=300)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == len(commands), done.stderr
    for command, (status, heavy) in zip(commands, answers, strict=True):
        assert heavy == [], command
        expected = (
            0 if "--help" in command else ("--m 0 is not a whole number from 1 to 2147483647" if "0" in command else 2)
        )
        assert status == expected, command
