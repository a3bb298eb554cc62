"""Files that appear whole or not at all, and how they are told apart."""

import contextlib
import ctypes
import errno
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
def new_directory(target: str | os.PathLike, replace: bool = False) -> Iterator[Path]:
    """Yield a temporary directory beside ``target`` and rename it to ``target`` when the block ends well.

    On any exception the temporary directory is removed and ``target`` stays as it was.

    Args:
        target: the directory to make.
        replace: it may exist, and its place is taken: on Linux in one step, so that a reader finds the old directory
            or the new one; elsewhere in two renames. Who has opened the old files goes on reading them.

    Raises:
        JPQError: ``target`` exists (an empty directory is accepted) and ``replace`` is False.
        OSError: the disk is full, whichever library found out; the message names ``target``.
    """
    target = Path(os.path.realpath(target)) if replace else Path(target)
    if not replace:
        refuse_existing(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".partial", dir=target.parent))
    beside.chmod(0o777 & ~_umask())  # mkdtemp makes it private to the user
    try:
        yield beside
        _finish(beside)
        if replace and target.is_dir():
            _take_the_place(beside, target)
            return
        if target.is_dir():
            target.rmdir()
        os.rename(beside, target)
    except BaseException as error:
        shutil.rmtree(beside, ignore_errors=True)
        _raise_if_disk_full(error, target)
        raise


@contextlib.contextmanager
def new_file(target: str | os.PathLike, mode: str = "w") -> Iterator:
    """Yield a file opened beside ``target`` that replaces ``target`` in one rename when the block ends well.

    Raises:
        JPQError: ``target`` is a directory.
    """
    target = Path(target)
    if target.is_dir():
        raise JPQError(f"{target} is a folder: name a file to write")
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
    except BaseException as error:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(beside)
        _raise_if_disk_full(error, target)
        raise


def refuse_existing(target: str | os.PathLike) -> None:
    """Raise :class:`JPQError` if ``target`` exists and is not an empty directory."""
    target = Path(target)
    if target.is_dir() and not any(target.iterdir()):
        return
    if target.exists() or target.is_symlink():
        raise JPQError(f"{target} exists already: name another output or remove it first")


def _raise_if_disk_full(error: BaseException, target: Path) -> None:
    """Faiss and safetensors wrap a full disk in exceptions of their own: say it as Python does, with the path."""
    no_space = os.strerror(errno.ENOSPC)
    if no_space in str(error) or (isinstance(error, RuntimeError) and "write error" in str(error)):
        raise OSError(errno.ENOSPC, no_space, str(target)) from error


def _take_the_place(new: Path, target: Path) -> None:
    """Put ``new`` where ``target`` is, then remove what was there."""
    if _exchanged(new, target):
        old = new
    else:
        old = new.with_suffix(".old")
        os.rename(target, old)
        try:
            os.rename(new, target)
        except BaseException:
            os.rename(old, target)
            raise
    shutil.rmtree(old, ignore_errors=True)


def _exchanged(first: Path, second: Path) -> bool:
    """Let two directories change places in one step; False where the system or the file system cannot."""
    try:
        renameat2 = ctypes.CDLL(None).renameat2  # Linux; man 2 renameat2
    except (OSError, AttributeError):
        return False
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return renameat2(here, os.fsencode(first), here, os.fsencode(second), exchange) == 0


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _finish(directory: Path) -> None:
    """Flush all files to the disk; what safetensors wrote, private to the user, gets the usual permissions."""
    usual = 0o666 & ~_umask()
    for path in directory.rglob("*"):
        if path.is_file():
            if path.suffix == ".safetensors" and not path.is_symlink():
                path.chmod(path.stat().st_mode | usual)
            with open(path, "rb") as file:
                os.fsync(file.fileno())
