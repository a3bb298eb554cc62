"""A collection cut into shards: which of them are done, and the whole put together of them."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from jpq_pyserini.codec.quantizer import ProductQuantizer
from jpq_pyserini.data.corpus import Corpus
from jpq_pyserini.data.docids import Docids, JoinedDocids
from jpq_pyserini.data.parts import CorpusPart
from jpq_pyserini.distributed.work import counted_file, docids_file, read_counted, shard_folder
from jpq_pyserini.errors import JPQError
from jpq_pyserini.index.attached import JoinedVectors, Vectors
from jpq_pyserini.index.coding import CHUNK, coded_in
from jpq_pyserini.index.embedding import embedded_in
from jpq_pyserini.index.shards import refuse_repeated
from jpq_pyserini.resume import WorkFolder

_SHARDS, _LARGEST = 256, 64  # of a small collection; chunks of a shard of a large one
#: A call of a :class:`~jpq_pyserini.distributed.work.Worker`: method, arguments.
Piece = tuple[str, tuple]


class Job:
    """The shards of one output, in the folder ``OUTPUT.shards`` until they are put together.

    What the shards are follows from the collection alone, not from how many workers there are.

    Args:
        corpus: the documents.
        output: what is written in the end.
        made_from: as :class:`~jpq_pyserini.resume.WorkFolder` takes it, besides the corpus.
        resume: continue from what a stopped run left.
    """

    def __init__(self, corpus: Corpus, output: str | os.PathLike, made_from: Mapping[str, object], resume: bool):
        self.corpus = corpus
        known = {**made_from, "corpus": corpus.fingerprint(), "fields": list(corpus.names)}
        self.work = WorkFolder(os.path.abspath(f"{os.fspath(output).rstrip(os.sep)}.shards"), known, resume)
        self.folder = self.work.path
        self.docids: Sequence[str] = []
        self.parts: list[CorpusPart] = []

    def counting(self) -> list[Piece]:
        """Return the work that :meth:`cut` needs and that is not done."""
        self.work.claim()
        numbered = enumerate(file.absolute() for file in self.corpus.files)  # workers are elsewhere
        return [("count", each) for each in numbered if not counted_file(self.folder, each[0]).is_file()]

    def cut(self) -> None:
        """Cut the counted files into :attr:`parts`.

        Raises:
            JPQError: there are no documents, or a docid comes twice; the message names both files.
        """
        files = [read_counted(self.folder, number) for number in range(len(self.corpus.files))]
        count = sum(file.count for file in files)
        if not count:
            raise JPQError(f"{self.corpus.path} holds no documents: name the collection's files")
        named = [(str(file.path), Docids(docids_file(self.folder, n))) for n, file in enumerate(files)]
        refuse_repeated(*named)
        self.docids = JoinedDocids([docids for _, docids in named])
        chunks = -(-count // CHUNK)
        rows = min(max(1, chunks // _SHARDS), _LARGEST) * CHUNK
        bounds = [(first, min(first + rows, count)) for first in range(0, count, rows)]
        self.parts = [CorpusPart.of(self.corpus.path, files, *each, self.corpus.names) for each in bounds]

    def coding(self) -> list[Piece]:
        """Return the shards that are not done."""
        numbered = enumerate(self.parts)
        return [("shard", each) for each in numbered if not shard_folder(self.folder, each[0]).is_dir()]

    def coded(self, codec: ProductQuantizer, vectors: str | None) -> tuple[np.ndarray, Vectors | None]:
        """Return codes (N, M) uint8 and vectors of all shards, all of which have to be done."""
        codes, kept = np.empty((len(self.docids), codec.m), dtype=np.uint8), []
        for part, folder in self._done():
            theirs, beside = coded_in(folder, codec, vectors)
            self._check_rows(part, folder, len(theirs))
            codes[part.first : part.stop] = theirs
            kept.append(beside)
        return codes, None if vectors is None else JoinedVectors([each for each in kept if each is not None])

    def embedded(self, dimension: int) -> Iterator[np.ndarray]:
        """Yield the embeddings (n, D) float32 of each shard, mapped."""
        for part, folder in self._done():
            rows = embedded_in(folder, dimension).mapped()
            self._check_rows(part, folder, len(rows))
            yield rows

    def _done(self) -> Iterator[tuple[CorpusPart, Path]]:
        return ((part, shard_folder(self.folder, number)) for number, part in enumerate(self.parts))

    def _check_rows(self, part: CorpusPart, folder: Path, rows: int) -> None:
        if rows != len(part):
            raise JPQError(f"{folder} has {rows:,} of {len(part):,} documents: remove it and start again with --resume")
