"""JPQIndex: a JPQ index directory, which is also a Pyserini index folder.

::

    DIR/index               what faiss.read_index gives; takes unrotated query embeddings
    DIR/docid               one external id a line, row order
    DIR/jpq.json            the record: what this is, how it was made, sha256 of the other files
    DIR/codec.safetensors   rotation, assignment centroids, trained centroids
    DIR/query_encoder/      the trained query encoder (a sentence-transformers folder)

Pyserini opens only ``index`` and ``docid``; the rest sits beside them. Nothing here imports Pyserini.
"""

import errno
import functools
import json
import os
import platform
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import faiss
import numpy as np

import jpq_pyserini
from jpq_pyserini import layouts
from jpq_pyserini.codec import ProductQuantizer
from jpq_pyserini.errors import JPQError
from jpq_pyserini.flat import FlatFolder, read_docids
from jpq_pyserini.names import CODEC, DOCID, INDEX, QUERY_ENCODER, RECORD
from jpq_pyserini.storage import new_directory, sha256_of

FORMAT_VERSION = 1
#: The layout of an uncompressed index directory, which has no codec.
FLAT_LAYOUT = "flat"


@dataclass(frozen=True)
class IndexRecord:
    """What ``jpq.json`` says.

    Attributes:
        dimension, m, nbits, count: D, M, bits a code, N.
        layout: one of :data:`jpq_pyserini.layouts.LAYOUTS`.
        metric: always ``"inner_product"``.
        encoder: the *document* encoder, needed to add documents: ``name_or_path``, ``pooling``, ``l2_norm``,
            ``max_length``, ``prompt``; empty when unknown.
        training: settings, data, curve and scores of the training run; empty when there was none.
        sha256: file name → hexadecimal digest.
        versions: library name → version, of the libraries that wrote it.
    """

    dimension: int
    m: int
    nbits: int
    count: int
    layout: str = "pq"
    metric: str = "inner_product"
    encoder: dict = field(default_factory=dict)
    training: dict = field(default_factory=dict)
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
            return cls(**values)
        except FileNotFoundError:
            if not Path(directory).is_dir():
                raise JPQError(f"{directory} is no directory: name a JPQ index directory") from None
            raise JPQError(
                f"{directory} has no {RECORD}, so it is no JPQ index directory: "
                "make one with `python -m jpq_pyserini.train`, or name another encoder for this index"
            ) from None
        except (json.JSONDecodeError, UnicodeDecodeError, TypeError, KeyError) as error:
            raise JPQError(f"{path} is damaged ({error}): copy the index directory again") from error


