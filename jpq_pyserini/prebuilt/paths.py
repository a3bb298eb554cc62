"""Where Pyserini keeps its downloads, and which URLs are files of this machine."""

import os
import re
import urllib.parse
import urllib.request
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def cache_home() -> Path:
    """Return Pyserini's cache: ``PYSERINI_CACHE``, else (from 2.4 on) ``./.cache/pyserini`` if ./.cache is there, else
    ``~/.cache/pyserini``."""
    if custom := os.environ.get("PYSERINI_CACHE"):
        return Path(custom).absolute()
    local = Path.cwd() / ".cache"
    if local.is_dir() and _pyserini_version() >= (2, 4):
        return local / "pyserini"
    return Path.home() / ".cache" / "pyserini"


def indexes_home() -> Path:
    """Return the folder of the cache that holds indexes."""
    return cache_home() / "indexes"


def local_path(item: str) -> Path | None:
    """Return the path that a path or ``file://`` URL means; None for any other URL."""
    parts = urllib.parse.urlsplit(item)
    if parts.scheme == "file":
        return Path(urllib.request.url2pathname(parts.path))
    return None if "://" in item else Path(item).expanduser()


def _pyserini_version() -> tuple[int, ...]:
    try:
        return tuple(int(number) for number in re.findall(r"\d+", version("pyserini"))[:2])
    except PackageNotFoundError:
        return (0, 0)
