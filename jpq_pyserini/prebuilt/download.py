"""Downloads that can be trusted: resumed after a cut, checked before use, from the next URL when one fails."""

import errno
import http.client
import os
import shutil
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm.auto import tqdm

import jpq_pyserini
from jpq_pyserini.errors import JPQError, printable
from jpq_pyserini.prebuilt.checks import FileCheck

TIMEOUT = 60.0  # seconds
LEAST_SPEED = 1000  # bytes a second, over TIMEOUT; a server below is given up
STALLS = 3  # attempts in a row that bring nothing before the next URL is tried
ATTEMPTS = 50  # on one URL, however little each brings
PAUSE = 0.5  # seconds before the second attempt; doubles
_OF_THE_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG}
_CHUNK = 1 << 16
_SMALL = 1 << 24
_SMALL_TIMEOUT = 20.0


class _NextURLError(Exception):
    """This URL will not give the file, however often it is asked; the message says why."""


def download(
    urls: Sequence[str],
    target: str | os.PathLike,
    expected: FileCheck,
    *,
    label: str | None = None,
    timeout: float = TIMEOUT,
    spare: int = 0,
    progress: bool = True,
) -> Path:
    """Download one file from the first of ``urls`` that gives what is expected; returns ``target``.

    What arrives is kept in ``TARGET.partial``, also when this process dies, and the next attempt continues from there;
    but a file without a digest is always downloaded from the start, because nothing would show that two halves do not
    belong together. A ``target`` that is there already and has the expected digest is not downloaded again.

    Args:
        urls: tried in this order.
        target: file to write.
        expected: what is checked before the file is ``target``.
        label: what the download is called in messages and progress bars; default: the name of ``target``.
        timeout: seconds without a byte, or with fewer than :data:`LEAST_SPEED` a second, after which a server is given
            up.
        spare: bytes of disk that will be needed beside the file, to unpack it.
        progress: show progress bars, on a terminal.

    Raises:
        JPQError: every URL failed, with the reason of each; or the disk is full. ``target`` is not there then.
    """
    target = Path(target)
    partial = target.with_name(target.name + ".partial")
    label = label or target.name
    reasons = []
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if expected.has_digest and target.is_file() and expected.mismatch(target) is None:
            return target
        for url in urls:
            reason = _try(_Transfer(url, partial, expected, timeout, spare, label if progress else None))
            if reason is None:
                os.replace(partial, target)
                return target
            reasons.append(f"{printable(url)}: {reason}")
    except OSError as error:
        raise disk_error(error, target.parent) from error
    if not expected.has_digest:
        partial.unlink(missing_ok=True)
    raise JPQError(
        f"could not download {label} ({'; '.join(reasons)}): "
        "check the network and the URLs in the catalogue, and run the command again"
    )


def read_small(url: str, timeout: float = _SMALL_TIMEOUT) -> str:
    """Return a small UTF-8 file, such as a catalogue; :class:`JPQError` names the URL and the reason."""
    try:
        data = b""
        with _open(url, {}, timeout) as response:
            announced = response.headers.get("Content-Length")
            for chunk in _chunks(response, timeout):
                data += chunk
                if len(data) > _SMALL:
                    break
        if len(data) > _SMALL or (announced and int(announced) != len(data)):
            raise _NextURLError(f"{len(data):,} bytes came, {announced or 'too many'} were announced")
        return data.decode("utf-8")
    except (OSError, http.client.HTTPException, _NextURLError, ValueError) as error:
        raise JPQError(f"{printable(url)}: {_reason(error)}") from error


def _try(transfer: "_Transfer") -> str | None:
    """Run a transfer; returns None when its file is what was expected, else the reason why not."""
    partial, expected = transfer.partial, transfer.expected
    while True:
        resumed = expected.has_digest and _size(partial) > 0
        try:
            transfer.run()
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


@dataclass
class _Transfer:
    """One URL, asked again after every cut for what is still missing."""

    url: str
    partial: Path
    expected: FileCheck
    timeout: float
    spare: int
    label: str | None  # None: no progress bar

    def run(self) -> None:
        """Return when ``partial`` is complete as far as sizes tell; :class:`_NextURLError` when that is hopeless."""
        stalls = 0
        for _ in range(ATTEMPTS):
            before = self._start()
            try:
                return self._attempt(before)
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
            except ValueError as error:  # of urllib, for what it cannot parse: also where a server sends us
                raise _NextURLError(f"the URL cannot be used ({_reason(error)})") from error
        raise _NextURLError(f"still not complete after {ATTEMPTS} attempts")

    def _attempt(self, start: int) -> None:
        size = self.expected.size
        if start and start == size:
            return
        with _open(self.url, {"Range": f"bytes={start}-"} if start else {}, self.timeout) as response:
            if getattr(response, "status", None) != 206:
                start = 0
            elif not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
                self.partial.unlink(missing_ok=True)  # so that the next attempt asks for all of it
                raise ConnectionError("the server answers with another part of the file")
            length = response.headers.get("Content-Length")
            announced = start + int(length) if (length or "").isdigit() else None
            if None not in (size, announced) and announced != size:
                raise _NextURLError(f"the server announces {announced:,} bytes, the catalogue says {size:,}")
            self._receive(response, start, size if size is not None else announced)

    def _receive(self, response, start: int, total: int | None) -> None:
        free = shutil.disk_usage(self.partial.parent).free
        if total is not None and total - start + self.spare > free:
            unpacked = f" and {self.spare:,} to be unpacked" if self.spare else ""
            reason = f"{total - start:,} bytes are to come{unpacked}, {free:,} are free"
            raise OSError(errno.ENOSPC, reason, str(self.partial))
        bar = tqdm(
            total=total,
            initial=start,
            desc=self.label,
            unit="B",
            unit_scale=True,
            disable=True if self.label is None else None,  # None: only on a terminal
        )
        done = start
        with bar, open(self.partial, "ab" if start else "wb") as file:
            for chunk in _chunks(response, self.timeout):
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
        if start and (too_much or not self.expected.has_digest):
            self.partial.unlink()
            return 0
        return start


def _chunks(response, timeout: float) -> Iterator[bytes]:
    """Yield what a server sends; :class:`_NextURLError` if that is less than LEAST_SPEED over ``timeout`` seconds."""
    since, came = time.monotonic(), 0
    while chunk := response.read1(_CHUNK):
        yield chunk
        came += len(chunk)
        seconds = time.monotonic() - since
        if seconds >= timeout:
            if came < LEAST_SPEED * seconds:
                raise _NextURLError(f"the server sends {came / seconds:.0f} bytes a second, which would take too long")
            since, came = time.monotonic(), 0


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


def _is_final(error) -> bool:
    if isinstance(error, urllib.error.HTTPError):
        return error.code < 500 and error.code not in (408, 416, 425, 429)
    reason = getattr(error, "reason", None)
    if isinstance(error, http.client.InvalidURL):
        return True
    return isinstance(reason, FileNotFoundError | PermissionError | IsADirectoryError | str)


def _reason(error) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return printable(f"{error.code} {error.reason}")
    error = getattr(error, "reason", error)
    if isinstance(error, TimeoutError):
        return "timed out"
    return printable(getattr(error, "strerror", None) or str(error) or type(error).__name__)


def disk_error(error: OSError, folder: Path) -> JPQError:
    """Return the line for an error that the disk of the cache gave."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return JPQError(
            f"no space left in {folder} ({error.strerror}): free some, or set PYSERINI_CACHE to another disk"
        )
    return JPQError(f"cannot write to {folder} ({error.strerror or error}): set PYSERINI_CACHE to a folder of yours")


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
