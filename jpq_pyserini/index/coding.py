"""New documents to codes in bounded memory: from embeddings, or from texts, kept so that a stopped run continues."""

import hashlib
import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from jpq_pyserini.codec.neighbours import REFERENCE, Neighbourhood
from jpq_pyserini.codec.quantizer import ProductQuantizer
from jpq_pyserini.data.corpus import USUAL, Corpus
from jpq_pyserini.data.embeddings import DocidSource, open_embeddings
from jpq_pyserini.data.embeddings import Source as EmbeddingSource
from jpq_pyserini.data.flat import Embeddings, unusable_row
from jpq_pyserini.data.parts import CorpusPart, corpus_shard, rows_of_shard
from jpq_pyserini.encoders.limits import BATCH_SIZE
from jpq_pyserini.encoders.text_encoder import embed_passages
from jpq_pyserini.errors import JPQError
from jpq_pyserini.index.attached import ArrayVectors, RawVectors, Vectors
from jpq_pyserini.index.record import encoder_settings
from jpq_pyserini.index.vectors import encode_rows, row_bytes
from jpq_pyserini.resume import GrowingArray, WorkFolder

if TYPE_CHECKING:
    from jpq_pyserini.index.collection import JPQIndex

CHUNK = 2048  # documents encoded, coded and written at once; their embeddings are then forgotten
_ROWS = 1 << 14  # embeddings coded at once
_MEASURED = 4  # batches of passages that tell which backend is faster
_CODES, _VECTORS = "codes", "vectors"  # files of a work folder


def encode(
    codec: ProductQuantizer, embeddings: np.ndarray, docids: Sequence[str], reference: Neighbourhood | None = None
) -> np.ndarray:
    """Assign (n, D) embeddings, a part at a time; returns codes (n, M) uint8.

    Raises:
        JPQError: the counts differ, or an embedding is not finite; the message names its docid.
    """
    if len(embeddings) != len(docids):
        raise JPQError(f"{len(embeddings):,} embeddings and {len(docids):,} docids: give one docid for each embedding")
    codes = np.empty((len(docids), codec.m), dtype=np.uint8)
    for start in range(0, len(codes), _ROWS):
        part = np.array(embeddings[start : start + _ROWS], dtype=np.float32)
        check_finite(part, docids[start : start + _ROWS])
        codes[start : start + _ROWS] = codec.beside(reference).encode(part)
    return codes


def check_finite(embeddings: np.ndarray, docids: Sequence[str]) -> None:
    """Raise :class:`JPQError` with the first docid whose embedding, of (n, D), is not finite."""
    unusable = unusable_row(embeddings)
    if unusable is not None:
        raise JPQError(f"the embedding of docid {docids[unusable[0]]} {unusable[1]}: encode that document again")


def check_codes(codes: np.ndarray, docids: Sequence[str], codec: ProductQuantizer) -> None:
    """Raise :class:`JPQError` unless codes are (n, M) uint8 below K, one row a docid."""
    if codes.shape != (len(docids), codec.m) or codes.dtype != np.uint8:
        raise JPQError(
            f"codes of shape {codes.shape} and type {codes.dtype} do not fit {len(docids):,} docids and {codec.m} "
            "sub-vectors: encode the documents with this index's codec"
        )
    if len(codes) and codes.max() >= codec.k:
        raise JPQError(
            f"a code of {codes.max()}, but the codec has {codec.k} centroids a sub-vector: use its own codes"
        )


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
        coder = TextCoder(like.codec, encoder, self._batch_size, vectors)
        codes, self.vectors = coder.code(corpus, len(self.docids), self._work.path, reference)
        return codes

    def forget(self) -> None:
        """Remove what was kept for ``--resume``: the index is written."""
        if self._work is not None:
            self._work.discard()


def check_dimension(encoder, name: str, like: "JPQIndex") -> None:
    """Raise :class:`JPQError` unless the ``SentenceTransformer`` called ``name`` gives vectors that an index takes."""
    dimension = encoder.get_embedding_dimension()
    if dimension != like.codec.dimension:
        raise JPQError(
            f"the encoder {name} gives {dimension} dimensions, the codec of {like.path} has {like.codec.dimension}: "
            "name the encoder that made the documents"
        )


class TextCoder:
    """Texts to codes, and to vectors where they are wanted.

    Args:
        codec: assigns.
        encoder: a ``SentenceTransformer``.
        batch_size: texts encoded at once.
        vectors: type of number to keep the embeddings as; None does not keep them.
    """

    def __init__(self, codec: ProductQuantizer, encoder, batch_size: int, vectors: str | None):
        self._codec, self._encoder, self._batch_size, self._vectors = codec, encoder, batch_size, vectors

    def code(
        self,
        corpus: Iterable[tuple[str, str]],
        count: int,
        folder: Path,
        reference: Neighbourhood | None = None,
        progress: bool = True,
    ) -> tuple[np.ndarray, Vectors | None]:
        """Code a corpus or a part of one; returns codes (n, M) uint8 and vectors.

        Args:
            corpus: documents, as (docid, text).
            count: n.
            folder: where they grow; what a stopped run left in it is continued.
            reference: as in :meth:`Source.codes`.
            progress: show a bar.
        """
        kept = GrowingArray(folder / _CODES, np.uint8, self._codec.m, CHUNK)
        beside = None
        if self._vectors is not None:
            width = row_bytes(self._vectors, self._codec.dimension)
            beside = GrowingArray(folder / _VECTORS, np.uint8, width, CHUNK)
            beside.cut(len(kept))
        for docids, embeddings in embed_chunks(corpus, self._encoder, self._batch_size, len(kept), count, progress):
            codes = encode(self._codec, embeddings, docids, reference)
            if beside is not None and self._vectors is not None:
                beside.append(encode_rows(embeddings, self._vectors))
            kept.append(codes)
        return coded_in(folder, self._codec, self._vectors)