class JPQIndex:
    """Codes, codec and docids of a collection, in memory; :meth:`open` and :meth:`save` tie it to a directory.

    Attributes:
        codec: the :class:`~jpq_pyserini.codec.ProductQuantizer`.
        codes: (N, M) uint8.
        docids: N external ids, in row order.
        record: the :class:`IndexRecord`.
        path: the directory it was opened from, or None.
    """

    def __init__(
        self,
        codec: ProductQuantizer,
        codes: np.ndarray,
        docids: list[str],
        *,
        encoder: dict | None = None,
        training: dict | None = None,
        record: IndexRecord | None = None,
        path: Path | None = None,
    ):
        if codes.shape != (len(docids), codec.m) or codes.dtype != np.uint8:
            raise JPQError(
                f"codes of shape {codes.shape} and type {codes.dtype} do not fit {len(docids):,} docids "
                f"and {codec.m} sub-vectors"
            )
        self.codec, self.codes, self.docids, self.path = codec, codes, docids, path
        self.record = record or IndexRecord(
            codec.dimension, codec.m, codec.nbits, len(docids), encoder=encoder or {}, training=training or {}
        )

    def __len__(self) -> int:
        return len(self.docids)

    @functools.cached_property
    def faiss_index(self) -> faiss.Index:
        """The Faiss index of this collection; takes unrotated queries (B, D)."""
        return layouts.build(self.codec, self.codes)

    @property
    def query_encoder_path(self) -> Path:
        """Where the trained query encoder is; :class:`JPQError` if the index was never saved or has none."""
        return query_encoder_path(self.path)

    @classmethod
    def open(cls, directory: str | os.PathLike) -> "JPQIndex":
        """Open an index directory and check that its parts belong together.

        Raises:
            JPQError: a file is missing, empty, truncated or damaged, or the counts or dimensions differ.
        """
        directory = Path(directory)
        record = IndexRecord.read(directory)
        if record.layout == FLAT_LAYOUT:
            raise JPQError(f"{directory} is an uncompressed index, without codes: search it with JPQFaissSearcher")
        codec = ProductQuantizer.load(directory / CODEC)
        docids = read_docids(directory / DOCID)
        index = layouts.read(directory / INDEX)
        check_parts(directory, record, index, len(docids))
        if (codec.dimension, codec.m, codec.nbits) != (record.dimension, record.m, record.nbits):
            raise JPQError(
                f"{directory}: {CODEC} has D={codec.dimension} M={codec.m} nbits={codec.nbits}, {RECORD} says "
                f"D={record.dimension} M={record.m} nbits={record.nbits}: copy both from one index directory"
            )
        opened = cls(codec, layouts.codes_of(index), docids, record=record, path=directory)
        opened.__dict__["faiss_index"] = index
        return opened

    def save(self, directory: str | os.PathLike, write_query_encoder: Callable[[Path], None] | None = None) -> Path:
        """Write the index directory; it appears whole or not at all.

        Args:
            directory: must not exist, or be empty.
            write_query_encoder: called with the path of the folder to write the query encoder to.

        Raises:
            JPQError: ``directory`` exists.
            OSError: the disk is full, or not writable; nothing is left behind.
        """
        with new_directory(directory) as partial:
            try:
                faiss.write_index(self.faiss_index, str(partial / INDEX))
            except RuntimeError as error:  # what Faiss raises when the disk is full
                raise OSError(_last_errno(error), "could not write the Faiss index", str(directory)) from error
            with open(partial / DOCID, "w", encoding="utf-8") as file:
                file.writelines(f"{docid}\n" for docid in self.docids)
            self.codec.save(partial / CODEC)
            if write_query_encoder is not None:
                write_query_encoder(partial / QUERY_ENCODER)
            _write_record(partial, replace(self.record, count=len(self)))
        self.path = Path(directory)
        return self.path

    def push_to_hub(self, repo_id: str, **options) -> str:
        """Upload the saved index to the Hugging Face Hub; see :func:`jpq_pyserini.hub.push_to_hub`."""
        from jpq_pyserini import hub

        if self.path is None:
            raise JPQError(f"this index was never saved: save it, then push it to {repo_id}")
        return hub.push_to_hub(self.path, repo_id, **options)

    @classmethod
    def from_hub(cls, repo_id: str, **options) -> "JPQIndex":
        """Open an index of the Hugging Face Hub; see :func:`jpq_pyserini.hub.from_hub`."""
        from jpq_pyserini import hub

        return cls.open(hub.from_hub(repo_id, **options))


def save_flat_index(
    flat: FlatFolder, directory: str | os.PathLike, write_query_encoder: Callable[[Path], None], **record
) -> Path:
    """Write an uncompressed index directory: a flat folder with a query encoder trained for it (ADORE).

    Args:
        flat: copied as it is.
        directory, write_query_encoder: as in :meth:`JPQIndex.save`.
        record: ``encoder`` and ``training`` of the :class:`IndexRecord`.
    """
    N, D = flat.embeddings.shape
    with new_directory(directory) as partial:
        shutil.copyfile(flat.path / INDEX, partial / INDEX)
        shutil.copyfile(flat.path / DOCID, partial / DOCID)
        write_query_encoder(partial / QUERY_ENCODER)
        _write_record(partial, IndexRecord(D, m=D, nbits=32, count=N, layout=FLAT_LAYOUT, **record))
    return Path(directory)


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


def library_versions() -> dict[str, str]:
    """Return the versions of Python, this package and the libraries that shape an index."""
    versions = {"python": platform.python_version(), "jpq_pyserini": jpq_pyserini.__version__}
    for name in ("numpy", "faiss-cpu", "torch", "transformers", "sentence-transformers", "pyserini"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def _write_record(directory: Path, record: IndexRecord) -> None:
    files = {str(f.relative_to(directory)): sha256_of(f) for f in sorted(directory.rglob("*")) if f.is_file()}
    record = replace(record, sha256=files, versions=library_versions())
    (directory / RECORD).write_text(json.dumps(asdict(record), indent=2) + "\n", encoding="utf-8")


def _last_errno(error: RuntimeError) -> int:
    return errno.ENOSPC if "No space left" in str(error) or "write error" in str(error) else errno.EIO
