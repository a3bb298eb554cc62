"""Files and directories that appear whole or not at all, one writer at a time, and how they are told apart."""

import contextlib
import ctypes
import errno
import fcntl
import glob
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from jpq_pyserini.cli import progress
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
def locked(target: str | os.PathLike, say: Callable[[str], None] = progress) -> Iterator[None]:
    """Hold the lock of ``target`` against other processes and threads; the system frees it when its holder dies.

    Whoever replaces ``target``, or keeps unfinished work beside it, holds the lock from before it reads anything until
    the result has its name. The same thread may take it again. The lock is a file beside ``target``, removed at the
    end.

    Args:
        target: the file or directory to write; need not exist.
        say: called with one line if another process has the lock, before waiting for it.

    Raises:
        JPQError: the folder of ``target`` cannot be written to.
    """
    from filelock import FileLock, Timeout

    target = Path(os.path.realpath(target))
    if not target.name:
        raise JPQError(f"{target} is a folder of the system: name an output in a folder of yours")
    path = target.with_name(f".{target.name}.lock")
    lock = FileLock(path, is_singleton=True)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            say(f"another process is writing {target}: waiting for it to finish")
            lock.acquire()
    except OSError as error:
        raise JPQError(f"cannot write to {target.parent} ({error.strerror}): name an output elsewhere") from error
    try:
        yield
    finally:
        if lock.lock_counter == 1:
            path.unlink(missing_ok=True)  # while it is held: who waits finds out, and makes a new one
        lock.release()


@contextlib.contextmanager
def replacement(target: str | os.PathLike) -> Iterator[Path]:
    """Yield a new directory beside ``target``, which takes the place of ``target`` when the block ends well.

    On Linux the two change places in one step, so that a reader finds the old directory or the new one; elsewhere, and
    on file systems that cannot, in two renames. Who has opened the old files goes on reading them. If the block fails,
    ``target`` stays as it was.
    """
    target = Path(os.path.realpath(target))
    with _beside(target, tempfile.mkdtemp) as scratch:
        new = scratch / target.name
        new.mkdir()
        yield new
        _finish(new)
        if not (target.is_dir() and _exchanged(new, target)):
            with contextlib.suppress(FileNotFoundError):
                os.rename(target, scratch / "old")
            try:
                os.rename(new, target)
            except BaseException:
                with contextlib.suppress(FileNotFoundError):
                    os.rename(scratch / "old", target)
                raise


