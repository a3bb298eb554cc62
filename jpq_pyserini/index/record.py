"""The record of an index directory, ``jpq.json``, and whether the files beside it fit it."""

import functools
import hashlib
import json
import os
import platform
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Le
from typing_extensions import TypedDict  # typing's own is not enough for pydantic before Python 3.12

import jpq_pyserini
from jpq_pyserini.errors import JPQError
from jpq_pyserini.json_text import read_json
from jpq_pyserini.names import CODEC, DOCID, INDEX, QUERY_ENCODER, RECORD, SHARDS, VECTORS
from jpq_pyserini.storage import check_input, sha256_of

FORMAT_VERSION = 2  # 1, up to release 0.1: the codec's file repeats what the Faiss index holds
#: The layout of an uncompressed index directory, which has no codec.
FLAT_LAYOUT = "flat"


class EncoderSettings(TypedDict, total=False):
    """How the documents were encoded: arguments of :func:`jpq_pyserini.encoders.text_encoder.load_text_encoder`."""

    __pydantic_config__ = {"extra": "allow"}  # type: ignore[misc]  # noqa: RUF012 (no field)
    name_or_path: str | None
    pooling: str | None
    l2_norm: bool | None
    max_length: int | None
    prompt: str | None
    passage_prefix: str | None
    truncate_dim: int | None


class TrainingRecord(TypedDict, total=False):
    """What ``train`` records besides its settings; the rest is kept as it is."""

    __pydantic_config__ = {"extra": "allow"}  # type: ignore[misc]  # noqa: RUF012 (no field)
    steps: int
    best_step: int | None
    training_queries: int
    dev_queries: int
    curve: list[dict[str, Any]]
    config: dict[str, Any]
    data: dict[str, Any]
    zero_shot_of: dict[str, Any]
    imported_from: dict[str, Any]
    query_encoder: dict[str, Any]


class VectorsRecord(TypedDict, total=False):
    """Where the documents' real vectors are (:mod:`jpq_pyserini.index.attached`): in the directory unless ``flat``."""

    __pydantic_config__ = {"extra": "allow"}  # type: ignore[misc]  # noqa: RUF012 (no field)
    dtype: Literal["int8", "float16", "float32"]
    digest: str
    flat: str
    sha256: str  # of the index file in ``flat``


@dataclass(frozen=True)
class IndexRecord:
    """What ``jpq.json`` says.

    Attributes:
        dimension, m, nbits, count: D, M, bits a code, N.
        layout: one of :data:`jpq_pyserini.index.layouts.LAYOUTS`.
        lists: how the inverted lists were made: ``nlist``, ``nprobe`` (which the Faiss file keeps too), ``coarse``,
            ``seed``; empty for the other layouts.
        metric: always ``"inner_product"``.
        encoder: the *document* encoder, needed to add documents: ``name_or_path``, ``pooling``, ``l2_norm``,
            ``max_length``, ``prompt``; empty when unknown.
        training: settings, data, curve and scores of the training run; ``zero_shot_of`` when it was of another
            collection; empty when there was none.
        vectors: of the documents' real vectors; empty when the index has none.
        rescore: how many candidates a search scores with them; None: as many as suit the hits wanted; 0: none.
        history: what has been done to the collection since, in order: documents added, indexes merged.
        sha256: file name → hexadecimal digest.
        versions: library name → version, of the libraries that wrote it.
        digest: SHA-256 of all the rest of the record; empty in one written by release 0.1.0.
    """

    dimension: Annotated[int, Ge(1), Le(1 << 20)]
    m: Annotated[int, Ge(1), Le(1 << 20)]
    nbits: Annotated[int, Ge(1), Le(32)]
    count: Annotated[int, Ge(0), Le(1 << 40)]
    layout: str = "pq"
    lists: dict[str, Any] = field(default_factory=dict)
    metric: str = "inner_product"
    encoder: EncoderSettings = field(default_factory=EncoderSettings)
    training: TrainingRecord = field(default_factory=TrainingRecord)
    vectors: VectorsRecord = field(default_factory=VectorsRecord)
    rescore: Annotated[int, Ge(0)] | None = None
    history: list[dict[str, Any]] = field(default_factory=list)
    sha256: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    digest: str = ""
    format_version: int = FORMAT_VERSION

    @classmethod
    def read(cls, directory: str | os.PathLike) -> "IndexRecord":
        """Read ``DIR/jpq.json``.

        Raises:
            JPQError: it is missing, damaged (no JSON, a value missing or of another type) or of a later format.
        """
        path = Path(directory) / RECORD
        check_input(path)
        try:
            content = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            if not os.fspath(directory) or not Path(directory).is_dir():
                raise JPQError(
                    f"{os.fspath(directory) or repr('')} is no directory: name a JPQ index directory"
                ) from None
            if (Path(directory) / SHARDS).is_file():
                raise JPQError(
                    f"{directory} stands for several indexes ({SHARDS}), which are searched as one: name one, or "
                    "what `jpq index merge` makes of them"
                ) from None
            raise JPQError(
                f"{directory} has no {RECORD}, so it is no JPQ index directory: "
                "make one with `python -m jpq_pyserini.train`, or name another encoder for this index"
            ) from None
        found = _parsed(_Format, content, path).format_version
        if found > FORMAT_VERSION:
            raise JPQError(
                f"{path} has format version {found}, this release reads up to {FORMAT_VERSION}: "
                "pip install --upgrade jpq_pyserini"
            )
        record = _parsed(cls, content, path)
        if record.vectors and "dtype" not in record.vectors:
            raise JPQError(f"{path} is damaged (vectors without dtype): copy the index directory again")
        return record


