"""One piece of work in one process, on any machine that sees the files: count a file, code or embed a shard."""

import json
import os
import socket
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from jpq_pyserini.data.corpus import USUAL, Fields, document_in, records_of
from jpq_pyserini.data.parts import CorpusPart, CountedFile, count_documents, is_entered
from jpq_pyserini.errors import JPQError
from jpq_pyserini.json_text import read_json
from jpq_pyserini.resume import WorkFolder
from jpq_pyserini.storage import locked, new_file

_DAMAGED = "remove the folder that it is in and start again"


@dataclass(frozen=True)
class Task:
    """What a worker does with texts.

    Attributes:
        encoder: arguments of :func:`jpq_pyserini.encoders.text_encoder.load_text_encoder`.
        batch_size: texts encoded at once.
        device: torch device.
        backend: what runs the encoder: see :mod:`jpq_pyserini.encoders.backends`.
        threads: CPU threads; other numbers give sums that differ in the last bits.
        like: the index whose codec codes; None: embeddings are kept as they are.
        vectors: with ``like``, type of number to keep the embeddings as too; None does not keep them.
        names: of the corpus's fields.
    """

    encoder: dict[str, Any]
    batch_size: int
    device: str = "cpu"
    backend: str = "torch"
    threads: int = 1
    like: str | None = None
    vectors: str | None = None
    names: Fields = field(default=USUAL)


class Worker:
    """Does pieces of work; the models are loaded once, when they are first needed.

    Args:
        task: what to do.
        folder: the job's folder, which every worker has to see.
    """

    def __init__(self, task: Task, folder: Path):
        self._task, self._folder = task, folder
        self._run: Callable[[CorpusPart, Path], Any] | None = None

    def count(self, number: int, path: Path) -> int:
        """Read a file of the corpus, write down its docids and where documents begin, and return how many there are.

        Raises:
            JPQError: a line is no document, or the job's folder is not seen from here.
        """
        self._check_sight()
        target = counted_file(self._folder, number)
        if not target.is_file():
            count = 0
            with new_file(docids_file(self._folder, number)) as file:
                for place, fields in records_of(path):
                    file.write(f"{document_in(fields, place, self._task.names)[0]}\n")
                    count += 1
            counted = count_documents(path) if is_entered(path) else CountedFile(path, count)
            with new_file(target) as file:
                json.dump({**asdict(counted), "path": str(path)}, file)
        return read_counted(self._folder, number).count

    def shard(self, number: int, part: CorpusPart) -> int:
        """Code or embed a part of the corpus; returns its documents. One that was begun is continued.

        Raises:
            JPQError: an encoder cannot be loaded or gives no finite embedding, or the job's folder is not seen.
        """
        self._check_sight()
        target = shard_folder(self._folder, number)
        with locked(target, say=lambda line: None):
            if not target.is_dir():
                work = WorkFolder(f"{target}.part", {"part": part.fingerprint()}, resume=True)
                work.claim()
                if self._run is None:
                    self._run = _embedding(self._task) if self._task.like is None else _coding(self._task)
                self._run(part, work.path)
                os.rename(work.path, target)  # what has its name is done
        return len(part)

    def _check_sight(self) -> None:
        if not self._folder.is_dir():
            raise JPQError(
                f"{self._folder} is not there on the machine {socket.gethostname()}: name an --output on a file system "
                "that all machines of the cluster share"
            )


def docids_file(folder: Path, number: int) -> Path:
    """Where the docids of a file of the corpus are."""
    return folder / f"file-{number:06}.docid"


def counted_file(folder: Path, number: int) -> Path:
    """Where it is written how many documents a file of the corpus has."""
    return folder / f"file-{number:06}.json"


def shard_folder(folder: Path, number: int) -> Path:
    """Where a shard is when it is done."""
    return folder / f"shard-{number:06}"


def read_counted(folder: Path, number: int) -> CountedFile:
    """Read what :meth:`Worker.count` wrote."""
    path = counted_file(folder, number)
    found = read_json(path, _DAMAGED)
    try:
        return CountedFile(Path(found["path"]), found["count"], tuple(tuple(mark) for mark in found["marks"]))
    except (KeyError, TypeError) as error:
        raise JPQError(f"{path} is damaged ({error!r}): {_DAMAGED}") from None


def _coding(task: Task) -> Callable[[CorpusPart, Path], Any]:
    from jpq_pyserini.index.coding import TextCoder, check_dimension
    from jpq_pyserini.index.collection import JPQIndex

    assert task.like is not None
    like = JPQIndex.open(task.like, vectors=False)
    encoder = _encoder(task)
    check_dimension(encoder, task.encoder["name_or_path"], like)
    coder = TextCoder(like.codec, encoder, task.batch_size, task.vectors)
    return lambda part, folder: coder.code(part, len(part), folder, progress=False)


def _embedding(task: Task) -> Callable[[CorpusPart, Path], Any]:
    from jpq_pyserini.index.embedding import embed_texts

    encoder = _encoder(task)
    return lambda part, folder: embed_texts(part, len(part), encoder, task.batch_size, folder, progress=False)


def _encoder(task: Task):
    import faiss
    import torch

    from jpq_pyserini.index.coding import load_document_encoder

    torch.set_num_threads(task.threads)
    faiss.omp_set_num_threads(task.threads)
    return load_document_encoder(task.encoder, task.device, task.backend)[0]
