"""What a long re-ranking has done so far, in a file beside its output, so that a stopped one can go on."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from jpq_pyserini.errors import JPQError


class Scored(NamedTuple):
    """One query's share: docid to score, and the seconds that scoring took."""

    scores: dict[str, float]
    seconds: float


class ScoreJournal:
    """One JSON line a query, appended and flushed as soon as it is scored; the first line holds the settings.

    Attributes:
        done: qid to :class:`Scored`, what is in the file.
    """

    def __init__(self, path: str | os.PathLike, settings: Mapping[str, object], *, resume: bool):
        """Open or begin the journal.

        Raises:
            JPQError: a journal is there and ``resume`` is False, or it was begun with other settings or is damaged.
        """
        self.path = Path(path)
        self.done: dict[str, Scored] = {}
        settings = json.loads(json.dumps(settings))  # as they come back from the file
        found = self._complete_lines() if self.path.exists() else []
        if len(found) > 1 and not resume:
            raise JPQError(f"{self.path} holds an unfinished re-ranking: add --resume to go on with it, or remove it")
        if len(found) > 1:
            self._read(found, settings)
            self._file = open(self.path, "a", encoding="utf-8")  # noqa: SIM115 (closed by close)
        else:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(self.path, "w", encoding="utf-8")  # noqa: SIM115
            self._append(settings)

    def add(self, qid: str, scored: Scored) -> None:
        """Note one more query."""
        self.done[qid] = scored
        self._append([qid, scored.scores, scored.seconds])

    def close(self) -> None:
        """Close the file and leave it where it is, unless it holds no query yet."""
        self._file.close()
        if not self.done:
            self.path.unlink(missing_ok=True)

    def discard(self) -> None:
        """Remove the file: its content is in the output now."""
        self.close()
        self.path.unlink(missing_ok=True)

    def _append(self, record) -> None:
        self._file.write(json.dumps(record, ensure_ascii=False) + "\n")
        self._file.flush()

    def _complete_lines(self) -> list[bytes]:
        """Return the lines; what follows the last line's end was cut off by the stop and is cut from the file."""
        content = self.path.read_bytes()
        complete = content.rfind(b"\n") + 1
        if complete < len(content):
            os.truncate(self.path, complete)
        return content[:complete].splitlines()

    def _read(self, lines: list[bytes], settings: Mapping[str, object]) -> None:
        remedy = "remove it to begin anew"
        try:
            records = [json.loads(line) for line in lines]
            begun_with, records = records[0], [(qid, Scored(scores, seconds)) for qid, scores, seconds in records[1:]]
            damage = None if isinstance(begun_with, dict) else "no settings"
        except (ValueError, TypeError) as error:
            damage = str(error)
        if damage is not None:
            raise JPQError(f"{self.path} is damaged ({damage}): {remedy}")
        for name, value in settings.items():
            if begun_with.get(name) != value:
                raise JPQError(f"{self.path} was begun with another {name}: give the same as then, or {remedy}")
        self.done = dict(records)


def fingerprint(name_or_path: str | os.PathLike) -> list:
    """Return what tells a file or folder from a later state of it: names, sizes, times of change; of a name, itself."""
    path = Path(name_or_path)
    if not path.exists():
        return [str(name_or_path)]
    files = sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
    return [[str(each.resolve()), each.stat().st_size, each.stat().st_mtime_ns] for each in files]
