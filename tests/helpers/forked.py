"""Commands in processes of their own that begin at once: forked from one that has imported the libraries they need.

Importing torch and transformers is most of what a small command costs. The process that is forked has imported nothing
of Pyserini and has no JVM, so a child is what ``python -m`` would be, a few seconds later.
"""

import atexit
import functools
import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from multiprocessing import forkserver, reduction
from pathlib import Path
from types import SimpleNamespace

from jpq_pyserini.__main__ import main
from jpq_pyserini.cli import run_main
from jpq_pyserini.eval.reproduce import workshop

_LIBRARIES = ["faiss", "pandas", "scipy.stats", "sklearn", "sentence_transformers", "torch", "transformers"]
_LIBRARIES += ["onnxruntime", "openai"]  # and what else Pyserini imports
_LIBRARIES += [f"transformers.models.{name}.modeling_{name}" for name in ("bert", "clip", "dpr", "roberta")]
_AT_ONCE = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}  # read when the libraries are imported


@functools.cache
def _context():
    """The process to fork from, started."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_LIBRARIES)
    before = {name: os.environ.get(name) for name in _AT_ONCE}
    os.environ.update(_AT_ONCE)
    forkserver.ensure_running()
    for name, value in before.items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value
    return context


class Forked:
    """``jpq`` with the given words, in ``folder``; begins when ``gate``, a barrier, opens.

    Attributes:
        process: the process; its exit code is that of the command.
    """

    def __init__(self, words, folder: Path, gate=None, **environment: str):
        self._said = folder.parent / f"said-{id(self)}"
        variables = {**os.environ, **environment}
        work = _jpq, tuple(map(str, words)), folder, variables, self._said, self._said, gate
        self.process = _context().Process(target=_run, args=work, daemon=True)
        self.process.start()

    def poll(self) -> int | None:
        """Return the exit status, None while it runs."""
        return self.process.exitcode

    def kill(self) -> None:
        """Kill it, and wait until it is dead."""
        self.process.kill()
        self.process.join()

    def communicate(self, timeout: float = 120) -> tuple[str, None]:
        """Return what it said; if that takes too long, it is killed."""
        self.process.join(timeout)
        if self.process.exitcode is None:
            self.kill()
        said = self._said.read_text(errors="replace") if self._said.exists() else ""
        self._said.unlink(missing_ok=True)
        return said, None

    def wait(self, seconds: float = 120) -> tuple[int | None, str]:
        """Return the exit status, None if it took too long, and the last line on stderr."""
        self.process.join(seconds)
        status, lines = self.process.exitcode, self.communicate(0)[0].splitlines()
        return status, lines[-1] if lines else ""


def barrier(parties: int):
    """Return a gate that opens when so many commands stand before it."""
    return _context().Barrier(parties)


def fork_steps(patch) -> None:
    """Fork the steps of experiments that are ``python -m module ...``, until ``patch``, a MonkeyPatch, is undone."""

    def start(words, **options):
        modules = words[:2] == [sys.executable, "-m"]
        return _ForkedStep(words[2:], **options) if modules else subprocess.Popen(words, **options)

    patch.setattr(workshop, "subprocess", SimpleNamespace(Popen=start, DEVNULL=subprocess.DEVNULL))


class _ForkedStep:
    """What the workshop needs of a ``subprocess.Popen``."""

    def __init__(self, words, cwd, stdout: int, stderr: int, **_):
        work = _module, words, cwd, dict(os.environ), _Open(stdout), _Open(stderr)
        self._process = _context().Process(target=_run, args=work)
        self._process.start()
        self.pid = self._process.pid

    def wait(self) -> int:
        """Return the exit status."""
        self._process.join()
        return self._process.exitcode


class _Open:
    """An open file by its number, which becomes the number of the same file in a forked process."""

    def __init__(self, number: int):
        self._number = number

    def __reduce__(self):
        return _number_of, (reduction.DupFd(self._number),)


def _number_of(received) -> int:
    return received.detach()


def run_forked(module: str, arguments, cwd, environment: dict[str, str]) -> subprocess.CompletedProcess:
    """Run ``python -m module arguments...`` in a forked process, in just this environment."""
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder) / "out", Path(folder) / "err"
        work = _module, (module, *arguments), cwd or os.getcwd(), environment, out, err
        process = _context().Process(target=_run, args=work)
        process.start()
        process.join(600)
        if process.exitcode is None:
            process.kill()
            raise subprocess.TimeoutExpired([module, *arguments], 600)
        return subprocess.CompletedProcess([module, *arguments], process.exitcode, out.read_text(), err.read_text())


def _jpq(words) -> None:
    run_main(lambda: main(words))


def _module(words) -> None:
    sys.argv[:] = words
    sys.path[:] = ["", *(path for path in sys.path if path not in ("", str(Path(__file__).parents[1])))]
    runpy.run_module(words[0], run_name="__main__", alter_sys=True)


def _run(command, words, folder, environment, out, err, gate=None) -> None:
    """Become a new process that runs ``command``, a function, and ends as an interpreter does.

    What it says goes to ``out`` and ``err``: paths, or numbers of open files.
    """
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    multiprocessing.process.ORIGINAL_DIR = os.getcwd()  # where processes that the command spawns begin
    for stream, path in ((1, out), (2, err)):
        handle = path if isinstance(path, int) else os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(handle, stream)
        os.close(handle)
    sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
    if gate is not None:
        gate.wait(100)
    try:
        command(words)
    except Exception:
        sys.excepthook(*sys.exc_info())
        sys.exit(1)
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
