"""The one road from an index directory to its parts, record, files, Faiss index, docids, codec; and copies of them."""

import functools
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import faiss

from jpq_pyserini.codec.quantizer import ProductQuantizer
from jpq_pyserini.data.docids import Docids
from jpq_pyserini.data.flat import Embeddings, FlatFolder
from jpq_pyserini.errors import JPQError
from jpq_pyserini.index import layouts
from jpq_pyserini.index.attached import open_vectors
from jpq_pyserini.index.record import FLAT_LAYOUT, IndexRecord, check_verified, write_record
from jpq_pyserini.index.vectors import StoredVectors
from jpq_pyserini.index.verified import check_once
from jpq_pyserini.names import CODEC, DOCID, INDEX, QUERY_ENCODER, RECORD, VECTORS
from jpq_pyserini.storage import new_directory

T = TypeVar("T")

_PATIENCE, _PAUSE = 60.0, 0.01  # seconds, of opening a directory that another process replaces meanwhile


@dataclass(frozen=True)
class IndexDirectory:
    """The parts of an index directory, which belong together.

    Attributes:
        path: the directory.
        record: its ``jpq.json``.
        faiss_index: takes unrotated queries.
        docids: N external ids, lines of the mapped file.
    """

    path: Path
    record: IndexRecord
    faiss_index: faiss.Index
    docids: Docids

    @classmethod
    def open(
        cls,
        directory: str | os.PathLike,
        *,
        codec: bool = True,
        vectors: bool = True,
        mmap: bool = False,
        verify: bool = False,
    ) -> "IndexDirectory":
        """Open an index directory and check that its parts belong together.

        A directory that another process is replacing (``index add --in-place``) is opened again, so that all parts
        come from the old one or all from the new one.

        Args:
            directory: compressed, or of the layout ``flat``.
            codec: read :attr:`codec` now; needless to search.
            vectors: open :attr:`vectors` now; needless where the codes alone are wanted.
            mmap: leave the codes on disk; layouts ``pq`` and ``ivf``.
            verify: read every file and compare it with its recorded sha256 first, before anything is derived from it.
                Otherwise files that were found in order before, and have not changed since, are not read again
                (:mod:`jpq_pyserini.index.verified`).

        Raises:
            JPQError: a file is missing, empty, truncated or damaged, or the counts, dimensions or layouts differ.
        """
        directory, but = Path(directory), None if vectors else VECTORS

        def parts() -> IndexDirectory:
            opened = cls._open(directory, mmap, verify, but)
            if codec and opened.record.layout != FLAT_LAYOUT:
                opened.codec  # noqa: B018 (read and kept)
            if vectors:
                opened.vectors  # noqa: B018 (as above)
            return opened

        return of_one_state(directory, parts)

    @classmethod
    def _open(cls, directory: Path, mmap: bool, verify: bool, but: str | None) -> "IndexDirectory":
        record = IndexRecord.read(directory)
        if verify:
            check_verified(directory)
        else:
            check_once(directory, record, but)
        docids = Docids(directory / DOCID).check()
        index = layouts.read(directory / INDEX, mapped=record.layout if mmap else None)
        check_parts(directory, record, index, len(docids))
        return cls(directory, record, index, docids)

    @property
    def name(self) -> str:
        """The directory's path, for messages."""
        return str(self.path)

    @functools.cached_property
    def codec(self) -> ProductQuantizer:
        """Rotation and centroids; :class:`JPQError` if they are missing, damaged, or of another index."""
        record = self.record
        codec = ProductQuantizer.load(self.path / CODEC, layouts.codec_inside(self.faiss_index))
        if (codec.dimension, codec.m, codec.nbits) != (record.dimension, record.m, record.nbits):
            raise JPQError(
                f"{self.path}: {CODEC} has D={codec.dimension} M={codec.m} nbits={codec.nbits}, {RECORD} says "
                f"D={record.dimension} M={record.m} nbits={record.nbits}: copy both from one index directory"
            )
        return codec

    @functools.cached_property
    def vectors(self) -> StoredVectors | None:
        """The documents' real vectors, or None; :class:`JPQError` if they are not as the record says."""
        record = self.record
        return open_vectors(self.path, record.vectors, record.count, record.dimension) if record.vectors else None


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
    layout = layouts.layout_of(index)
    if layout != record.layout:
        raise JPQError(
            f"{directory}: index has the layout {layout}, {RECORD} says {record.layout}: copy the directory again, or "
            "change layouts with `python -m jpq_pyserini.index convert`"
        )


def of_one_state(directory: str | os.PathLike, opened: Callable[[], T]) -> T:
    """Return what ``opened`` makes of an index directory's files, called again if they were replaced meanwhile.

    So all of them are the old ones or all are the new ones.

    Raises:
        JPQError: other processes replaced the directory again and again, for a minute.
    """
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until:
        before = state_of(directory)
        try:
            made = opened()
            if state_of(directory) == before:
                return made
        except (JPQError, OSError):
            if state_of(directory) == before:
                raise
        time.sleep(_PAUSE)
    raise JPQError(f"{directory} was replaced by other processes again and again: try again when they are done")


def state_of(directory: str | os.PathLike) -> tuple[int, ...] | None:
    """Return what changes when a directory is replaced: its inode and its record's; None while it is not there."""
    try:
        record = os.stat(Path(directory) / RECORD)
        return os.stat(directory).st_ino, record.st_ino, record.st_mtime_ns, record.st_size
    except OSError:
        return None


def copy_others(source: Path, target: Path) -> None:
    """Copy what is in an index directory besides the files that ``JPQIndex.save`` writes; its encoder, for one."""
    for entry in source.iterdir():
        if entry.is_dir():
            shutil.copytree(entry, target / entry.name)
        elif entry.name not in (INDEX, DOCID, CODEC, VECTORS, RECORD):
            shutil.copy2(entry, target / entry.name)


def query_encoder_copier(directory: str | os.PathLike) -> Callable[[Path], object] | None:
    """Return what copies the query encoder of an index directory into a new one; None when it has none."""
    folder = Path(directory) / QUERY_ENCODER
    return (lambda target: shutil.copytree(folder, target)) if folder.is_dir() else None


def save_flat_index(
    flat: Embeddings, directory: str | os.PathLike, write_query_encoder: Callable[[Path], None], **record
) -> Path:
    """Write an uncompressed index directory: a flat folder with a query encoder trained for it (ADORE).

    Args:
        flat: the embeddings.
        directory, write_query_encoder: as in ``JPQIndex.save``.
        record: ``encoder`` and ``training`` of the :class:`IndexRecord`.
    """
    N, D = flat.embeddings.shape
    with new_directory(directory) as partial:
        FlatFolder.write(partial, flat.docids, (chunk for _, chunk in flat.chunks()))
        write_query_encoder(partial / QUERY_ENCODER)
        write_record(partial, IndexRecord(D, m=D, nbits=32, count=N, layout=FLAT_LAYOUT, **record))
    return Path(directory)
