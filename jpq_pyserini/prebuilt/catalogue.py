"""Catalogues: JSON files that map the names of prebuilt indexes to their :mod:`.entries`.

Ours is ``prebuilt/catalogue.json``; users name more of them in ``JPQ_PREBUILT``.
"""

import difflib
import hashlib
import logging
import os
from collections.abc import Iterator

from jpq_pyserini.errors import JPQError, printable, reason_of
from jpq_pyserini.json_text import parse_json
from jpq_pyserini.prebuilt.entries import Entry
from jpq_pyserini.prebuilt.paths import cache_home, local_path
from jpq_pyserini.resources import data_folder
from jpq_pyserini.storage import check_input, new_file

#: Further catalogues, separated by commas: files, folders of ``*.json`` files, ``file://`` and ``http(s)://`` URLs.
#: They come before ours, so a group can keep a mirror under our names.
VARIABLE = "JPQ_PREBUILT"
BUILT_IN = data_folder("prebuilt") / "catalogue.json"


logger = logging.getLogger(__name__)


def load_entries() -> dict[str, Entry]:
    """Read the user's catalogues and ours; a name in two of them is the first one's.

    Raises:
        JPQError: a catalogue is missing or damaged.
    """
    entries = {}
    for source, text in _catalogues():
        for name, values in _parse(source, text).items():
            if name not in entries:
                entries[name] = Entry.from_json(name, values, source)
    return entries


def find(name: str) -> Entry:
    """Return the entry ``name``; :class:`JPQError` with near matches when there is none."""
    entries = load_entries()
    if name not in entries:
        raise unknown(name, entries)
    return entries[name]


def unknown(name: str, known) -> JPQError:
    """Return the error for a name that none of the catalogues has; ``known`` are the names they have."""
    near = difflib.get_close_matches(name, list(known), n=4, cutoff=0.5)
    near += [other for other in known if name.lower() in other.lower() and other not in near][:3]
    hint = f"did you mean {', '.join(near)}?" if near else "nothing has a similar name"
    return JPQError(
        f"no prebuilt index is called {name!r}, and no such path exists: {hint}; "
        f"`python -m jpq_pyserini.prebuilt list` shows ours, {VARIABLE} adds catalogues"
    )


def _catalogues() -> Iterator[tuple[str, str]]:
    """Yield (source, text) of every catalogue in the order of precedence."""
    for item in os.environ.get(VARIABLE, "").split(","):
        if item := item.strip():
            yield from _read(item)
    yield from _read(str(BUILT_IN))


def _read(item: str) -> Iterator[tuple[str, str]]:
    try:
        path = local_path(item)
    except ValueError as error:
        raise JPQError(f"{printable(item)} is no URL ({error}): mend or unset {VARIABLE}") from error
    if path is None:
        yield item, _read_remote(item)
        return
    files = sorted(path.glob("*.json")) if path.is_dir() else [path]
    if not files:
        raise JPQError(f"{path} holds no *.json catalogue: mend or unset {VARIABLE}")
    for file in files:
        check_input(file)
        try:
            yield str(file), file.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "not UTF-8 text"
            raise JPQError(f"cannot read the catalogue {file} ({reason}): mend or unset {VARIABLE}") from error


def _read_remote(url: str) -> str:
    """Return a remote catalogue; what was read last is kept in the cache and serves when the network is away."""
    from jpq_pyserini.prebuilt.download import read_small

    kept = cache_home() / "jpq-catalogues" / f"{hashlib.sha256(url.encode()).hexdigest()[:32]}.json"
    try:
        text = read_small(url)
    except JPQError as error:
        if not kept.is_file():
            raise JPQError(f"cannot read the catalogue {error}: mend or unset {VARIABLE}") from error
        logger.warning("cannot read the catalogue %s; the copy of the last time is used", error)
        return kept.read_text(encoding="utf-8")
    _parse(url, text)
    if not kept.is_file() or kept.read_text(encoding="utf-8") != text:
        with new_file(kept) as file:
            file.write(text)
    return text


def _parse(source: str, text: str) -> dict:
    try:
        entries = parse_json(text)
    except ValueError as error:
        raise JPQError(f"{source} is no JSON ({reason_of(error)}): mend it or unset {VARIABLE}") from error
    if not isinstance(entries, dict):
        raise JPQError(f"{source} holds a {type(entries).__name__}, not an object of entries by name: mend it")
    return entries
