"""Files that appear whole or not at all, and how they are told apart."""

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from jpq_pyserini.errors import JPQError

_CHUNK = 1 << 22


def sha256_of(path: str | os.PathLike) -> str:
    """Return the hexadecimal SHA-256 of a file, read in chunks."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


@contextlib.contextmanager
def new_directory(target: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary directory beside ``target`` and rename it to ``target`` when the block ends well.

    On any exception the temporary directory is removed and ``target`` stays as it was.

    Raises:
        JPQError: ``target`` exists (an empty directory is accepted).
    """
    target = Path(target)
    refuse_existing(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".partial", dir=target.parent))
    beside.chmod(0o777 & ~_umask())  # mkdtemp makes it private to the user
    try:
        yield beside
        _flush_to_disk(beside)
        if target.is_dir():
            target.rmdir()
        os.rename(beside, target)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise


@contextlib.contextmanager
def new_file(target: str | os.PathLike, mode: str = "w") -> Iterator:
    """Yield a file opened beside ``target`` that replaces ``target`` in one rename when the block ends well."""
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    encoding = None if "b" in mode else "utf-8"
    handle, beside = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".partial", dir=target.parent)
    try:
        with os.fdopen(handle, mode, encoding=encoding) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(beside, 0o666 & ~_umask())
        os.replace(beside, target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(beside)
        raise


def refuse_existing(target: str | os.PathLike) -> None:
    """Raise :class:`JPQError` if ``target`` exists and is not an empty directory."""
    target = Path(target)
    if target.is_dir() and not any(target.iterdir()):
        return
    if target.exists() or target.is_symlink():
        raise JPQError(f"{target} exists already: name another output or remove it first")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _flush_to_disk(directory: Path) -> None:
    for path in directory.rglob("*"):
        if path.is_file():
            with open(path, "rb") as file:
                os.fsync(file.fileno())
