"""Downloads that can be trusted: resumed after a cut, checked before use, from the next URL when one fails."""

import errno
import hashlib
import http.client
import os
import shutil
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm.auto import tqdm

import jpq_pyserini
from jpq_pyserini.errors import JPQError

TIMEOUT = 60.0  # seconds without a byte
STALLS = 3  # attempts in a row that bring nothing before the next URL is tried
ATTEMPTS = 50  # on one URL, however little each brings
PAUSE = 0.5  # seconds before the second attempt; doubles
_OF_THE_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG}
_CHUNK = 1 << 16
_SMALL = 1 << 24


@dataclass(frozen=True)
class Expected:
    """What a download must be.

    Attributes:
        size: in bytes; None when unknown, as for the digests.
        md5, sha256: hexadecimal digests.
        magic: the bytes it must begin with, one of these; all that can be checked of a file without a digest.
    """

    size: int | None = None
    md5: str | None = None
    sha256: str | None = None
    magic: tuple[bytes, ...] = ()

    @property
    def has_digest(self) -> bool:
        """Whether the bytes can be told from any others."""
        return bool(self.md5 or self.sha256)

    def mismatch(self, path: Path) -> str | None:
        """Return in what way ``path`` is something else, or None."""
        size = path.stat().st_size
        if self.size is not None and size != self.size:
            return f"it has {size:,} bytes instead of {self.size:,}"
        with open(path, "rb") as file:
            start = file.read(max(map(len, self.magic), default=0))
        if self.magic and not start.startswith(self.magic):
            page = ", perhaps a web page" if start.lstrip()[:1] == b"<" else ""
            return f"it begins with {start!r}, which is no such file{page}"
        digests = digests_of(path, [name for name in ("md5", "sha256") if getattr(self, name)])
        for name, digest in digests.items():
            if digest != getattr(self, name):
                return f"its {name} is {digest} instead of {getattr(self, name)}"
        return None


class _NextURLError(Exception):
    """This URL will not give the file, however often it is asked; the message says why."""


def digests_of(path: str | os.PathLike, names: Sequence[str]) -> dict[str, str]:
    """Return the named hexadecimal digests of a file, read once."""
    digests = {name: hashlib.new(name, usedforsecurity=False) for name in names}
    with open(path, "rb") as file:
        while digests and (chunk := file.read(1 << 22)):
            for digest in digests.values():
                digest.update(chunk)
    return {name: digest.hexdigest() for name, digest in digests.items()}


def download(
    urls: Sequence[str],
    target: str | os.PathLike,
    expected: Expected,
    *,
    timeout: float = TIMEOUT,
    progress: bool = True,
) -> Path:
    """Download one file from the first of ``urls`` that gives what is expected; returns ``target``.

    What arrives is kept in ``TARGET.partial``, also when this process dies, and the next attempt goes on from there. If
    there is no digest, nothing would show that two halves do not belong together: then only the same server, in the
    same call, with the same ``ETag`` is asked for the rest.

    Raises:
        JPQError: every URL failed, with the reason of each; or the disk is full. ``target`` is not there then.
    """
    target = Path(target)
    partial = target.with_name(target.name + ".partial")
    reasons = []
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        for url in urls:
            if not expected.has_digest:
                partial.unlink(missing_ok=True)
            reason = _try(url, partial, expected, timeout, progress)
            if reason is None:
                os.replace(partial, target)
                return target
            reasons.append(f"{url}: {reason}")
    except OSError as error:
        raise _disk_error(error, target.parent) from error
    if not expected.has_digest:
        partial.unlink(missing_ok=True)
    raise JPQError(f"could not download {target.name}: {'; '.join(reasons)}")


def read_small(url: str, timeout: float = 20.0) -> str:
    """Return a small UTF-8 file, such as a catalogue; :class:`JPQError` names the URL and the reason."""
    try:
        with _open(url, {}, timeout) as response:
            data = response.read(_SMALL + 1)
            announced = response.headers.get("Content-Length")
        if len(data) > _SMALL or (announced and int(announced) != len(data)):
            raise JPQError(f"{url}: {len(data):,} bytes came, {announced or 'too many'} were announced")
        return data.decode("utf-8")
    except JPQError:
        raise
    except (OSError, http.client.HTTPException, _NextURLError, ValueError) as error:
        raise JPQError(f"{url}: {_reason(error)}") from error


def _try(url: str, partial: Path, expected: Expected, timeout: float, progress: bool) -> str | None:
    """Fill ``partial`` from one URL; returns None when it is what was expected, else the reason why not."""
    while True:
        resumed = _size(partial) > 0
        try:
            _Transfer(url, partial, expected, timeout, progress).run()
        except _NextURLError as error:
            # A server that announces too much never seems to be done, but the digest knows better.
            done = expected.has_digest and partial.is_file() and expected.mismatch(partial) is None
            return None if done else str(error)
        reason = expected.mismatch(partial)
        if reason is None:
            return None
        partial.unlink()
        if not resumed:
            return reason
        # The first half was another download's and may be the wrong one: once more from the start.


