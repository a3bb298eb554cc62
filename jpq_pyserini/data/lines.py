"""Text files line by line, so that what is wrong with one is told with its line."""

import contextlib
import gzip
import io
import os
import re
import zlib
from collections.abc import Iterator
from typing import BinaryIO, cast

from jpq_pyserini.errors import JPQError
from jpq_pyserini.storage import check_input

_OTHER_BLANK = re.compile("[\x1c-\x1f]")  # of ASCII, that str.split cuts at
_COLUMN = re.compile(r"[^ \t\v\f]+")
_ESCAPED_BYTE = re.compile("[\udc80-\udcff]")  # what errors="surrogateescape" makes of bytes that are not UTF-8


@contextlib.contextmanager
def opened(path: str | os.PathLike) -> Iterator[BinaryIO]:
    """Yield the file's bytes, gunzipped if it is named .gz.

    Raises:
        JPQError: a damaged .gz, a FIFO or a device.
    """
    path = os.fspath(path)
    check_input(path)
    try:
        with gzip.open(path) if path.endswith(".gz") else open(path, "rb") as file:
            yield cast(BinaryIO, file)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise JPQError(f"{path}: damaged gzip file ({error}): fetch or write it again") from None


def text_lines(path: str | os.PathLike, byte: int = 0, before: int = 0) -> Iterator[tuple[int, str]]:
    r"""Yield (line number from 1, line without its end) of a UTF-8 file, gunzipped if named .gz; \n, \r\n or \r ends.

    A byte order mark at the start is passed over. To begin within the file, give the ``byte`` at which a line starts
    and how many lines are ``before`` it.

    Raises:
        JPQError: bytes that are not UTF-8, a damaged .gz.
    """
    with opened(path) as raw, io.TextIOWrapper(raw, encoding="utf-8", errors="surrogateescape") as file:
        if byte:
            raw.seek(byte)
        for number, line in enumerate(file, before + 1):
            if number == 1 and line.startswith("\ufeff"):
                line = line[1:]
            if not line.isascii() and _ESCAPED_BYTE.search(line):
                raise JPQError(f"{path}:{number}: not UTF-8 in {quoted(line)}: convert the file to UTF-8")
            yield number, line.rstrip("\n")


def is_comment(line: str) -> bool:
    """Whether a line of a run or of judgements is a comment."""
    return line.lstrip(" \t").startswith("#")


def columns_of(line: str) -> list[str]:
    """Split at ASCII blanks only, as trec_eval does; ``str.split`` would cut ids at a no-break space."""
    plain = line.isascii() and (line.isprintable() or not _OTHER_BLANK.search(line))  # of runs most lines
    return line.split() if plain else _COLUMN.findall(line)


def quoted(line: str) -> str:
    """Return a line as messages quote it."""
    return repr(line if len(line) <= 60 else line[:57] + "...")
