"""Text files line by line, so that what is wrong with one is told with its line."""

import bz2
import contextlib
import gzip
import io
import lzma
import os
import re
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from jpq_pyserini.errors import JPQError
from jpq_pyserini.storage import check_input

_OTHER_BLANK = re.compile("[\x1c-\x1f]")  # of ASCII, that str.split cuts at
_COLUMN = re.compile(r"[^ \t\v\f]+")
_ESCAPED_BYTE = re.compile("[\udc80-\udcff]")  # what errors="surrogateescape" makes of bytes that are not UTF-8

#: How the names of compressed files end.
PACKED = (".gz", ".bz2", ".xz")
#: How compressed files begin, and what reads them.
_COMPRESSED: dict[bytes, Callable[..., Any]] = {b"\x1f\x8b": gzip.open, b"BZh91AY&SY": bz2.open, b"\xfd7zXZ": lzma.open}
_POINTER = b"version https://git-lfs"
#: How files begin that hold no text that is read here, and what to do with them.
_OTHERS = {
    _POINTER: "is a Git LFS pointer, not the file itself: fetch it with `git lfs pull`",
    b"\x28\xb5\x2f\xfd": "is compressed with zstd, which is not read here: decompress it (unzstd), or take gzip",
    b"PK\x03\x04": "is a ZIP archive: unpack it, and name the file in it",
    b"PAR1\x15": "is a Parquet file, which is read as embeddings only: write it as JSON lines",
    b"\xff\xfe": "is in UTF-16: convert it to UTF-8",
    b"\xfe\xff": "is in UTF-16: convert it to UTF-8",
}
_LONGEST_POINTER = 1024  # bytes
_EXPORTS = frozenset(("onnx", "openvino"))
HEAD = max(map(len, _OTHERS))  # bytes that tell


@contextlib.contextmanager
def opened(path: str | os.PathLike) -> Iterator[BinaryIO]:
    """Yield the file's bytes, decompressed if it is a gzip, bzip2 or xz file, whatever its name.

    Raises:
        JPQError: it is damaged, a FIFO or a device, or begins as no text file does.
    """
    path = os.fspath(path)
    check_input(path)
    with open(path, "rb") as raw:
        head = raw.peek(HEAD)[:HEAD]
        refuse_others(path, head)
        unpack = gzip.open if path.endswith(".gz") else decompressor(head)
        if unpack is None:
            yield raw
            return
        try:
            with unpack(raw) as file:
                yield cast(BinaryIO, file)
        except (EOFError, zlib.error, lzma.LZMAError, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:  # a disk that fails
                raise
            kind = unpack.__module__
            raise JPQError(f"{path}: damaged {kind} file ({error}): fetch or write it again") from None


def decompressor(head: bytes) -> Callable[..., Any] | None:
    """Return what opens a compressed file that begins with ``head``; None for any other file."""
    return next((reader for magic, reader in _COMPRESSED.items() if head.startswith(magic)), None)


def refuse_others(path: str | os.PathLike, head: bytes) -> None:
    """Raise :class:`JPQError` if a file that begins with ``head`` is known to hold no text that can be read here."""
    for magic, reason in _OTHERS.items():
        if head.startswith(magic):
            raise JPQError(f"{path} {reason}")


def refuse_pointers(folder: str | os.PathLike) -> None:
    """Raise :class:`JPQError` if a small file in a folder, or below it, only stands for one in Git LFS.

    Exports of a model for other backends (``onnx``, ``openvino``) are not looked at: the model is loaded without them.
    """
    for path in sorted(Path(folder).rglob("*")):
        if _EXPORTS.isdisjoint(path.relative_to(folder).parts):
            with contextlib.suppress(OSError):  # what cannot be read is told when it is needed
                if path.is_file() and path.stat().st_size < _LONGEST_POINTER:
                    refuse_pointer(path, path.read_bytes())


def refuse_pointer(path: str | os.PathLike, head: bytes) -> None:
    """Raise :class:`JPQError` if a file of any kind, which begins with ``head``, only stands for one in Git LFS."""
    if head.startswith(_POINTER):
        refuse_others(path, head)


def text_lines(path: str | os.PathLike, byte: int = 0, before: int = 0) -> Iterator[tuple[int, str]]:
    r"""Yield (line number from 1, line without its end) of a UTF-8 file, decompressed if need be; \n, \r\n or \r ends.

    A byte order mark at the start is passed over. To begin within the file, give the ``byte`` at which a line starts
    and how many lines are ``before`` it.

    Raises:
        JPQError: bytes that are not UTF-8, a damaged compressed file.
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
