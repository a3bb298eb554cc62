"""Running commands so that what they make is there whole or not at all, and what is there is not made again.

A command writes to a folder of its own in ``DIRECTORY/.reproduce/partial``; what it made moves to its place when the
command has ended well.
"""

import contextlib
import hashlib
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
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from jpq_pyserini.errors import JPQError
from jpq_pyserini.eval.reproduce.experiment import names_in, substitute
from jpq_pyserini.json_text import parse_json
from jpq_pyserini.resume import fingerprint
from jpq_pyserini.storage import locked, new_file

HIDDEN = ".reproduce"
_STDERR = 2  # so that stdout holds the report only
_PLAIN = re.compile(r"[\w@%+=:,./$-]+", re.ASCII)  # nothing to quote; a variable that was not given stays one
_OPTIONAL = re.compile(r"(?<!\S)\[(?=--|\$)([^\[\]]*)\](?!\S)")


@dataclass(frozen=True)
class Task:
    """Something to be made: a step's output, or a run.

    Attributes:
        title: what it is, for messages.
        target: file or folder, relative to the directory.
        commands: with the variables of ``values`` to fill in, ``$output`` excepted.
        resumes: the command continues from what it left when it was stopped, and what it makes appears whole.
        quiet: what the commands print goes to a log file.
        needs: what must be there before.
    """

    title: str
    target: str
    commands: tuple[str, ...]
    values: Mapping[str, str]
    resumes: bool = False
    quiet: bool = False
    needs: tuple["Task", ...] = ()

    def argv(self, output: str) -> list[list[str]]:
        """Return the words of each command; a value stays one word whatever blanks it holds.

        A part in brackets, ``[--pooling $pooling]``, is left out if one of its variables is empty.
        """
        values = {**self.values, "output": output}

        def kept(part: re.Match) -> str:
            return part[1] if all(values.get(name, name) for name in names_in(part[1])) else ""

        texts = [_OPTIONAL.sub(kept, command) for command in self.commands]
        return [[substitute(word, values) for word in shlex.split(text)] for text in texts]

    def shown(self) -> list[str]:
        """Return the commands as one would type them in the directory."""
        return [_typed(words) for words in self.argv(self.target)]


@dataclass(frozen=True)
class BuildRecord:
    """How a target was made.

    Attributes:
        commands: as typed.
        seconds: wall-clock time.
        finished: UTC, ISO 8601.
        inputs: files and folders elsewhere that the commands name, to a digest of what they held.
    """

    commands: list[str]
    seconds: float
    finished: str
    inputs: dict[str, str] = field(default_factory=dict)


