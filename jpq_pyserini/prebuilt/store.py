"""The cache of fetched indexes: one folder each, whole or absent, safe with several processes at once."""

import contextlib
import errno
import logging
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from jpq_pyserini.errors import JPQError
from jpq_pyserini.index.record import IndexRecord, verify_directory
from jpq_pyserini.names import RECORD
from jpq_pyserini.prebuilt.archive import GZIP, unpack
from jpq_pyserini.prebuilt.catalogue import find
from jpq_pyserini.prebuilt.checks import FileCheck
from jpq_pyserini.prebuilt.download import TIMEOUT, disk_error, download
from jpq_pyserini.prebuilt.entries import RELEASE, Entry
from jpq_pyserini.prebuilt.paths import indexes_home
from jpq_pyserini.storage import locked, replacement

_LARGEST_RECORD = 1 << 26

logger = logging.getLogger(__name__)


def directory_of(entry: Entry) -> Path:
    """Return where the index of ``entry`` is, or will be: where Pyserini would keep it."""
    return indexes_home() / entry.stem


def is_downloaded(entry: Entry) -> bool:
    """Tell whether the index is in the cache; it is there whole or not at all."""
    return directory_of(entry).is_dir()


def fetch(
    name: str | Entry, *, force: bool = False, timeout: float = TIMEOUT, progress: bool = True, **release
) -> Path:
    """Return the directory of a prebuilt index, downloading it if it is not in the cache.

    Args:
        name: in one of the catalogues, or an entry of them.
        force: download again what is there; the old one serves until the new one is complete.
        timeout: seconds without data after which a server is given up.
        progress: show progress bars, on a terminal.
        release: for indexes of the authors' release only: ``docids``, ``collection`` and ``tokenizer`` of
            :func:`.release.convert.import_release`.

    Raises:
        JPQError: the name is unknown, no repository or URL gave the index, or it is not what it should be. Nothing is
            left in the cache then but what a later download can continue from.
    """
    entry = name if isinstance(name, Entry) else find(name)
    given = [option for option, value in release.items() if value is not None]
    if given and entry.kind != RELEASE:
        raise JPQError(f"--{given[0]} is for indexes of the authors' release, {entry.name} is none: leave it out")
    target = directory_of(entry)
    if target.is_dir() and not force:
        return target
    with _locked(target):
        if target.is_dir() and not force:  # another process was faster
            return target
        if not (entry.hub or entry.md5 or entry.sha256):
            logger.warning("nobody published a checksum of %s: only its size and format can be checked", entry.name)
        if entry.kind == RELEASE:
            from jpq_pyserini.prebuilt.release_fetch import fetch_release

            with replacement(target) as new:
                fetch_release(entry, new, **release, timeout=timeout, progress=progress)
                _check_facts(entry, new)
        elif not _from_hub(entry, target):
            _from_urls(entry, target, timeout, progress)
    return target


def _from_hub(entry: Entry, target: Path) -> bool:
    """Fetch the entry's repository of the Hugging Face Hub; False without one, or if it failed and URLs are left."""
    if entry.hub is None:
        return False
    from jpq_pyserini.index.hub import from_hub

    repository, _, revision = entry.hub.partition("@")
    work = target.with_name(f".{target.name}.hub")  # kept after a failure: the Hub's client continues from there
    try:
        found = from_hub(repository, revision=revision or None, local_dir=work)
        with replacement(target) as new:
            for file in (*IndexRecord.read(found).sha256, RECORD):
                (new / file).parent.mkdir(parents=True, exist_ok=True)
                os.replace(found / file, new / file)
            _check_facts(entry, new)
    except JPQError as error:
        if not entry.urls:
            raise
        logger.warning("%s; its URLs are tried instead", error)
        return False
    shutil.rmtree(work, ignore_errors=True)
    return True


def _from_urls(entry: Entry, target: Path, timeout: float, progress: bool) -> None:
    """Download the entry's tarball and unpack it; after a full disk the tarball is kept for the next call."""
    expected = FileCheck(entry.size, entry.md5, entry.sha256, GZIP if str(entry.filename).endswith("gz") else ())
    archive = download(
        entry.urls,
        target.with_name(f".{target.name}.download"),
        expected,
        label=entry.filename,
        timeout=timeout,
        spare=entry.jpq.unpacked or entry.size or 0,
        progress=progress,
    )
    try:
        install(archive, target, entry)
    except OSError as error:
        raise disk_error(error, target.parent) from error
    except BaseException:
        archive.unlink()
        raise
    archive.unlink()


def install(archive: Path, directory: Path, entry: Entry) -> None:
    """Unpack the files of an index directory from a tarball, in place of ``directory``: those that its record names."""
    with replacement(directory) as partial:
        try:
            unpack(archive, partial, RECORD.__eq__, strip_top=True, most=_LARGEST_RECORD)
            unpack(archive, partial, set(IndexRecord.read(partial).sha256).__contains__, strip_top=True)
            damaged = verify_directory(partial)
            _check_facts(entry, partial)
        except JPQError as error:
            reason = str(error).replace(str(partial), str(entry.filename)).replace(archive.name, str(entry.filename))
            raise JPQError(reason) from error
        if damaged:
            raise JPQError(
                f"{entry.filename} holds damaged files ({', '.join(damaged)}): it was packed wrongly, "
                "ask for it to be packed again"
            )


def _check_facts(entry: Entry, directory: Path) -> None:
    record = IndexRecord.read(directory)
    for key, found, wanted in (("N", record.count, entry.documents), ("M", record.m, entry.jpq.m)):
        if wanted is not None and found != wanted:
            raise JPQError(
                f"{entry.name}: the downloaded index has {key}={found:,}, the catalogue says {wanted:,}: "
                f"mend {entry.source or 'the catalogue'}, or the index it names"
            )


def remove(name: str) -> list[Path]:
    """Remove a prebuilt index and its unfinished downloads from the cache; returns what was removed."""
    target = directory_of(find(name))
    removed = []
    if target.parent.is_dir():
        with _locked(target):
            leftover = re.compile(
                rf"\.{re.escape(target.name)}\.(hub|(index\.|encoder\.)?download(\.partial)?|[^.]+\.partial)"
            )
            for path in [target, *(path for path in target.parent.iterdir() if leftover.fullmatch(path.name))]:
                if path.is_dir():
                    shutil.rmtree(path)
                    removed.append(path)
                elif path.exists():
                    path.unlink()
                    removed.append(path)
    return removed


@contextlib.contextmanager
def _locked(target: Path) -> Iterator[None]:
    """Hold the lock of an index in the cache, which is made if need be."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if not os.access(target.parent, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise disk_error(error, target.parent) from error
    with locked(target, logger.info):
        yield
