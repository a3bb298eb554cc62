"""Pyserini's catalogues, which 2.4 fetches while it is imported: kept in its cache, and missed without a network.

Pyserini 2.4 reads its lists of prebuilt indexes, topics and qrels from GitHub, at addresses that name a commit, so that
what they give never changes. What was fetched once is kept in the folder ``catalogues`` of Pyserini's cache. What is
not there and cannot be fetched is an empty list, with a note: what needs no catalogue (our indexes, files) goes on.
"""

import contextlib
import functools
import io
import json
import os
import re
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from jpq_pyserini.cli import note
from jpq_pyserini.errors import reason_of
from jpq_pyserini.prebuilt.paths import cache_home

_plain = urllib.request.urlopen
_PINNED = re.compile(r"/[0-9a-f]{40}/")
# The module looks these two names up while it is imported; nothing can be downloaded by a name without addresses.
_LOOKED_UP = ("msmarco-v1-passage.unicoil", "msmarco-v2-passage.unicoil-0shot")
_NOT_HERE = {"description": "not fetched", "filename": "", "urls": [], "md5": "", "size": 0}
_said: list[str] = []  # why the network was given up


def before_prebuilt_indexes() -> None:
    """Before ``pyserini.prebuilt_index_info``: let it import our ``urlopen``."""
    urllib.request.urlopen = open_kept


def after_prebuilt_indexes() -> None:
    """After that: leave ``urllib`` as it was."""
    urllib.request.urlopen = _plain


def wrap_topics(module) -> None:
    """Let ``pyserini.search._base`` read its lists of topics and qrels through :func:`open_kept`."""
    if hasattr(module, "urlopen"):
        module.urlopen = open_kept


@functools.wraps(_plain)
def open_kept(url, *args, **kwargs):
    """As ``urllib.request.urlopen``, but files of a commit are kept, and what cannot be had is an empty list."""
    if not isinstance(url, str) or not _PINNED.search(url):
        return _plain(url, *args, **kwargs)
    kept = cache_home() / "catalogues" / urlsplit(url).path.lstrip("/")
    with contextlib.suppress(OSError):
        return io.BytesIO(kept.read_bytes())
    if not _said:
        try:
            with _plain(url, *args, **kwargs) as response:
                content = response.read()
            json.loads(content)
        except (OSError, ValueError) as error:  # URLError and time-outs are OSErrors
            _said.append(reason_of(error))
            note(
                f"Pyserini's catalogues cannot be fetched ({_said[0]}): of its prebuilt indexes, topics and qrels only "
                f"those are known whose lists are in {cache_home() / 'catalogues'}"
            )
        else:
            _keep(kept, content)
            return io.BytesIO(content)
    return io.BytesIO(json.dumps(_empty(url)).encode())


def _keep(path: Path, content: bytes) -> None:
    with contextlib.suppress(OSError):  # a cache that cannot be written is none
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}.{os.getpid()}")
        partial.write_bytes(content)
        partial.replace(path)


def _empty(url: str) -> dict | list:
    if "/lucene/" not in url:
        return {}
    return [{"name": name, **_NOT_HERE} for name in _LOOKED_UP] if url.endswith("-impact.json") else []
