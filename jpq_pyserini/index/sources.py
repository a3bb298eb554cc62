"""Where the new documents of an index come from: a corpus, encoded here, or embeddings that are there already."""

import itertools
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from jpq_pyserini.codec.neighbours import Neighbourhood
from jpq_pyserini.data.corpus import USUAL, Corpus
from jpq_pyserini.data.embeddings import DocidSource, open_embeddings
from jpq_pyserini.data.embeddings import Source as EmbeddingSource
from jpq_pyserini.data.flat import Embeddings
from jpq_pyserini.data.parts import CorpusPart, corpus_shard, rows_of_shard
from jpq_pyserini.encoders.kinship import warn_of_stranger
from jpq_pyserini.encoders.limits import BATCH_SIZE
from jpq_pyserini.encoders.text_encoder import is_jpq_encoder
from jpq_pyserini.errors import JPQError
from jpq_pyserini.index.attached import ArrayVectors, Vectors
from jpq_pyserini.index.coding import CHUNK, TextCoder, check_dimension, code_flat, codec_digest, load_document_encoder
from jpq_pyserini.index.record import encoder_settings
from jpq_pyserini.names import QUERY_ENCODER
from jpq_pyserini.resume import WorkFolder

if TYPE_CHECKING:
    from jpq_pyserini.index.collection import JPQIndex

_LOOKED_AT = 64  # documents that tell whether --encoder is the one that made the index


class Source:
    """Documents for an index: a corpus, encoded here with the index's document encoder, or their embeddings.

    Args:
        corpus: JSON-lines file or folder; or …
        embeddings, docids: … as :func:`jpq_pyserini.data.embeddings.open_embeddings` takes them.
        encoder, device, batch_size, resume: for a corpus: where the recorded document encoder is, the torch device
            (None: a GPU if there is one), texts encoded at once, and whether to continue from a stopped run.
        backend: for a corpus: what runs the encoder, as for :func:`load_document_encoder`; None: torch.
        shard: (I, N): only the documents of shard I of N, numbered from 0.
        id_field, text_fields: for a corpus: as :class:`~jpq_pyserini.data.corpus.Corpus` takes them.

    Attributes:
        name: the path as given.
        shard: as given.
        docids: their ids, in order.
        vectors: their embeddings, once :meth:`codes` was asked for them.

    Raises:
        JPQError: the path is missing or damaged; an argument does not go with the source.
    """

    def __init__(
        self,
        corpus: str | os.PathLike | None = None,
        embeddings: EmbeddingSource | None = None,
        *,
        docids: DocidSource = None,
        encoder: str | None = None,
        device: str | None = None,
        batch_size: int | None = None,
        resume: bool = False,
        shard: tuple[int, int] | None = None,
        id_field: str | None = None,
        text_fields: Sequence[str] | None = None,
        backend: str | None = None,
    ):
        self._encoder, self._device, self._resume, self.shard = encoder, device, resume, shard
        self._backend = backend or "torch"
        self._batch_size = BATCH_SIZE if batch_size is None else batch_size
        self._work: WorkFolder | None = None
        self._corpus: Corpus | CorpusPart | None = None
        self._flat: Embeddings | None = None
        self._rows = slice(None)
        self.vectors: Vectors | None = None
        if self._batch_size < 1:
            raise JPQError(f"--batch-size {batch_size}: must be at least 1")
        if embeddings is None:
            if docids is not None:
                raise JPQError("--docids goes with --embeddings; a corpus has its own: leave it out")
            self.name = str(corpus)
            whole = Corpus(self.name, id_field, text_fields)
            self._corpus = whole if shard is None else corpus_shard(whole, *shard, CHUNK)
            self.docids: Sequence[str] = self._corpus.docids()
            return
        given: dict[str, Any] = {"encoder": encoder, "device": device, "batch-size": batch_size, "resume": resume}
        given |= {"encoder-backend": backend, "id-field": id_field, "text-fields": text_fields}
        for flag in (flag for flag, value in given.items() if value):
            raise JPQError(f"--{flag} goes with --corpus; embeddings are not encoded again: leave it out")
        self._flat = open_embeddings(embeddings, docids)
        self.name = str(self._flat.path)
        self.docids = self._flat.docids
        if shard is not None:
            self._rows = slice(*rows_of_shard(len(self.docids), *shard, self._flat.chunk_rows, self.name))
            self.docids = self.docids[self._rows]

    def codes(
        self,
        like: "JPQIndex",
        output: str | os.PathLike,
        reference: Neighbourhood | None = None,
        progress: bool = True,
        vectors: str | None = None,
    ) -> np.ndarray:
        """Return codes (n, M) uint8 by the codec and the document encoder of ``like``.

        Until :meth:`forget`, the folder ``OUTPUT.coding`` keeps what has been encoded of a corpus.

        Args:
            like: an opened index.
            output: where the new index goes.
            reference: where neighbours are looked for, if the codec wants any; None: among the documents.
            progress: show a bar.
            vectors: keep the embeddings, too, as this type, and put them into :attr:`vectors`; None does not.

        Raises:
            JPQError: the encoder is not recorded or not found, has another dimension, or gives no finite embedding.
        """
        if self._flat is not None:
            if vectors is not None:
                rows = None if self.shard is None else np.arange(self._rows.start, self._rows.stop)
                self.vectors = ArrayVectors(self._flat.embeddings, vectors, rows)
            return code_flat(self._flat, like.codec, progress, reference=reference, rows=self._rows)
        assert like.path is not None
        assert self._corpus is not None
        settings = encoder_settings(like.path, self._encoder)
        corpus = self._corpus
        made_from = {
            "codec": codec_digest(like.codec),
            "encoder": settings,
            "corpus": corpus.fingerprint(),
        } | ({} if vectors is None else {"vectors": vectors})
        if corpus.names != USUAL:
            made_from["fields"] = list(corpus.names)
        self._work = WorkFolder(f"{os.fspath(output).rstrip(os.sep)}.coding", made_from, self._resume)
        self._work.claim()
        encoder, _ = load_document_encoder(settings, self._device, self._backend, corpus, self._batch_size)
        check_dimension(encoder, settings["name_or_path"], like)
        if self._encoder is not None and is_jpq_encoder(own := os.path.join(like.path, QUERY_ENCODER)):
            texts = [text for _, text in itertools.islice(corpus, _LOOKED_AT)]
            warn_of_stranger(encoder, self._encoder, own, texts)
        coder = TextCoder(like.codec, encoder, self._batch_size, vectors)
        codes, self.vectors = coder.code(corpus, len(self.docids), self._work.path, reference)
        return codes

    def forget(self) -> None:
        """Remove what was kept for ``--resume``: the index is written."""
        if self._work is not None:
            self._work.discard()
