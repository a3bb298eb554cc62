"""Steps that are done once: an interrupted quickstart goes on where it stopped, a second one has nothing to do."""

import contextlib
import hashlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from jpq_pyserini.errors import JPQError
from jpq_pyserini.quickstart.commands import shown
from jpq_pyserini.storage import new_file

#: What a step may take after Ctrl-C before it is killed.
_GRACE_SECONDS = 60


class Workspace:
    """A directory of steps. What each step was made from, and what it wrote, is kept in ``steps.json``.

    A step is done again when what it was made from has changed (its own settings, or a step before it), or when a file
    that it wrote has been touched.

    Args:
        directory: Made if it is not there; else it must be empty or a quickstart's.

    Raises:
        JPQError: it holds other things.
    """

    def __init__(self, directory: Path):
        self.directory = directory
        self._record = directory / "steps.json"
        self.seconds: dict[str, float] = {}
        if self._record.is_file():
            try:
                self._steps = dict(json.loads(self._record.read_text(encoding="utf-8")))
            except ValueError:
                raise JPQError(f"{self._record} is damaged: remove {directory} and run again") from None
        elif directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
            raise JPQError(f"{directory} exists and is no quickstart's directory: name another with --output")
        else:
            self._steps = {}
            self._save()

    def step(
        self,
        name: str,
        made_from: object,
        outputs: Sequence[Path],
        work: Callable[[], None],
        resumes_from: Path | None = None,
    ) -> str:
        """Do ``work``, which writes ``outputs``, unless it was done before; returns the fingerprint of the step.

        Args:
            name: What the step is called; the key in ``steps.json``.
            made_from: Whatever the outputs depend on, as JSON; fingerprints of other steps stand for their outputs.
            outputs: Files and directories. Old ones are removed before ``work``.
            resumes_from: What an interrupted ``work`` leaves for the next; removed if that was made from other things.
        """
        fingerprint = hashlib.sha256(json.dumps([name, made_from], default=str).encode()).hexdigest()
        recorded = self._steps.get(name)
        if recorded and recorded["fingerprint"] == fingerprint and recorded["outputs"] == self._state(outputs):
            print("  (done before)")
            return fingerprint
        other = recorded is None or recorded["fingerprint"] != fingerprint
        for path in [*outputs, *([resumes_from] if resumes_from and other else [])]:
            _remove(path)
        self._steps[name] = {"fingerprint": fingerprint, "outputs": None}  # begun, not finished
        self._save()
        started = time.perf_counter()
        work()
        missing = [str(path) for path in outputs if not path.exists()]
        if missing:
            raise JPQError(
                f"step {name!r} ended without writing {', '.join(missing)}: run it by hand, as printed above"
            )
        self.seconds[name] = time.perf_counter() - started
        self._steps[name] = {
            "fingerprint": fingerprint,
            "outputs": self._state(outputs),
            "seconds": round(self.seconds[name], 2),
        }
        self._save()
        return fingerprint

    def command(
        self,
        name: str,
        command: Sequence,
        made_from: object,
        outputs: Sequence[Path],
        *,
        quiet: bool = True,
        resumes_from: Path | None = None,
    ) -> str:
        """Print a Python command and run it as a step of its own process.

        ``quiet`` sends its output to ``logs/NAME.log``, else it is shown.

        Raises:
            JPQError: it ended with an error.
        """
        print(f"$ {shown(command)}")
        log = self.directory / "logs" / f"{name}.log" if quiet else None
        words = [self._portable(word) for word in command]
        return self.step(name, [words, made_from], outputs, lambda: _run(name, command, log), resumes_from)

    def _portable(self, word: object) -> str:
        """Return the word, a path in this directory as relative to it: the directory may move."""
        inside = isinstance(word, Path) and word.is_relative_to(self.directory)
        return f"DIR/{word.relative_to(self.directory)}" if inside else str(word)

    def _state(self, outputs: Sequence[Path]) -> dict[str, list[int]]:
        """Return size and time of each file of the outputs; nothing for those that are not there."""
        files = [file for path in outputs for file in (sorted(path.rglob("*")) if path.is_dir() else [path])]
        states = {self._portable(file): file.stat() for file in files if file.is_file()}
        return {name: [state.st_size, state.st_mtime_ns] for name, state in states.items()}

    def _save(self) -> None:
        with new_file(self._record) as file:
            json.dump(self._steps, file, indent=1)


def _run(name: str, command: Sequence, log: Path | None) -> None:
    words = [sys.executable, *map(str, command)]
    if log is None:
        status = _status(words)
    else:
        log.parent.mkdir(exist_ok=True)
        with open(log, "wb") as file:
            status = _status(words, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT)
    if status:
        said = f": {_last_line(log)} (all of it: {log})" if log else ", see above"
        raise JPQError(f"step {name!r} ended with exit status {status}{said}")


def _status(words: list[str], **streams) -> int:
    """Run a process to its end, or stop it when this one is stopped; it has time to save what it has."""
    with subprocess.Popen(words, **streams) as process:
        try:
            return process.wait()
        except BaseException as stop:
            if not isinstance(stop, KeyboardInterrupt):  # Ctrl-C the terminal has sent to both
                process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
                process.wait(_GRACE_SECONDS)
            process.kill()
            raise


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "it printed nothing"


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