@contextlib.contextmanager
def new_directory(target: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary directory beside ``target`` and rename it to ``target`` when the block ends well.

    On any exception the temporary directory is removed and ``target`` stays as it was.

    Raises:
        JPQError: ``target`` exists (an empty directory is accepted).
        OSError: the disk is full, whichever library found out; the message names ``target``.
    """
    target = Path(target)
    refuse_existing(target)
    target = Path(os.path.realpath(target))
    with _beside(target, tempfile.mkdtemp) as scratch:
        new = scratch / target.name
        new.mkdir()
        yield new
        _finish(new)
        try:
            os.rename(new, target)  # takes the place of an empty directory
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                refuse_existing(target)  # another process was faster
            raise


@contextlib.contextmanager
def new_file(target: str | os.PathLike, mode: str = "w") -> Iterator:
    """Yield a file opened beside ``target`` that replaces ``target`` in one rename when the block ends well.

    A symbolic link is followed and the file keeps its permissions. What is no regular file (a device, a FIFO) is
    written into instead of being replaced.

    Raises:
        JPQError: ``target`` is a directory or read-only (:func:`check_output`).
    """
    check_output(target)
    text: dict[str, Any] = (
        {} if "b" in mode else {"encoding": "utf-8", "errors": "backslashreplace"}
    )  # names of files may be any bytes
    if _is_special(target):
        with open(target, mode, **text) as file:
            yield file
        return
    target = Path(os.path.realpath(target))
    with _beside(target, tempfile.mkstemp) as beside:
        with open(beside, mode, **text) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(beside, stat.S_IMODE(target.stat().st_mode) if target.exists() else 0o666 & ~_umask())
        os.replace(beside, target)


def check_input(path: str | os.PathLike) -> None:
    """Raise :class:`JPQError` if reading ``path`` would wait or never end: a FIFO, a socket or a device.

    The pipes that a shell makes for ``<(command)`` and ``/dev/stdin`` may be read. A missing file is left to who opens.
    """
    path = os.fspath(path)
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or path.startswith(("/dev/fd/", "/dev/stdin", "/proc/"))):
        raise JPQError(f"{path} is a FIFO, a socket or a device, not a file: name a file that holds the data")


def check_output(target: str | os.PathLike) -> None:
    """Raise :class:`JPQError` if ``target`` cannot be an output file: a directory, an empty name, or read-only.

    Commands call it before their work, :func:`new_file` when it begins.
    """
    if not os.fspath(target) or Path(target).is_dir():
        raise JPQError(f"{os.fspath(target) or repr('')} is a folder: name a file to write")
    if os.path.exists(target):
        if not (os.stat(target).st_mode & 0o222 and os.access(target, os.W_OK)):  # root may write everything
            raise JPQError(f"{target} is read-only: name another output, or make it writable")
    elif Path(os.path.realpath(target)).parent.is_file():
        raise JPQError(f"{Path(target).parent} is a file, not a folder: name another output")


def check_outputs(outputs: Iterable[str | os.PathLike | None], inputs: Iterable[str | os.PathLike | None]) -> None:
    """Raise :class:`JPQError` before the work if an output file cannot be written or would destroy something.

    That is so if :func:`check_output` refuses it, it is one of the inputs or a file in one, by whatever path, or it is
    the same as another output. None stands for what was not given; devices and FIFOs may be given twice.
    """
    given = [path for path in outputs if path is not None]
    read = [path for path in inputs if path is not None]
    for output in given:
        check_output(output)
    written = [path for path in given if not _is_special(path)]
    for i, output in enumerate(written):
        for other in read:
            if not (os.path.exists(other) and os.path.exists(output)):
                continue
            if os.path.samefile(output, other) or _is_inside(output, other):
                raise JPQError(f"the output {output} is an input of this command: name another output")
        for earlier in written[:i]:
            if os.path.realpath(output) == os.path.realpath(earlier):
                raise JPQError(f"{output} was named for two outputs: give each its own name")


def check_name(path: str | os.PathLike) -> None:
    """Raise :class:`JPQError` if a path is not UTF-8, which Faiss and safetensors cannot open."""
    try:
        os.fspath(path).encode("utf-8")
    except UnicodeEncodeError:
        raise JPQError(
            f"the name {os.fspath(path)!r} is not UTF-8, as Faiss needs it: rename it, or give another"
        ) from None


def refuse_existing(target: str | os.PathLike) -> None:
    """Raise :class:`JPQError` if ``target`` exists and is not an empty directory, or has a name that is not UTF-8."""
    check_name(target)
    target = Path(target)
    if target.is_dir() and not any(target.iterdir()):
        return
    if target.exists() or target.is_symlink():
        raise JPQError(f"{target} exists already: name another output or remove it first")


@contextlib.contextmanager
def _beside(target: Path, make: Callable[..., Any]) -> Iterator[Path]:
    """Yield a temporary file or directory, ``.NAME.xxxxxxxx.partial`` beside ``target``, and remove what is left of it.

    A lock is held on it, which the system frees when the process dies: so the next writer knows what to remove.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    for leftover in target.parent.glob(f".{glob.escape(target.name)}.????????.partial"):
        with contextlib.suppress(OSError), _flock(leftover, fcntl.LOCK_EX | fcntl.LOCK_NB):
            _remove(leftover)
    while True:
        made = make(prefix=f".{target.name}.", suffix=".partial", dir=target.parent)
        if isinstance(made, tuple):  # mkstemp's open file and its path
            os.close(made[0])
        path = Path(made[1] if isinstance(made, tuple) else made)
        with _flock(path, fcntl.LOCK_EX):
            if not path.exists():
                continue  # another writer took it for a leftover before it was locked
            try:
                yield path
            except BaseException as error:
                _raise_if_disk_full(error, target)
                raise
            finally:
                _remove(path)
            return


@contextlib.contextmanager
def _flock(path: Path, how: int) -> Iterator[None]:
    handle = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(handle, how)
        yield
    finally:
        os.close(handle)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _is_inside(path: str | os.PathLike, folder: str | os.PathLike) -> bool:
    return os.path.isdir(folder) and Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def _is_special(path: str | os.PathLike) -> bool:
    """Tell whether a path is a device, a FIFO or a socket, or what ``/dev`` calls a stream of this process."""
    try:
        mode = os.stat(path).st_mode
        return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)) or os.fspath(path).startswith("/dev/")
    except OSError:
        return False


def _raise_if_disk_full(error: BaseException, target: Path) -> None:
    """Faiss and safetensors wrap a full disk in exceptions of their own: say it as Python does, with the path."""
    no_space = os.strerror(errno.ENOSPC)
    if no_space in str(error) or (isinstance(error, RuntimeError) and "write error" in str(error)):
        raise OSError(errno.ENOSPC, no_space, str(target)) from error


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
