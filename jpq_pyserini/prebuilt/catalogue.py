"""Catalogues: JSON files that map the names of prebuilt indexes to where and what they are.

An entry has the keys of Pyserini's own catalogues (both names of the size, because 1.6 and 2.x differ) and, under
``jpq``, what JPQ needs. Ours is ``prebuilt/catalogue.json``; users name more of them in ``JPQ_PREBUILT``.
"""

import difflib
import hashlib
import json
import logging
import os
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    StrictInt,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from jpq_pyserini.errors import JPQError, printable, reason_of
from jpq_pyserini.prebuilt.paths import cache_home, local_path
from jpq_pyserini.resources import data_folder
from jpq_pyserini.storage import new_file

#: Further catalogues, separated by commas: files, folders of ``*.json`` files, ``file://`` and ``http(s)://`` URLs.
#: They come before ours, so a group can keep a mirror under our names.
VARIABLE = "JPQ_PREBUILT"
BUILT_IN = data_folder("prebuilt") / "catalogue.json"
INDEX_DIRECTORY: Final = "directory"  # kind: an index directory, as a tarball or on the Hugging Face Hub
RELEASE: Final = "release"  # kind: files of the paper's authors, which are converted after the download

_SIZES = ("size", "size compressed (bytes)")  # Pyserini 2.x, Pyserini 1.6

logger = logging.getLogger(__name__)

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$", max_length=200)]
FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+,-]*$", max_length=200)]
Count = Annotated[StrictInt, Field(ge=0, lt=1 << 63)]
Score = Annotated[float, Field(allow_inf_nan=False)]
Scores = dict[str, dict[str, Score]]  # queries → measure → score


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True, protected_namespaces=())