@dataclass(frozen=True)
class _Format:
    format_version: int


def _parsed(kind: type, content: bytes, path: Path):
    """Return JSON as the dataclass ``kind``; names that it lacks, which a later release may write, are left out."""
    from pydantic import TypeAdapter, ValidationError  # 0.1 s, which importing this module should not cost

    try:
        return TypeAdapter(kind).validate_json(content, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        reason = ": ".join(filter(None, [".".join(map(str, first["loc"])), first["msg"]]))
        raise JPQError(f"{path} is damaged ({reason}): copy the index directory again") from None


def query_encoder_path(directory: str | os.PathLike | None) -> Path:
    """Return ``DIR/query_encoder``; :class:`JPQError` when ``directory`` is no JPQ index or has no encoder."""
    if directory is None:
        raise JPQError("this index was never saved, so it has no query encoder: save it first")
    path = Path(directory) / QUERY_ENCODER
    if not path.is_dir():
        IndexRecord.read(directory)  # says so when this is no JPQ index at all
        raise JPQError(f"{directory} has no {QUERY_ENCODER} folder: name the encoder, or copy the folder again")
    return path


def encoder_settings(directory: str | os.PathLike, name_or_path: str | None = None) -> dict[str, Any]:
    """Return the arguments of ``load_text_encoder`` that give the encoder of an index's documents.

    Args:
        directory: the index directory. An encoder that it carries (an imported index does) is found in it.
        name_or_path: where the encoder is, if not where the record says.

    Raises:
        JPQError: the record does not say which encoder it was, or it was a folder that is not here.
    """
    recorded = IndexRecord.read(directory).encoder
    name = name_or_path or recorded.get("name_or_path")
    if not name:
        raise JPQError(
            f"{Path(directory) / RECORD} does not say which encoder made the documents: name that encoder instead of "
            "the index, or give its embeddings"
        )
    if name_or_path is None and (Path(directory) / name).is_dir():
        name = str(Path(directory) / name)
    if os.path.isabs(name) and not os.path.isdir(name):
        raise JPQError(
            f"the document encoder {name}, recorded in {Path(directory) / RECORD}, is not here: say where with "
            "--encoder, or name it instead of the index"
        )
    names = ("pooling", "l2_norm", "max_length", "prompt", "passage_prefix", "truncate_dim")
    settings: dict[str, Any] = {name: recorded.get(name) for name in names}
    return {"name_or_path": name, **settings, "l2_norm": bool(settings["l2_norm"])}


def referred_file(record: IndexRecord) -> Path | None:
    """Return the file outside of the directory that holds an index's vectors; None if there is none."""
    flat = record.vectors.get("flat")
    return Path(flat) / INDEX if flat else None


def verify_directory(directory: str | os.PathLike, but: str | None = None) -> list[str]:
    """Compare the files of an index directory, and the vectors that it refers to, with the sha256 in its record.

    Args:
        directory: the index directory.
        but: a file that is not read; of vectors elsewhere, "vectors.safetensors" too.

    Returns:
        The names of files that are missing, differ, or have no sha256 although every index directory has them, the
        record's own among them; empty when all is well.

    Raises:
        JPQError: the directory has no readable record.
    """
    directory = Path(directory)
    record = IndexRecord.read(directory)
    needed = [INDEX, DOCID] if record.layout == FLAT_LAYOUT else [INDEX, DOCID, CODEC]
    damaged = [name for name in needed if name not in record.sha256]
    inside = [name for name in record.sha256 if name.startswith(f"{QUERY_ENCODER}/")]
    if not _is_as_written(directory, record):
        damaged.append(RECORD)
    if (directory / QUERY_ENCODER).is_dir() and not inside:
        damaged.append(QUERY_ENCODER)
    sums = {name: digest for name, digest in record.sha256.items() if name != but}
    if (referred := referred_file(record)) and but != VECTORS and "sha256" in record.vectors:
        sums[os.path.abspath(referred)] = record.vectors["sha256"]
    for name, digest in sums.items():
        if name in record.sha256 and (Path(name).is_absolute() or ".." in Path(name).parts):
            raise JPQError(f"{directory}: its record names the file {name!r} outside of it: do not use this index")
        if not (directory / name).is_file() or sha256_of(directory / name) != digest:
            damaged.append(name)
    return damaged


def check_record(directory: str | os.PathLike) -> None:
    """Raise :class:`JPQError` if the record of an index directory was changed after it was written."""
    if not _is_as_written(Path(directory), IndexRecord.read(directory)):
        raise JPQError(f"{Path(directory) / RECORD} is not what was written: copy the index directory again")


def check_verified(directory: str | os.PathLike, but: str | None = None) -> None:
    """Raise :class:`JPQError` if a file of an index directory is not what was written (:func:`verify_directory`).

    A file called ``but``, which is written again or not needed, may be damaged.
    """
    if damaged := verify_directory(directory, but):
        remedy = "copy the directory again"
        if os.path.isabs(damaged[0]):
            remedy = "put it back as it was, or write the vectors again with `python -m jpq_pyserini.index vectors`"
        if len(damaged) == 1 and (damaged == [VECTORS] or os.path.isabs(damaged[0])):
            remedy += ", or set JPQ_RESCORE=0 to search without them"
        raise JPQError(
            f"{directory}: {', '.join(damaged)} is missing or not the file that was written (its SHA-256 differs or is "
            f"not recorded): {remedy}"
        )


def refuse_reference(directory: str | os.PathLike) -> None:
    """Raise :class:`JPQError` if an index refers to vectors outside of its directory: it cannot go elsewhere so."""
    flat = IndexRecord.read(directory).vectors.get("flat")
    if flat:
        raise JPQError(
            f"the vectors of {directory} are in {flat}: copy them with `python -m jpq_pyserini.index vectors --index "
            f"{directory} --embeddings {flat}`, or take them away with --remove"
        )


def event(what: str, **facts) -> dict[str, Any]:
    """Return an entry of the history: what was done, when (UTC), and the facts that are known."""
    when = datetime.now(UTC).isoformat(timespec="seconds")
    return {"event": what, "when": when, **{name: value for name, value in facts.items() if value is not None}}


def library_versions() -> dict[str, str]:
    """Return the versions of Python, this package and the libraries that shape an index."""
    return dict(_installed())


@functools.cache  # reading them takes longer than writing a small index
def _installed() -> dict[str, str]:
    versions = {"python": platform.python_version(), "jpq_pyserini": jpq_pyserini.__version__}
    for name in ("numpy", "faiss-cpu", "torch", "transformers", "sentence-transformers", "pyserini"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def write_record(directory: Path, record: IndexRecord) -> None:
    """Write ``jpq.json`` into a directory that holds everything else, with its files' digests and the versions."""
    files = {str(f.relative_to(directory)): sha256_of(f) for f in sorted(directory.rglob("*")) if f.is_file()}
    files.pop(RECORD, None)  # one that is there is replaced, and holds a digest of itself
    record = replace(record, sha256=files, versions=library_versions())
    write_values(directory / RECORD, asdict(record))


def write_values(path: Path, values: dict[str, Any]) -> None:
    """Write a record as JSON, with the digest of what it says."""
    values = json.loads(json.dumps(values))  # as it comes back from the file
    path.write_text(json.dumps({**values, "digest": _digest_of(values)}, indent=2) + "\n", encoding="utf-8")


def _is_as_written(directory: Path, record: IndexRecord) -> bool:
    return not record.digest or record.digest == _digest_of(read_json(directory / RECORD, "copy the directory again"))


def _digest_of(values: dict[str, Any]) -> str:
    said = {name: value for name, value in values.items() if name != "digest"}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
