"""Commands in processes of their own that begin at once: forked from one that has imported what they need."""

import multiprocessing
import os
import sys
from pathlib import Path

from jpq_pyserini.__main__ import main
from jpq_pyserini.cli import run_main

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    [
        *("jpq_pyserini.index.__main__", "jpq_pyserini.train.__main__", "jpq_pyserini.prebuilt.packing"),
        *("jpq_pyserini.eval.rerank.__main__", "jpq_pyserini.eval.fusion.__main__", "sentence_transformers"),
    ]
)


class Forked:
    """``jpq`` with the given words, in ``folder``; begins when ``gate``, a barrier, opens.

    Attributes:
        process: the process; its exit code is that of the command.
    """

    def __init__(self, words, folder: Path, gate=None):
        self._said = folder.parent / f"said-{id(self)}"
        work = tuple(map(str, words)), str(folder), str(self._said), dict(os.environ), gate
        self.process = _CONTEXT.Process(target=_run, args=work, daemon=True)
        self.process.start()

    def wait(self, seconds: float = 120) -> tuple[int | None, str]:
        """Return the exit status, None if it took too long, and the last line on stderr."""
        self.process.join(seconds)
        status = self.process.exitcode
        if status is None:
            self.process.kill()
            self.process.join()
        lines = self._said.read_text(errors="replace").splitlines() if self._said.exists() else []
        self._said.unlink(missing_ok=True)
        return status, lines[-1] if lines else ""


def barrier(parties: int):
    """Return a gate that opens when so many commands stand before it."""
    return _CONTEXT.Barrier(parties)


def _run(words, folder, said, environment, gate) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    handle = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(handle, stream)
    sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
    if gate is not None:
        gate.wait(100)
    run_main(lambda: main(words))
