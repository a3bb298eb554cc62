"""The cache of fetched indexes: one folder each, whole or absent, safe with several processes at once."""

import contextlib
import fcntl
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from jpq_pyserini.errors import JPQError
from jpq_pyserini.index.record import verify_directory
from jpq_pyserini.prebuilt.archive import GZIP, unpack
from jpq_pyserini.prebuilt.catalogue import RELEASE, Entry, find
from jpq_pyserini.prebuilt.download import TIMEOUT, Expected, download
from jpq_pyserini.prebuilt.paths import indexes_home
from jpq_pyserini.storage import new_directory

logger = logging.getLogger(__name__)


def directory_of(entry: Entry) -> Path:
    """Return where the index of ``entry`` is, or will be: where Pyserini would keep it."""
    return indexes_home() / entry.stem


def is_downloaded(entry: Entry) -> bool:
    """Tell whether the index is in the cache; it is there whole or not at all."""
    return directory_of(entry).is_dir()


def fetch(
    name: str | Entry,
    *,
    force: bool = False,
    timeout: float = TIMEOUT,
    progress: bool = True,
    docids: str | os.PathLike | None = None,
    collection: str | os.PathLike | None = None,
    tokenizer: str | None = None,
) -> Path:
    """Return the directory of a prebuilt index, downloading it if it is not in the cache.

    Args:
        name: in one of the catalogues, or an entry of them.
        force: download again what is there; the old one serves until the new one is complete.
        timeout: seconds without a byte after which a server counts as dead.
        progress: show progress bars, on a terminal.
        docids, collection, tokenizer: for releases of the authors only, see :func:`.release.import_release`.

    Raises:
        JPQError: the name is unknown, no URL gave the file, or the file is not what it should be. Nothing is left in
            the cache then but what a later download can go on from.
    """
    entry = name if isinstance(name, Entry) else find(name)
    target = directory_of(entry)
    if target.is_dir() and not force:
        return target
    with locked(target):
        if target.is_dir() and not force:  # another process was faster
            return target
        if not (entry.md5 or entry.sha256):
            logger.warning("nobody published a checksum of %s: only its size and format can be checked", entry.name)
        if entry.kind == RELEASE:
            from jpq_pyserini.prebuilt.release_fetch import fetch_release

            options = {"docids": docids, "collection": collection, "tokenizer": tokenizer}
            with replacement(target) as new:
                fetch_release(entry, new, options, timeout=timeout, progress=progress)
            return target
        expected = Expected(entry.size, entry.md5, entry.sha256, GZIP if entry.filename.endswith("gz") else ())
        archive = download(
            entry.urls, target.with_name(f".{target.name}.download"), expected, timeout=timeout, progress=progress
        )
        try:
            with replacement(target) as new:
                install(archive, new, entry)
        finally:
            archive.unlink()
    return target


def install(archive: Path, directory: Path, entry: Entry) -> None:
    """Unpack a tarball of an index directory to ``directory`` and check every file that its record names."""
    with new_directory(directory) as partial:
        try:
            unpack(archive, partial, strip_top=True)
            damaged = verify_directory(partial)
        except JPQError as error:
            reason = str(error).replace(str(partial), entry.filename).replace(archive.name, entry.filename)
            raise JPQError(reason) from error
        if damaged:
            raise JPQError(f"{entry.filename} holds damaged files ({', '.join(damaged)}): it was packed wrongly")


def remove(name: str) -> list[Path]:
    """Remove a prebuilt index and its unfinished downloads from the cache; returns what was removed."""
    target = directory_of(find(name))
    removed = []
    if target.parent.is_dir():
        with locked(target):
            leftover = re.compile(rf"\.{re.escape(target.name)}\.(new|old|download(\.partial)?|[^.]+\.partial)")
            for path in [target, *(path for path in target.parent.iterdir() if leftover.fullmatch(path.name))]:
                if path.is_dir():
                    shutil.rmtree(path)
                    removed.append(path)
                elif path.exists():
                    path.unlink()
                    removed.append(path)
    return removed


@contextlib.contextmanager
def replacement(target: Path) -> Iterator[Path]:
    """Yield a path beside ``target``; what the block makes there takes ``target``'s place when the block ends well."""
    new = target.with_name(f".{target.name}.new")
    shutil.rmtree(new, ignore_errors=True)  # of a process that died
    try:
        yield new
        old = target.with_name(f".{target.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        if target.exists():
            os.rename(target, old)
        os.rename(new, target)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(new, ignore_errors=True)


@contextlib.contextmanager
def locked(target: Path, say: Callable[..., None] = logger.info) -> Iterator[None]:
    """Hold the lock of ``target``, waiting for the process that has it; the system frees it when a process dies."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        file = open(_lock_file(target), "w")  # noqa: SIM115
    except OSError as error:
        raise JPQError(
            f"cannot write to {target.parent} ({error.strerror}): set PYSERINI_CACHE to a folder of yours"
        ) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another process is fetching %s: waiting for it", target.name)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _lock_file(target: Path) -> Path:
    return target.with_name(f".{target.name}.lock")
