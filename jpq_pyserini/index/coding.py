"""Embeddings, or texts, to codes in bounded memory, kept so that a stopped run continues."""

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from jpq_pyserini.codec.neighbours import Neighbourhood
from jpq_pyserini.codec.quantizer import ProductQuantizer
from jpq_pyserini.data.flat import Embeddings, unusable_row
from jpq_pyserini.encoders.limits import DOCUMENT, LOOKED_AT, CutTexts
from jpq_pyserini.encoders.text_encoder import embed_passages
from jpq_pyserini.errors import JPQError
from jpq_pyserini.index.attached import RawVectors, Vectors
from jpq_pyserini.index.vectors import encode_rows, row_bytes
from jpq_pyserini.resume import GrowingArray

if TYPE_CHECKING:
    from jpq_pyserini.index.collection import JPQIndex

CHUNK = 2048  # documents encoded, coded and written at once; their embeddings are then forgotten
_ROWS = 1 << 14  # embeddings coded at once
_SHORTER = "split them into shorter ones, or encode them with `jpq index embed --max-length N`"
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
            reference: where neighbours are looked for, if the codec wants any; None: among the documents.
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
        corpus, batch: the documents, and how many are encoded at once: what ``"auto"`` measures with. If more than a
            few per cent of the first are longer than the model takes, and nobody asked for that, a warning is logged.
    """
    import torch

    from jpq_pyserini.encoders import backends
    from jpq_pyserini.encoders.text_encoder import load_text_encoder, passage_prompt

    on_gpu = torch.cuda.is_available() and backend in (backends.TORCH, backends.AUTO)
    device = device or ("cuda" if on_gpu else "cpu")
    model = load_text_encoder(**settings, device=device)
    if settings.get("max_length") is None:
        texts = [text for _, text in itertools.islice(corpus, LOOKED_AT)]
        CutTexts(model, DOCUMENT, "passages", _SHORTER).count(texts, passage_prompt(model))
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
        reference: where neighbours are looked for, if the codec wants any; None: in the folder itself.
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
    file = None if kept is None else GrowingArray(kept / _CODES, np.uint8, codec.m, flat.chunk_rows)
    first, stop, _ = rows.indices(N)
    codes = np.empty((stop - first, codec.m), dtype=np.uint8)
    done = 0 if file is None else len(file)
    if file is not None and done:
        codes[:done] = file.read()
    if codec.assignment.neighbours and reference is None and done < len(codes):
        reference = Neighbourhood(flat.embeddings, codec.assignment.neighbours, progress)
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