class Workshop:
    """The directory in which an experiment's commands run, and what they have made there."""

    def __init__(self, directory: str | os.PathLike):
        self.directory = Path(directory).resolve()

    def lock(self) -> contextlib.AbstractContextManager[None]:
        """Keep other processes out of the directory, waiting for one that is at work there."""
        return locked(self.directory / HIDDEN)

    def has(self, task: Task) -> bool:
        """Whether the target is there, and therefore whole."""
        return (self.directory / task.target).exists()

    def record(self, task: Task) -> BuildRecord | None:
        """Return how the target was made; None if it came there by other ways."""
        try:
            return BuildRecord(**parse_json(self._record_path(task).read_bytes()))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError) as error:
            raise JPQError(f"{self._record_path(task)}: damaged ({error}): remove it") from None

    def outdated(self, task: Task) -> bool:
        """Whether the target is missing, or was made by another command, from other files or before what it needs.

        What came there by other ways is never outdated.
        """
        if not self.has(task):
            return True
        record = self.record(task)
        if record is None:
            return False
        older = [need for need in map(self.record, task.needs) if need and need.finished > record.finished]
        return bool(older) or record.commands != task.shown() or record.inputs != self._inputs(task)

    def make(self, task: Task) -> BuildRecord:
        """Run the commands of a task and put what they made in its place, where an outdated one may be.

        Raises:
            JPQError: a command failed, or made nothing.
            KeyboardInterrupt: Ctrl-C or SIGTERM, after the command has ended.
        """
        room = self.directory / HIDDEN / "partial" / task.target.replace("/", ".")
        partial, begun = room / Path(task.target).name, self._record_path(task).with_suffix(".begun")
        inputs = self._inputs(task)
        plan = json.dumps([task.shown(), inputs])
        if not task.resumes or (begun.is_file() and begun.read_text(encoding="utf-8") != plan):
            _remove(room)
        room.mkdir(parents=True, exist_ok=True)
        with new_file(begun) as file:
            file.write(plan)
        started = time.monotonic()
        try:
            for words in [] if partial.exists() else task.argv(str(partial)):
                self._run(words, task)
            if not partial.exists():
                raise JPQError(f"{task.title}: the command ended well but made no $output: correct the experiment")
        except BaseException:
            if not task.resumes:
                _remove(room)
            raise
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        record = BuildRecord(task.shown(), round(time.monotonic() - started, 1), now, inputs)
        with new_file(self._record_path(task)) as file:
            file.write(json.dumps(asdict(record), indent=1, ensure_ascii=False) + "\n")
        target = self.directory / task.target
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove(target)
        os.rename(partial, target)
        _remove(room)
        begun.unlink()
        return record

    def _record_path(self, task: Task) -> Path:
        return self.directory / HIDDEN / "made" / f"{task.target}.json"

    def _inputs(self, task: Task) -> dict[str, str]:
        """Return the files and folders outside that the commands name, each with a digest of what it holds."""
        words = {word for command in task.argv(task.target) for word in command[1:] if os.path.isabs(word)}
        paths = [Path(word) for word in sorted(words) if os.path.exists(word)]
        outside = [path for path in paths if not path.is_relative_to(self.directory)]
        return {str(path): hashlib.sha256(json.dumps(fingerprint(path)).encode()).hexdigest() for path in outside}

    def _run(self, words: Sequence[str], task: Task) -> None:
        words = _with_program(words, {"python": sys.executable})
        log = self.directory / HIDDEN / "logs" / f"{task.target.replace('/', '.')}.log" if task.quiet else None
        try:
            with contextlib.ExitStack() as stack:
                stdout, stderr = _STDERR, _STDERR
                if log:
                    log.parent.mkdir(exist_ok=True)
                    stdout = stderr = stack.enter_context(open(log, "wb")).fileno()
                stopped = stack.enter_context(_forwarded_signals())
                # A group of its own: Ctrl-C reaches it once, through us.
                process = subprocess.Popen(
                    words,
                    cwd=self.directory,
                    stdin=subprocess.DEVNULL,
                    stdout=stdout,
                    stderr=stderr,
                    process_group=0,
                )
                stopped.process = process
                if stopped.asked:  # before there was a process to pass it on to
                    stopped(signal.SIGINT, None)
                status = process.wait()
        except OSError as error:
            raise JPQError(f"{task.title}: cannot run {words[0]}: {error.strerror or error}") from None
        if stopped.asked:
            raise KeyboardInterrupt(f"during {task.title}; the same command continues from here")
        if status:
            reason = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
            where = f"{_last_line(log)}; all of its messages: {log}" if log else "its messages are above"
            raise JPQError(f"{task.title}: the command {reason} ({where}): {_typed(words)}")


class _Stopped:
    def __init__(self) -> None:
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


def _with_program(words: Sequence[str], names: Mapping[str, str]) -> list[str]:
    """Return a command whose program has another name, if it has one; ``env NAME=VALUE …`` may stand before it."""
    at = next((i for i, word in enumerate(words) if word != "env" and "=" not in word), 0) if words[0] == "env" else 0
    return [*words[:at], names.get(words[at], words[at]), *words[at + 1 :]]


def _typed(words: Sequence[str]) -> str:
    words = _with_program(words, {sys.executable: "python"})
    return " ".join(word if _PLAIN.fullmatch(word) else shlex.quote(word) for word in words)


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "it printed nothing")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
