"""What a stopped command leaves and continues from: a folder beside its output, and files in it that grow."""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from jpq_pyserini.errors import JPQError
from jpq_pyserini.json_text import parse_json, read_json
from jpq_pyserini.storage import new_file

_MADE_FROM = "run.json"
_ENDS = 1 << 22  # numbers of either end of an array that are fingerprinted
_SHORT = 120  # longer differences, those of fingerprints, are not quoted
_WHOLE = 1 << 26  # files up to this size are fingerprinted whole, larger ones by their size and both ends


def fingerprint(source) -> str | list | None:
    """Tell one input from another, whatever its path and time.

    Returns:
        Of a file, the digest of its size and content (of more than 64 MB: of both ends); of a folder, the names and
        digests of its files; of any other name, the name itself; of an array or a dictionary, a digest of what it
        holds (likewise); of a list, one for each item.
    """
    if source is None:
        return None
    if isinstance(source, Mapping):
        return hashlib.sha256(json.dumps(source, sort_keys=True, default=str).encode()).hexdigest()
    if isinstance(source, np.ndarray):
        ends = [source[: _ENDS // source.shape[-1] + 1], source[-(_ENDS // source.shape[-1] + 1) :]]
        parts = [str((source.shape, source.dtype)).encode(), *map(np.ascontiguousarray, ends)]
        return hashlib.sha256(b"".join(map(bytes, parts))).hexdigest()
    if isinstance(source, list | tuple) and source and not isinstance(source[0], str | os.PathLike):
        return hashlib.sha256(json.dumps(list(source), default=str).encode()).hexdigest()  # docids that are numbers
    if isinstance(source, list | tuple):
        return [fingerprint(each) for each in source]
    path = Path(source)
    if path.is_dir():
        return [[str(file.relative_to(path)), _digest(file)] for file in sorted(path.rglob("*")) if file.is_file()]
    return _digest(path) if path.is_file() else str(path)


def refuse_left(path: str | os.PathLike, resume: bool) -> None:
    """Raise :class:`JPQError` if a stopped run left ``path`` and the user does not want to continue from it."""
    if not resume and os.path.exists(path):
        raise JPQError(f"{path} is what a stopped run left: add --resume to continue from it, or remove it")


class WorkFolder:
    """The unfinished work of one command, which only the same command on the same inputs continues with.

    The caller holds the lock of its output meanwhile (:func:`jpq_pyserini.storage.locked`).

    Attributes:
        path: the folder; made by :meth:`claim`.
        made_from: JSON-able; by name, what must be the same for a run to go on: settings and fingerprints of inputs.
    """

    def __init__(self, path: str | os.PathLike, made_from: Mapping[str, object], resume: bool):
        """Look at what is there.

        Raises:
            JPQError: a stopped run left the folder and ``resume`` is False, it was made from something else, or it is
                somebody else's.
        """
        self.path = Path(path)
        self.made_from = json.loads(json.dumps(made_from))  # as it comes back from the file
        if self._holds_nothing():
            return
        refuse_left(path, resume)
        if not self.path.is_dir():
            raise JPQError(f"{path} is no folder of this version: remove it and start again")
        try:
            found = read_json(self.path / _MADE_FROM, f"remove {path} and start again")
        except FileNotFoundError:
            raise JPQError(
                f"{path} has no {_MADE_FROM}, so no stopped run left it: name another output, or move it away"
            ) from None
        for name, value in self.made_from.items():
            if found.get(name) != value:
                values = f"with {name}={found.get(name)!r}, this one has {value!r}"
                other = values if len(values) < _SHORT else f"with another {name}"
                raise JPQError(f"{path} comes from a run {other}: give the same, or remove {path} and start again")

    def claim(self) -> None:
        """Make the folder, if it is not there, and say what it is made from."""
        self.path.mkdir(parents=True, exist_ok=True)
        if self._holds_nothing():
            with new_file(self.path / _MADE_FROM) as file:
                json.dump(self.made_from, file)

    def _holds_nothing(self) -> bool:
        """Tell whether the folder is not there, or of a run that stopped before it had kept anything."""
        if not self.path.is_dir():
            return not os.path.lexists(self.path)
        return all(name == _MADE_FROM or name.startswith(f".{_MADE_FROM}.") for name in os.listdir(self.path))

    def discard(self) -> None:
        """Remove the folder: the output is written."""
        shutil.rmtree(self.path, ignore_errors=True)


class GrowingArray:
    """The rows of an array in a file, written a few at a time; those that are there survive a stop.

    Args:
        path: the file; made at the first :meth:`append`.
        dtype, width: of a row.
        together: rows of one :meth:`append`; of an append that was interrupted nothing is kept, so that a run that
            goes on does the same arithmetic as one that was not stopped.
    """

    def __init__(self, path: str | os.PathLike, dtype: type, width: int, together: int):
        self.path, self._dtype, self._width = Path(path), np.dtype(dtype), width
        block = self._dtype.itemsize * width * together
        if self.path.is_file():
            os.truncate(self.path, self.path.stat().st_size // block * block)

    def __len__(self) -> int:
        """Count the rows."""
        return self.path.stat().st_size // (self._dtype.itemsize * self._width) if self.path.is_file() else 0

    def append(self, rows: np.ndarray) -> None:
        """Add rows (n, width) and wait until the disk has them."""
        with _names_file(self.path), open(self.path, "ab") as file:
            file.write(np.ascontiguousarray(rows, self._dtype).data)
            file.flush()
            os.fsync(file.fileno())

    def cut(self, rows: int) -> None:
        """Drop what is after so many rows: of several arrays that grow together, all have what the last one has."""
        if rows < len(self):
            os.truncate(self.path, rows * self._dtype.itemsize * self._width)

    def read(self) -> np.ndarray:
        """Return all rows, (N, width), in memory."""
        rows = np.fromfile(self.path, self._dtype) if self.path.is_file() else np.empty(0, self._dtype)
        return rows.reshape(-1, self._width)

    def mapped(self) -> np.ndarray:
        """Return all rows, (N, width), as a memory map of the file; needs at least one."""
        return np.memmap(self.path, self._dtype, "r").reshape(-1, self._width)


class GrowingLines:
    """JSON values in a file, one a line, each there for good as soon as it is appended.

    Args:
        path: the file; made at the first :meth:`append`. A last line that was cut off by a stop is dropped.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)
        if self.path.is_file():
            os.truncate(self.path, self.path.read_bytes().rfind(b"\n") + 1)

    def append(self, value: object) -> None:
        """Add one value."""
        with _names_file(self.path), open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(value, ensure_ascii=False) + "\n")

    def read(self) -> list:
        """Return all values.

        Raises:
            ValueError: a line is no JSON.
        """
        return [parse_json(line) for line in self.path.read_bytes().splitlines()] if self.path.is_file() else []


@contextlib.contextmanager
def _names_file(path: Path) -> Iterator[None]:
    """Let a full disk say which file it was met at, which a write does not."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, os.fspath(path)) from error


def _digest(path: Path) -> str:
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with open(path, "rb") as file:
        if size <= _WHOLE:
            digest.update(file.read())
        else:
            digest.update(file.read(_WHOLE // 2))
            file.seek(-_WHOLE // 2, os.SEEK_END)
            digest.update(file.read())
    return digest.hexdigest()
