"""Parts of a corpus, so that several processes share the work: documents a to b of all its files in a row."""

import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from jpq_pyserini.data.corpus import USUAL, Corpus, Fields, columns_of_tsv, document_in, is_of_lines, records_of
from jpq_pyserini.data.lines import PACKED, opened
from jpq_pyserini.errors import JPQError

_EVERY = 2048  # documents between two marks
_START = (0, 0, 0)


@dataclass(frozen=True)
class CountedFile:
    """How many documents a file has, and where some of them begin.

    Attributes:
        path: the file.
        count: its documents.
        marks: (document, byte, lines before it), every 2,048 documents; only the start of the file where reading has
            to begin there (.gz, .json).
    """

    path: Path
    count: int
    marks: tuple[tuple[int, int, int], ...] = (_START,)


def count_documents(path: Path) -> CountedFile:
    """Count the documents of a file; lines are not parsed, so what is wrong with one is told when it is encoded.

    Raises:
        JPQError: a damaged .gz.
    """
    counted = _count_lines(path) if is_of_lines(path) else None
    return counted or CountedFile(path, sum(1 for _ in records_of(path)))


def is_entered(path: Path) -> bool:
    """Whether reading can begin within a file: not in a compressed one, nor in one that may be a single object."""
    return not path.name.endswith((*PACKED, ".json"))


def _count_lines(path: Path) -> CountedFile | None:
    count = -1 if columns_of_tsv(path)[1] else 0  # the line that names the columns
    marks, at, marked = [_START], 0, is_entered(path)
    with opened(path) as file:
        for number, line in enumerate(file):
            if line.find(b"\r", 0, len(line) - (2 if line.endswith(b"\n") else 1)) >= 0:
                return None  # lines that end as on old Macs: parsed to be counted
            if _is_written(line):
                if marked and count > 0 and count % _EVERY == 0:
                    marks.append((count, at, number))
                count += 1
            at += len(line)
    return CountedFile(path, count, tuple(marks))


def _is_written(line: bytes) -> bool:
    return line.startswith(b"{") or bool(line.decode("utf-8", errors="replace").lstrip("\ufeff").strip())


@dataclass(frozen=True)
class CorpusPart:
    """Documents ``first`` to ``stop``, not included, of a corpus; goes to other processes as it is.

    Attributes:
        path: the corpus, for messages.
        first, stop: counted from 0 over all its files.
        pieces: the files they are in, and of each the first document, the one after the last, and the mark before.
        names: of the fields.
    """

    path: Path
    first: int
    stop: int
    pieces: tuple[tuple[Path, int, int, tuple[int, int, int]], ...]
    names: Fields = USUAL

    @classmethod
    def of(
        cls, path: str | os.PathLike, files: Sequence[CountedFile], first: int, stop: int, names: Fields = USUAL
    ) -> "CorpusPart":
        """Cut a part out of the counted files of a corpus."""
        pieces, begin = [], 0
        for file in files:
            low, high = max(first - begin, 0), min(stop - begin, file.count)
            if low < high:
                mark = file.marks[min(low // _EVERY, len(file.marks) - 1)]
                pieces.append((file.path, low, high, mark))
            begin += file.count
        return cls(Path(path), first, stop, tuple(pieces), names)

    def __len__(self) -> int:
        return self.stop - self.first

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """Yield ``(docid, text)`` in order; :class:`JPQError` at a line that is no document."""
        for path, first, stop, (document, byte, lines) in self.pieces:
            records = records_of(path, first - document, byte, lines)
            found = 0
            for place, fields in itertools.islice(records, stop - first):
                found += 1
                yield document_in(fields, place, self.names)
            if found < stop - first:
                raise JPQError(f"{path} was cut short while it was read: leave the corpus as it is meanwhile")

    def docids(self) -> list[str]:
        """Read the part and return its docids in order."""
        return [docid for docid, _ in self]

    def fingerprint(self) -> list:
        """Tell this part from others of the same corpus, and from the same part of a corpus of other files."""
        sizes = [[path.name, path.stat().st_size] for path, *_ in self.pieces]
        return [self.first, self.stop, *sizes]


def rows_of_shard(count: int, shard: int, shards: int, together: int, name: str) -> tuple[int, int]:
    """Return the first row of a shard and the one after its last: of ``count`` rows, in steps of ``together``.

    Documents that are encoded together stay together, so that shards hold exactly what one process would have made.

    Args:
        count: N.
        shard: from 0.
        shards: how many there are.
        together: rows of a step.
        name: of the collection, for the message.

    Raises:
        JPQError: there is no such shard, or there are more shards than steps.
    """
    if not 0 <= shard < shards:
        raise JPQError(f"shard {shard} of {shards}: shards are numbered from 0 to {shards - 1}")
    steps = -(-count // together)
    if shards > steps:
        raise JPQError(
            f"{name} has {count:,} documents, which are encoded {together:,} at once: it can be split into at most "
            f"{steps:,} shards, not {shards:,}"
        )
    return steps * shard // shards * together, min(steps * (shard + 1) // shards * together, count)


def corpus_shard(corpus: Corpus, shard: int, shards: int, together: int) -> CorpusPart:
    """Count the documents of a corpus and return one of its shards; errors as :func:`rows_of_shard`."""
    files = [count_documents(file) for file in corpus.files]
    count = sum(file.count for file in files)
    first, stop = rows_of_shard(count, shard, shards, together, str(corpus.path))
    return CorpusPart.of(corpus.path, files, first, stop, corpus.names)
