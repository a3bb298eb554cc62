"""The record of an index directory, ``jpq.json``, and whether the files beside it fit it."""

import json
import os
import platform
from dataclasses import asdict, dataclass, field, fields, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import faiss

import jpq_pyserini
from jpq_pyserini.errors import JPQError
from jpq_pyserini.index import layouts
from jpq_pyserini.names import QUERY_ENCODER, RECORD
from jpq_pyserini.storage import sha256_of

FORMAT_VERSION = 1
#: The layout of an uncompressed index directory, which has no codec.
FLAT_LAYOUT = "flat"


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
        history: what has been done to the collection since, in order: documents added, indexes merged.
        sha256: file name → hexadecimal digest.
        versions: library name → version, of the libraries that wrote it.
    """

    dimension: int
    m: int
    nbits: int
    count: int
    layout: str = "pq"
    lists: dict = field(default_factory=dict)
    metric: str = "inner_product"
    encoder: dict = field(default_factory=dict)
    training: dict = field(default_factory=dict)
    history: list = field(default_factory=list)
    sha256: dict = field(default_factory=dict)
    versions: dict = field(default_factory=dict)
    format_version: int = FORMAT_VERSION

    @classmethod
    def read(cls, directory: str | os.PathLike) -> "IndexRecord":
        """Read ``DIR/jpq.json``; :class:`JPQError` when it is missing, damaged or of a later format."""
        path = Path(directory) / RECORD
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            if values["format_version"] > FORMAT_VERSION:
                raise JPQError(
                    f"{path} has format version {values['format_version']}, this release reads up to {FORMAT_VERSION}: "
                    "pip install --upgrade jpq_pyserini"
                )
            known = {each.name for each in fields(cls)}  # a later release may write more into the same format
            return cls(**{name: value for name, value in values.items() if name in known})
        except FileNotFoundError:
            if not Path(directory).is_dir():
                raise JPQError(f"{directory} is no directory: name a JPQ index directory") from None
            raise JPQError(
                f"{directory} has no {RECORD}, so it is no JPQ index directory: "
                "make one with `python -m jpq_pyserini.train`, or name another encoder for this index"
            ) from None
        except (json.JSONDecodeError, UnicodeDecodeError, TypeError, KeyError) as error:
            raise JPQError(f"{path} is damaged ({error}): copy the index directory again") from error


def query_encoder_path(directory: str | os.PathLike | None) -> Path:
    """Return ``DIR/query_encoder``; :class:`JPQError` when ``directory`` is no JPQ index or has no encoder."""
    if directory is None:
        raise JPQError("this index was never saved, so it has no query encoder: save it first")
    path = Path(directory) / QUERY_ENCODER
    if not path.is_dir():
        IndexRecord.read(directory)  # says so when this is no JPQ index at all
        raise JPQError(f"{directory} has no {QUERY_ENCODER} folder: name the encoder, or copy the folder again")
    return path


def check_parts(directory: Path, record: IndexRecord, index: faiss.Index, docids: int) -> None:
    """Raise :class:`JPQError` unless the Faiss index, the docids and the record agree on D and N."""
    if index.d != record.dimension:
        raise JPQError(
            f"{directory}: index has dimension {index.d}, {RECORD} says {record.dimension}: copy the directory again"
        )
    if not index.ntotal == docids == record.count:
        raise JPQError(
            f"{directory}: index has {index.ntotal:,} documents, docid {docids:,} lines, {RECORD} says "
            f"{record.count:,}: copy the directory again"
        )

    if layouts.layout_of(index) != record.layout:
        raise JPQError(
            f"{directory}: index has the layout {layouts.layout_of(index)}, {RECORD} says {record.layout}: copy the "
            "directory again, or change layouts with `python -m jpq_pyserini.index convert`"
        )


def verify_directory(directory: str | os.PathLike) -> list[str]:
    """Compare the files of an index directory with the sha256 in its record.

    Returns:
        The names of files that are missing or differ; empty when all is well.

    Raises:
        JPQError: the directory has no readable record.
    """
    record = IndexRecord.read(directory)
    damaged = []
    for name, digest in record.sha256.items():
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise JPQError(f"{directory}: its record names the file {name!r} outside of it: do not use this index")
        path = Path(directory, name)
        if not path.is_file() or sha256_of(path) != digest:
            damaged.append(name)
    return damaged


def library_versions() -> dict[str, str]:
    """Return the versions of Python, this package and the libraries that shape an index."""
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
    record = replace(record, sha256=files, versions=library_versions())
    (directory / RECORD).write_text(json.dumps(asdict(record), indent=2) + "\n", encoding="utf-8")
