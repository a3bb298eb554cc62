"""Help, wrong arguments and missing files cost no torch: heavy imports come after the command line is understood."""

import subprocess
import sys

import pytest

_HEAVY = ("torch", "transformers", "sentence_transformers", "faiss", "pyserini", "accelerate")
_CODE = f"""
import runpy, sys
module, sys.argv = sys.argv[1], ["x", *sys.argv[2:]]
try:
    runpy.run_module(module, run_name="__main__", alter_sys=True)
except SystemExit as end:
    print("status", end.code)
print([name for name in {_HEAVY} if name in sys.modules])
"""


@pytest.mark.parametrize(
    ("module", "arguments", "status"),
    [
        ("train", ["--help"], "status 0"),
        ("train", ["--m", "many"], "status 2"),
        ("train", ["--embeddings", "e", "--encoder", "n", "--output", "o", "--m", "0"], "status error: --m 0 is not"),
        ("doctor", ["--help"], "status 0"),
        ("eval.compare", ["--help"], "status 0"),
    ],
)
def test_nothing_heavy_is_imported(module, arguments, status):
    done = subprocess.run(
        [sys.executable, "-c", _CODE, f"jpq_pyserini.{module}", *arguments], capture_output=True, text=True, timeout=100
    )
    *_, said, heavy = done.stdout.splitlines()
    assert said.startswith(status)
    assert heavy == "[]"
