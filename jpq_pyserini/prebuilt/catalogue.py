"""Catalogues: JSON files that map the names of prebuilt indexes to where and what they are.

An entry has the keys of Pyserini's own catalogues (both names of the size, because 1.6 and 2.x differ) and, under
``jpq``, what JPQ needs. Ours is ``prebuilt/catalogue.json``; users name more of them in ``JPQ_PREBUILT``.
"""

import difflib
import hashlib
import json
import logging
import os
import re
import urllib.parse
from dataclasses import dataclass, field
from pathlib import Path

from jpq_pyserini.errors import JPQError
from jpq_pyserini.prebuilt.paths import cache_home, local_path
from jpq_pyserini.resources import data_folder
from jpq_pyserini.storage import new_file

#: Further catalogues, separated by commas: files, folders of ``*.json`` files, ``file://`` and ``http(s)://`` URLs.
#: They come before ours, so a group can keep a mirror under our names.
VARIABLE = "JPQ_PREBUILT"
BUILT_IN = data_folder("prebuilt") / "catalogue.json"
INDEX_DIRECTORY = "directory"  # kind: a tarball of an index directory
RELEASE = "release"  # kind: files of the paper's authors, which are converted after the download

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
_FILENAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+,-]*")  # the authors' files have commas
_DIGEST = {"md5": re.compile(r"[0-9a-f]{32}"), "sha256": re.compile(r"[0-9a-f]{64}")}
_SIZES = ("size", "size compressed (bytes)")  # Pyserini 2.x, Pyserini 1.6

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Entry:
    """One prebuilt index.

    Attributes:
        name: what users give to ``--index``.
        description, readme, texts: as in Pyserini's catalogues; ``texts`` names the Lucene index with the texts.
        filename: of the download; a plain name.
        urls: absolute; tried in this order.
        md5, sha256: hexadecimal, of the download; None when nobody published them.
        size: of the download in bytes, or None.
        documents: N, or None.
        jpq: ``kind``, ``dimension``, ``m``, ``nbits``, ``layout``, ``codec``, ``encoder``, ``expected`` and, for
            releases, ``docids``.
        source: the catalogue that it is from.
    """

    name: str
    description: str
    filename: str
    urls: tuple[str, ...]
    md5: str | None = None
    sha256: str | None = None
    size: int | None = None
    documents: int | None = None
    texts: str | None = None
    readme: str | None = None
    jpq: dict = field(default_factory=dict)
    source: str = ""

    @property
    def kind(self) -> str:
        """:data:`INDEX_DIRECTORY` or :data:`RELEASE`."""
        return self.jpq.get("kind", INDEX_DIRECTORY)

    @property
    def stem(self) -> str:
        """Name of the index in the cache: what Pyserini would call it for a tarball; unique also without an md5."""
        if self.kind == RELEASE:
            return f"{self.name}.imported"
        base = self.filename.removesuffix(".gz").removesuffix(".tar")
        return f"{base}.{self.md5}" if self.md5 else f"{base}.{(self.sha256 or 'unverified')[:32]}"

    @classmethod
    def from_json(cls, name: str, values: dict, source: str) -> "Entry":
        """Check one entry of the catalogue ``source``.

        Raises:
            JPQError: a key is missing or no good; the message names the catalogue, the entry and the key.
        """

        def reject(key, remedy):
            return JPQError(f"{source}: entry {name!r} has {key}={values.get(key)!r}: {remedy}")

        if not isinstance(values, dict):
            raise JPQError(f"{source}: entry {name!r} is a {type(values).__name__}, not an object: mend the catalogue")
        if not _NAME.fullmatch(name):
            raise JPQError(f"{source}: {name!r} is no name for an index: use letters, digits and . _ + - only")
        urls = values.get("urls")
        if not isinstance(urls, list) or not urls or not all(isinstance(url, str) and url for url in urls):
            raise reject("urls", "give a list of one or more URLs")
        filename = values.get("filename") or urllib.parse.unquote(urllib.parse.urlsplit(urls[0]).path).split("/")[-1]
        if not _FILENAME.fullmatch(filename):
            raise reject("filename", "give the plain name of the file")
        for key, pattern in _DIGEST.items():
            if values.get(key) is not None and not pattern.fullmatch(str(values[key])):
                raise reject(key, "give hexadecimal digits in lower case, or null when it is unknown")
        size = next((values[key] for key in _SIZES if values.get(key) is not None), None)
        for key, number in (("size", size), ("documents", values.get("documents"))):
            if number is not None and (not isinstance(number, int) or number < 0):
                raise reject(key, "give a whole number")
        if not isinstance(values.get("jpq", {}), dict):
            raise reject("jpq", "give an object, or leave it out")
        return cls(
            name=name,
            description=str(values.get("description", "")),
            filename=filename,
            urls=tuple(_absolute(url, source) for url in urls),
            md5=values.get("md5"),
            sha256=values.get("sha256"),
            size=size,
            documents=values.get("documents"),
            texts=values.get("texts"),
            readme=values.get("readme"),
            jpq=values.get("jpq", {}),
            source=source,
        )

    def to_json(self) -> dict:
        """Return the entry in Pyserini's schema, for a catalogue file."""
        return {
            "description": self.description,
            "filename": self.filename,
            "readme": self.readme,
            "urls": list(self.urls),
            "md5": self.md5,
            "sha256": self.sha256,
            **dict.fromkeys(_SIZES, self.size),
            "documents": self.documents,
            "downloaded": False,
            "texts": self.texts,
            "jpq": self.jpq,
        }


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
        f"no prebuilt index is called {name!r}, and no such path exists: {hint} "
        f"`python -m jpq_pyserini.prebuilt list` shows ours, {VARIABLE} adds catalogues"
    )


def _catalogues():
    """Yield (source, text) of every catalogue in the order of precedence."""
    for item in os.environ.get(VARIABLE, "").split(","):
        if item := item.strip():
            yield from _read(item)
    yield from _read(str(BUILT_IN))


def _read(item: str):
    path = local_path(item)
    if path is None:
        yield item, _read_remote(item)
        return
    files = sorted(path.glob("*.json")) if path.is_dir() else [path]
    if not files:
        raise JPQError(f"{path} holds no *.json catalogue: mend or unset {VARIABLE}")
    for file in files:
        try:
            yield str(file), file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
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
        entries = json.loads(text)
    except json.JSONDecodeError as error:
        raise JPQError(
            f"{source} is no JSON (line {error.lineno}: {error.msg}): mend it or unset {VARIABLE}"
        ) from error
    if not isinstance(entries, dict):
        raise JPQError(f"{source} holds a {type(entries).__name__}, not an object of entries by name: mend it")
    return entries


def _absolute(url: str, source: str) -> str:
    """Return ``url`` as it is if absolute, else as a neighbour of the catalogue it stands in."""
    if urllib.parse.urlsplit(url).scheme:
        return url
    if source.startswith(("http://", "https://")):
        return urllib.parse.urljoin(source, url)
    return Path(source).absolute().parent.joinpath(url).as_uri()
