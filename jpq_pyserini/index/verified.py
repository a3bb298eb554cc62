"""Whether the files of an index directory are those that were written, found out once for each state of the files.

Reading every file and taking its SHA-256 costs about a second a gigabyte. So that only the first opening pays that, an
empty file in the user's cache is named after what was found in order: the record, and each file's inode, size and times
of change. Nothing is written beside the index.
"""

import hashlib
import os
import time
from pathlib import Path

from jpq_pyserini.errors import JPQError
from jpq_pyserini.index.record import IndexRecord, check_verified, referred_file
from jpq_pyserini.names import RECORD, VECTORS

#: Environment variable: 1 compares the checksums at every opening, 0 at none.
VARIABLE = "JPQ_VERIFY"
_SETTLED = 1.0  # seconds after which a file that changes again has other times
_KEPT_DAYS = 90  # of what nobody opened


def check_once(directory: str | os.PathLike, record: IndexRecord, but: str | None = None) -> None:
    """Raise :class:`JPQError` if a file is not the one that was written; files as they were last time are not read.

    Args:
        directory: the index directory.
        record: its record.
        but: a file that is not read, and so may be damaged.
    """
    setting = os.environ.get(VARIABLE, "").strip()
    if setting not in ("", "0", "1"):
        raise JPQError(f"{VARIABLE}={setting}: set it to 1, to compare checksums at every opening, or to 0 for none")
    if setting == "0":
        return
    begun = time.time()
    state, changed = _state(Path(directory), record, but)
    stamp = None if state is None else _stamps() / state
    if setting != "1" and stamp is not None and stamp.exists():
        return
    check_verified(directory, but)
    if stamp is not None and begun - changed > _SETTLED and _state(Path(directory), record, but)[0] == state:
        _write(stamp)


def _state(directory: Path, record: IndexRecord, but: str | None) -> tuple[str | None, float]:
    """Return a digest of the record and the files' inodes, sizes and times, and the last of the times in seconds."""
    last = 0
    try:
        digest = hashlib.sha256((directory / RECORD).read_bytes())
        names = {*record.sha256, RECORD}
        if referred := referred_file(record):
            names.add(str(referred) if but != VECTORS else RECORD)
        for name in sorted(names - {but}):
            found = os.stat(directory / name)
            last = max(last, found.st_mtime_ns, found.st_ctime_ns)
            digest.update(
                f"{name} {found.st_dev} {found.st_ino} {found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}".encode()
            )
    except (OSError, ValueError):
        return None, 0.0
    return digest.hexdigest(), last / 1e9


def _stamps() -> Path:
    home = os.environ.get("PYSERINI_CACHE") or os.path.join(os.path.expanduser("~"), ".cache", "pyserini")
    return Path(home) / "jpq-verified"


def _write(stamp: Path) -> None:
    """Make the empty file and remove those of long ago; where that is not possible the next opening reads again."""
    try:
        stamp.parent.mkdir(parents=True, exist_ok=True)
        stamp.touch()
        for each in stamp.parent.iterdir():
            if time.time() - each.stat().st_mtime > _KEPT_DAYS * 86400:
                each.unlink()
    except OSError:
        pass
