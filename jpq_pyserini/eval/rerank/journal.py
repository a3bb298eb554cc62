"""What a long re-ranking has done so far, kept beside its output, so that a stopped one can go on."""

import os
from collections.abc import Mapping
from typing import NamedTuple

from jpq_pyserini.errors import JPQError
from jpq_pyserini.resume import GrowingLines, WorkFolder


class QueryScores(NamedTuple):
    """One query's share: docid to score, and the seconds that scoring took."""

    scores: dict[str, float]
    seconds: float


class ScoreJournal:
    """The scores of each query, written as soon as it is scored, in a folder that knows the settings.

    Attributes:
        path: the folder.
        done: qid to :class:`QueryScores`, what is in it.
    """

    def __init__(self, path: str | os.PathLike, settings: Mapping[str, object], *, resume: bool):
        """Open or begin the journal.

        Raises:
            JPQError: a journal is there and ``resume`` is False, or it was begun with other settings or is damaged.
        """
        self._work = WorkFolder(path, settings, resume)
        self._work.claim()
        self.path = self._work.path
        self._lines = GrowingLines(self.path / "scores.jsonl")
        try:
            self.done = {qid: QueryScores(dict(scores), float(seconds)) for qid, scores, seconds in self._lines.read()}
        except (ValueError, TypeError) as error:
            raise JPQError(f"{self.path} is damaged ({error}): remove it to start again") from error

    def add(self, qid: str, scored: QueryScores) -> None:
        """Note one more query."""
        self.done[qid] = scored
        self._lines.append([qid, *scored])

    def close(self) -> None:
        """Leave the folder where it is, unless it holds no query yet."""
        if not self.done:
            self.discard()

    def discard(self) -> None:
        """Remove the folder: its content is in the output now."""
        self._work.discard()