class _Transfer:
    """One URL, asked again after every cut for what is still missing."""

    def __init__(self, url, partial, expected, timeout, progress):
        self.url, self.partial, self.expected, self.timeout = url, partial, expected, timeout
        self.progress = progress
        self.etag = None  # of the answer that the first bytes are from

    def run(self) -> None:
        """Return when ``partial`` is complete as far as sizes tell; :class:`_NextURLError` when that is hopeless."""
        stalls = 0
        for _ in range(ATTEMPTS):
            before = _size(self.partial)
            try:
                return self._attempt()
            except (OSError, http.client.HTTPException) as error:
                if getattr(error, "errno", None) in _OF_THE_DISK and not isinstance(error, urllib.error.URLError):
                    raise
                if _is_final(error):
                    raise _NextURLError(_reason(error)) from error
                if isinstance(error, urllib.error.HTTPError) and error.code == 416:  # no such range: begin again
                    self.partial.unlink(missing_ok=True)
                stalls = 0 if _size(self.partial) > before else stalls + 1
                if stalls >= STALLS:
                    raise _NextURLError(f"{_reason(error)}, {stalls} times without progress") from error
                time.sleep(PAUSE * 2**stalls)
        raise _NextURLError(f"still not complete after {ATTEMPTS} attempts")

    def _attempt(self) -> None:
        start, size = self._start(), self.expected.size
        if size is not None and start == size:
            return
        headers = {}
        if start:
            headers["Range"] = f"bytes={start}-"
            if not self.expected.has_digest:
                headers["If-Range"] = self.etag
        with _open(self.url, headers, self.timeout) as response:
            if start and not _continues(response, start):
                start = 0
            tag = response.headers.get("ETag") or ""
            self.etag = None if tag.startswith("W/") else tag or None
            length = response.headers.get("Content-Length")
            announced = start + int(length) if (length or "").isdigit() else None
            if None not in (size, announced) and announced != size:
                raise _NextURLError(f"the server announces {announced:,} bytes, the catalogue says {size:,}")
            self._receive(response, start, size if size is not None else announced)

    def _receive(self, response, start: int, total: int | None) -> None:
        free = shutil.disk_usage(self.partial.parent).free
        if total is not None and total - start > free:
            raise OSError(errno.ENOSPC, f"{total - start:,} bytes are to come, {free:,} are free", str(self.partial))
        bar = tqdm(
            total=total,
            initial=start,
            desc=self.partial.name.removesuffix(".partial"),
            unit="B",
            unit_scale=True,
            disable=None if self.progress else True,  # None: only on a terminal
        )
        done = start
        with bar, open(self.partial, "ab" if start else "wb") as file:
            while chunk := response.read(_CHUNK):
                done += len(chunk)
                if total is not None and done > total:
                    break
                file.write(chunk)
                bar.update(len(chunk))
        if total is not None and done > total:
            self.partial.unlink()
            raise _NextURLError(f"the server sends more than {total:,} bytes")
        if total is not None and done < total:
            raise ConnectionError(f"the connection ended after {done:,} of {total:,} bytes")

    def _start(self) -> int:
        """Return how much is there already and may be kept."""
        start = _size(self.partial)
        too_much = self.expected.size is not None and start > self.expected.size
        if start and (too_much or not (self.expected.has_digest or self.etag)):
            self.partial.unlink()
            return 0
        return start


def _open(url: str, headers: dict, timeout: float):
    scheme = urllib.parse.urlsplit(url).scheme
    if scheme not in ("http", "https", "file"):
        raise _NextURLError(f"the scheme {scheme or 'of a plain path'!r} is not supported: use https, http or file")
    agent = {"User-Agent": f"jpq_pyserini/{jpq_pyserini.__version__}", "Accept-Encoding": "identity"}
    return urllib.request.urlopen(urllib.request.Request(_direct(url), headers=agent | headers), timeout=timeout)


def _direct(url: str) -> str:
    """Ask Dropbox for the file rather than for the page that shows it, which is what ``dl=0`` may get."""
    parts = urllib.parse.urlsplit(url)
    if parts.hostname == "www.dropbox.com" and parts.query == "dl=0":
        return urllib.parse.urlunsplit(parts._replace(query="dl=1"))
    return url


def _continues(response, start: int) -> bool:
    """Tell whether the answer is the rest from ``start``, rather than the whole file again."""
    asked = response.headers.get("Content-Range", "").removeprefix("bytes ")
    return getattr(response, "status", None) == 206 and asked.startswith(f"{start}-")


def _is_final(error) -> bool:
    if isinstance(error, urllib.error.HTTPError):
        return error.code < 500 and error.code not in (408, 416, 425, 429)
    reason = getattr(error, "reason", None)
    return isinstance(reason, FileNotFoundError | PermissionError | IsADirectoryError | str)


def _reason(error) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"{error.code} {error.reason}"
    error = getattr(error, "reason", error)
    if isinstance(error, TimeoutError):
        return "timed out"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _disk_error(error: OSError, folder: Path) -> JPQError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return JPQError(
            f"no space left in {folder} ({error.strerror}): free some, or set PYSERINI_CACHE to another disk"
        )
    return JPQError(f"cannot write to {folder} ({error.strerror or error}): set PYSERINI_CACHE to a folder of yours")


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