class Download(_Model):
    """A file to download.

    Attributes:
        filename: a plain name; default: the last part of the first URL.
        urls: absolute; tried in this order.
        md5, sha256: hexadecimal; None when nobody published them.
        size: in bytes, or None.
    """

    filename: FileName | None = None
    urls: tuple[str, ...] = ()
    md5: Annotated[str, StringConstraints(pattern="^[0-9a-f]{32}$")] | None = None
    sha256: Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")] | None = None
    size: Count | None = Field(default=None, validation_alias=AliasChoices(*_SIZES))

    @field_validator("urls")
    @classmethod
    def _absolute(cls, urls: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        return tuple(_absolute(url, (info.context or {}).get("source")) for url in urls)

    @model_validator(mode="before")
    @classmethod
    def _named(cls, values: Any) -> Any:
        urls = values.get("urls") if isinstance(values, dict) and values.get("filename") is None else None
        if not isinstance(urls, list | tuple) or not urls:
            return values
        return {**values, "filename": urllib.parse.unquote(urllib.parse.urlsplit(str(urls[0])).path).split("/")[-1]}


class Encoder(Download):
    """What encodes queries and documents.

    Attributes:
        query, document: of an index directory: the folder of the query encoder, the name of the document encoder.
        tokenizer, max_query_length: of a release, whose query encoder is a download of its own.
    """

    query: str | None = None
    document: str | None = None
    tokenizer: str | None = None
    max_query_length: Count | None = None


class DualEncoder(_Model):
    """The authors' encoders for other collections, with the scores that they published."""

    urls: tuple[str, ...] = ()
    expected: Scores = {}


class JPQFacts(_Model):
    """What an entry says of its index besides what Pyserini's own entries say.

    Attributes:
        kind: :data:`INDEX_DIRECTORY` or :data:`RELEASE`.
        dimension, m, nbits, layout, codec: of the index.
        encoder: of the index.
        expected, expected_source: scores, and who measured them.
        unpacked: bytes of an index directory's files.
        docids: of a release: ``"row"`` when a document's id is its row, else the ids are in ``collection``.
        collection: of a release: the name of the collection's file.
        dual_encoder: of a release.
    """

    kind: Literal["directory", "release"] = INDEX_DIRECTORY
    dimension: Count | None = None
    m: Count | None = None
    nbits: Count | None = None
    layout: str | None = None
    codec: str | None = None
    encoder: Encoder = Encoder()
    expected: Scores = {}
    expected_source: str | None = None
    unpacked: Count | None = None
    docids: str | None = None
    collection: str | None = None
    dual_encoder: DualEncoder | None = None


class Entry(Download):
    """One prebuilt index.

    Attributes:
        name: what users give to ``--index``.
        hub: ``"owner/name"`` or ``"owner/name@revision"``: the repository of the Hugging Face Hub with the index
            directory; asked before ``urls``.
        documents: N, or None.
        description, readme, texts: as in Pyserini's catalogues; ``texts`` names the Lucene index with the texts.
        jpq: what JPQ needs.
        source: the catalogue that it is from.
    """

    name: Name
    hub: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]+/[A-Za-z0-9._-]+(@[A-Za-z0-9._/-]+)?$")] | None = (
        None
    )
    documents: Count | None = None
    description: str = ""
    texts: str | None = None
    readme: str | None = None
    jpq: JPQFacts = JPQFacts()
    source: str = ""

    @model_validator(mode="after")
    def _can_be_had(self) -> "Entry":
        if not self.urls and not self.hub:
            raise ValueError("urls must name one URL or more, or hub a repository")
        if self.kind == RELEASE and not (self.urls and self.jpq.encoder.urls):
            raise ValueError("a release needs urls and jpq.encoder.urls")
        return self

    @property
    def kind(self) -> str:
        """:data:`INDEX_DIRECTORY` or :data:`RELEASE`."""
        return self.jpq.kind

    @property
    def stem(self) -> str:
        """Name of the index in the cache: what Pyserini would call it for a tarball; unique also without an md5."""
        if self.kind == RELEASE:
            return f"{self.name}.imported"
        if self.filename is None:
            return f"{self.name}.hub"
        base = self.filename.removesuffix(".gz").removesuffix(".tar")
        return f"{base}.{self.md5}" if self.md5 else f"{base}.{(self.sha256 or 'unverified')[:32]}"

    @classmethod
    def from_json(cls, name: str, values: Any, source: str) -> "Entry":
        """Check one entry of the catalogue ``source``.

        Raises:
            JPQError: a key is missing or no good; the message names the catalogue, the entry and the key.
        """
        if not isinstance(values, dict):
            raise JPQError(f"{source}: entry {name!r} is a {type(values).__name__}, not an object: mend the catalogue")
        try:
            return cls.model_validate({**values, "name": name, "source": source}, context={"source": source})
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(map(str, first["loc"])) or "entry"
            shown = "" if first["type"] in ("missing", "value_error") else f"={printable(repr(first['input']), 80)}"
            raise JPQError(
                f"{source}: entry {printable(repr(name), 80)} has a bad {where}{shown} "
                f"({printable(first['msg'])}): mend the catalogue"
            ) from error

    def to_json(self) -> dict:
        """Return the entry in Pyserini's schema, for a catalogue file."""
        return {
            "description": self.description,
            "filename": self.filename,
            "readme": self.readme,
            **({"hub": self.hub} if self.hub else {}),
            "urls": list(self.urls),
            "md5": self.md5,
            "sha256": self.sha256,
            **dict.fromkeys(_SIZES, self.size),
            "documents": self.documents,
            "downloaded": False,
            "texts": self.texts,
            "jpq": self.jpq.model_dump(mode="json", exclude_unset=True),
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
        entries = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise JPQError(f"{source} is no JSON ({reason_of(error)}): mend it or unset {VARIABLE}") from error
    if not isinstance(entries, dict):
        raise JPQError(f"{source} holds a {type(entries).__name__}, not an object of entries by name: mend it")
    return entries


def _absolute(url: str, source: str | None) -> str:
    """Return ``url`` as it is if absolute, else as a neighbour of the catalogue it stands in."""
    if urllib.parse.urlsplit(url).scheme or source is None:
        return url
    if source.startswith(("http://", "https://")):
        return urllib.parse.urljoin(source, url)
    return Path(source).absolute().parent.joinpath(url).as_uri()