def coded_in(folder: Path, codec: ProductQuantizer, vectors: str | None) -> tuple[np.ndarray, Vectors | None]:
    """Return the codes (n, M) uint8 that a :class:`TextCoder` wrote, mapped, and the vectors where it kept them."""
    codes = GrowingArray(folder / _CODES, np.uint8, codec.m, 1)
    if vectors is None:
        return codes.mapped(), None
    beside = GrowingArray(folder / _VECTORS, np.uint8, row_bytes(vectors, codec.dimension), 1)
    return codes.mapped(), RawVectors(beside.mapped(), vectors, codec.dimension)


def load_document_encoder(
    settings: dict, device: str | None, backend: str = "torch", corpus: Iterable[tuple[str, str]] = (), batch: int = 32
) -> tuple[Any, str]:
    """Return a document encoder, a ``SentenceTransformer``, and the backend that runs it.

    Args:
        settings: arguments of :func:`jpq_pyserini.encoders.text_encoder.load_text_encoder`.
        device: torch device; None: a GPU if there is one and the backend is torch.
        backend: what runs it: see :mod:`jpq_pyserini.encoders.backends`; ``"auto"`` measures on the first documents.
        corpus, batch: the documents, and how many are encoded at once: what ``"auto"`` measures with.
    """
    import torch

    from jpq_pyserini.encoders import backends
    from jpq_pyserini.encoders.text_encoder import load_text_encoder

    on_gpu = torch.cuda.is_available() and backend in (backends.TORCH, backends.AUTO)
    device = device or ("cuda" if on_gpu else "cpu")
    model = load_text_encoder(**settings, device=device)
    if backend != backends.AUTO:
        return backends.exported(model, backend, device), backend
    if not device.startswith("cpu"):
        return model, backends.TORCH
    texts = sorted((text for _, text in itertools.islice(corpus, _MEASURED * batch)), key=len)
    batches = [texts[start : start + batch] for start in range(0, len(texts), batch)]
    return model, backends.fastest(model, batches[:1] + batches) if batches else backends.TORCH


def embed_chunks(
    corpus: Iterable[tuple[str, str]], encoder, batch_size: int, done: int, total: int, progress: bool = True
) -> Iterator[tuple[list[str], np.ndarray]]:
    """Yield docids and embeddings (n, D) float32 of ``CHUNK`` documents at a time, with a progress bar.

    Within a chunk, texts of like length are encoded together, which wastes little on padding.

    Args:
        corpus: the documents, as (docid, text).
        encoder: a ``SentenceTransformer``.
        batch_size: texts encoded at once.
        done: documents to pass over.
        total: number of documents.
        progress: show the bar.
    """
    documents = itertools.islice(corpus, done, None)
    with tqdm(total=total, initial=done, desc="encode", unit="doc", disable=not progress) as bar:
        while chunk := list(itertools.islice(documents, CHUNK)):
            docids, texts = (list(each) for each in zip(*chunk, strict=True))
            yield docids, embed_passages(encoder, texts, batch_size=batch_size)
            bar.update(len(docids))


def code_flat(
    flat: Embeddings,
    codec: ProductQuantizer,
    progress: bool,
    kept: Path | None = None,
    reference: Neighbourhood | None = None,
    rows: slice = slice(None),
) -> np.ndarray:
    """Assign the embeddings of a flat folder, a chunk at a time; returns codes (n, M) uint8.

    Args:
        flat: the folder.
        codec: assigns.
        progress: show a bar.
        kept: an existing folder for the codes so far, from which a stopped run continues.
        reference: where neighbours are looked for, if the codec wants any; None: in the folder itself, or 65,536
            documents of it.
        rows: only these; their start has to be a multiple of ``flat.chunk_rows``.

    Raises:
        JPQError: the dimension differs, or an embedding is not finite.
    """
    N, D = flat.embeddings.shape
    if codec.dimension != D:
        raise JPQError(
            f"{flat.path} has embeddings of dimension {D}, the codec {codec.dimension}: encode the documents with the "
            "encoder recorded in jpq.json"
        )
    if codec.assignment.neighbours and reference is None:
        reference = Neighbourhood(flat.sample(REFERENCE, seed=0), codec.assignment.neighbours)
    file = None if kept is None else GrowingArray(kept / _CODES, np.uint8, codec.m, flat.chunk_rows)
    first, stop, _ = rows.indices(N)
    codes = np.empty((stop - first, codec.m), dtype=np.uint8)
    done = 0 if file is None else len(file)
    if file is not None and done:
        codes[:done] = file.read()
    with tqdm(total=len(codes), initial=done, desc="code", unit="doc", unit_scale=True, disable=not progress) as bar:
        for start, chunk in flat.chunks(first=first + done, stop=stop):
            codes[start - first : start - first + len(chunk)] = coded = codec.beside(reference).encode(chunk)
            if file is not None:
                file.append(coded)
            bar.update(len(chunk))
    return codes


def codec_digest(codec: ProductQuantizer) -> str:
    """Return the SHA-256 of what codes depend on: rotation, assignment centroids, costs of errors."""
    digest = hashlib.sha256(codec.assignment_centroids.tobytes())
    digest.update(b"" if codec.rotation is None else codec.rotation.tobytes())
    digest.update(repr(codec.assignment).encode())
    return digest.hexdigest()
