"""Entries of a catalogue: what a prebuilt index is, and where its files are; checked as they are read.

An entry has the keys of Pyserini's own catalogues (both names of the size, because 1.6 and 2.x differ) and, under
``jpq``, what JPQ needs.
"""

import urllib.parse
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

from jpq_pyserini.errors import JPQError, printable

INDEX_DIRECTORY: Final = "directory"  # kind: an index directory, as a tarball or on the Hugging Face Hub
RELEASE: Final = "release"  # kind: files of the paper's authors, which are converted after the download

_SIZES = ("size", "size compressed (bytes)")  # Pyserini 2.x, Pyserini 1.6

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


def _absolute(url: str, source: str | None) -> str:
    """Return ``url`` as it is if absolute, else as a neighbour of the catalogue it stands in."""
    if urllib.parse.urlsplit(url).scheme or source is None:
        return url
    if source.startswith(("http://", "https://")):
        return urllib.parse.urljoin(source, url)
    return Path(source).absolute().parent.joinpath(url).as_uri()
