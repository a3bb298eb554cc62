"""Running commands so that what they make is there whole or not at all, and what is there is not made again.

A command writes to a folder of its own in ``DIRECTORY/.reproduce/partial``; what it made moves to its place when the
command has ended well.
"""

import contextlib
import fcntl
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from jpq_pyserini.errors import JPQError
from jpq_pyserini.eval.reproduce.experiment import substitute
from jpq_pyserini.storage import new_file

HIDDEN = ".reproduce"
_STDERR = 2  # so that stdout holds the report only
_PLAIN = re.compile(r"[\w@%+=:,./$-]+", re.ASCII)  # nothing to quote; a variable that was not given stays one


@dataclass(frozen=True)
class Task:
    """Something to be made: a step's output, or a run.

    Attributes:
        title: what it is, for messages.
        target: file or folder, relative to the directory.
        commands: with the variables of ``values`` to fill in, ``$output`` excepted.
        resumes: the command goes on from what it left when it was stopped, and what it makes appears whole.
    """

    title: str
    target: str
    commands: tuple[str, ...]
    values: Mapping[str, str]
    resumes: bool = False

    def argv(self, output: str) -> list[list[str]]:
        """Return the words of each command; a value stays one word whatever blanks it holds."""
        values = {**self.values, "output": output}
        return [[substitute(word, values) for word in shlex.split(command)] for command in self.commands]

    def shown(self) -> list[str]:
        """Return the commands as one would type them in the directory."""
        return [_typed(words) for words in self.argv(self.target)]


@dataclass(frozen=True)
class Made:
    """What is known of how a target was made.

    Attributes:
        commands: as typed.
        seconds: wall-clock time.
        finished: UTC, ISO 8601.
    """

    commands: list[str]
    seconds: float
    finished: str


class Workshop:
    """The directory in which an experiment's commands run, and what they have made there."""

    def __init__(self, directory: str | os.PathLike):
        self.directory = Path(directory).resolve()

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other processes out of the directory.

        Raises:
            JPQError: one is at work there.
        """
        hidden = self.directory / HIDDEN
        hidden.mkdir(parents=True, exist_ok=True)
        with open(hidden / "lock", "w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise JPQError(f"{self.directory}: another process works there: wait, or name another one") from None
            yield

    def has(self, task: Task) -> bool:
        """Whether the target is there, and therefore whole."""
        return (self.directory / task.target).exists()

    def made(self, task: Task) -> Made | None:
        """Return how the target was made; None if it came there by other ways."""
        try:
            return Made(**json.loads(self._record(task).read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError) as error:
            raise JPQError(f"{self._record(task)}: damaged ({error}): remove it") from None

    def make(self, task: Task) -> Made:
        """Run the commands of a task and put what they made in its place.

        Raises:
            JPQError: a command failed, or made nothing.
            KeyboardInterrupt: Ctrl-C or SIGTERM, after the command has ended.
        """
        room = self.directory / HIDDEN / "partial" / task.target.replace("/", ".")
        partial = room / Path(task.target).name
        if not task.resumes:
            _remove(room)
        room.mkdir(parents=True, exist_ok=True)
        started = time.monotonic()
        try:
            for words in [] if partial.exists() else task.argv(str(partial)):
                self._run(words, task)
            if not partial.exists():
                raise JPQError(f"{task.title}: the command ended well but made no $output: mend it in the experiment")
        except BaseException:
            if not task.resumes:
                _remove(room)
            raise
        made = Made(task.shown(), round(time.monotonic() - started, 1), datetime.now(UTC).isoformat(timespec="seconds"))
        with new_file(self._record(task)) as file:
            file.write(json.dumps(vars(made), indent=1, ensure_ascii=False) + "\n")
        target = self.directory / task.target
        target.parent.mkdir(parents=True, exist_ok=True)
        os.rename(partial, target)
        _remove(room)
        return made

    def _record(self, task: Task) -> Path:
        return self.directory / HIDDEN / "made" / f"{task.target}.json"

    def _run(self, words: Sequence[str], task: Task) -> None:
        words = [sys.executable if words[0] == "python" else words[0], *words[1:]]
        try:
            with _forwarded_signals() as stopped:
                # A group of its own: Ctrl-C reaches it once, through us.
                process = subprocess.Popen(
                    words, cwd=self.directory, stdin=subprocess.DEVNULL, stdout=_STDERR, process_group=0
                )
                stopped.process = process
                if stopped.asked:  # before there was a process to pass it on to
                    stopped(signal.SIGINT, None)
                status = process.wait()
        except OSError as error:
            raise JPQError(f"{task.title}: cannot run {words[0]}: {error.strerror or error}") from None
        if stopped.asked:
            raise KeyboardInterrupt(f"during {task.title}; the same command goes on from here")
        if status:
            reason = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
            raise JPQError(f"{task.title}: the command {reason} (its messages are above): {_typed(words)}")


class _Stopped:
    def __init__(self):
        self.asked = False
        self.process: subprocess.Popen | None = None

    def __call__(self, number, frame):
        self.asked = True
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)


@contextlib.contextmanager
def _forwarded_signals() -> Iterator[_Stopped]:
    """Pass SIGINT and SIGTERM on to the command, and remember that they came."""
    stopped = _Stopped()
    previous = {number: signal.signal(number, stopped) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopped
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _typed(words: Sequence[str]) -> str:
    words = ["python" if words[0] == sys.executable else words[0], *words[1:]]
    return " ".join(word if _PLAIN.fullmatch(word) else shlex.quote(word) for word in words)


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
