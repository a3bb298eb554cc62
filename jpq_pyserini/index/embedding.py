"""A corpus to a flat Faiss folder, as ``python -m pyserini.encode`` writes it: in bounded memory, resumable."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jpq_pyserini.data.corpus import USUAL, Corpus
from jpq_pyserini.data.flat import FlatFolder
from jpq_pyserini.data.parts import corpus_shard
from jpq_pyserini.encoders.limits import BATCH_SIZE
from jpq_pyserini.errors import JPQError
from jpq_pyserini.index.coding import CHUNK, check_finite, embed_chunks, load_document_encoder
from jpq_pyserini.index.shards import refuse_repeated
from jpq_pyserini.resume import GrowingArray, WorkFolder
from jpq_pyserini.storage import locked, new_directory, refuse_existing


def embed_corpus(
    corpus: str | os.PathLike,
    encoder: str,
    output: str | os.PathLike,
    *,
    pooling: str | None = None,
    l2_norm: bool = False,
    max_length: int | None = None,
    prefix: str | None = None,
    truncate_dim: int | None = None,
    backend: str = "torch",
    batch_size: int = BATCH_SIZE,
    device: str | None = None,
    resume: bool = False,
    shard: tuple[int, int] | None = None,
    id_field: str | None = None,
    text_fields: Sequence[str] | None = None,
) -> FlatFolder:
    """Encode the passages of a corpus into a flat Faiss folder.

    Until it is written, the folder ``OUTPUT.embedding`` keeps the embeddings, 4·D bytes a passage, so that a stopped
    run goes on. How they were made is recorded in the folder: :attr:`FlatFolder.encoder`.

    Args:
        corpus: JSON-lines file or folder.
        encoder: sentence-transformers model, or a plain Hugging Face model with ``pooling``; name or folder.
        output: the folder to write; must not exist. It appears whole or not at all.
        pooling, l2_norm: as in :func:`jpq_pyserini.encoders.text_encoder.load_text_encoder`.
        max_length: passages are cut at this many tokens; None: the model's own limit.
        prefix: put before every passage with a space, as Pyserini's ``--prefix``; None: the prompt for documents that
            the model has, if any.
        truncate_dim: dimensions kept, of a Matryoshka model; None: what the model says.
        backend: what runs the encoder: see :mod:`jpq_pyserini.encoders.backends`; ``"auto"``: the faster of torch and
            ONNX on the first passages.
        batch_size: passages encoded at once.
        device: torch device; None: a GPU if there is one.
        resume: continue from what a stopped run left, if it left anything.
        shard: (I, N): only the documents of shard I of N, numbered from 0.
        id_field, text_fields: names of the corpus's fields, as :class:`~jpq_pyserini.data.corpus.Corpus` takes them.

    Returns:
        The folder, opened: N embeddings of dimension D.

    Raises:
        JPQError: a line is no document, a docid comes twice, the encoder cannot be loaded or gives an embedding that
            is not finite, or ``output`` exists.
    """
    if batch_size < 1:
        raise JPQError(f"a batch size of {batch_size}: must be at least 1")
    settings = passage_settings(encoder, pooling, l2_norm, max_length, prefix, truncate_dim)
    with locked(output):
        refuse_existing(output)
        whole = Corpus(corpus, id_field, text_fields)
        documents = whole if shard is None else corpus_shard(whole, *shard, CHUNK)
        docids = documents.docids()
        refuse_repeated((str(corpus), docids))
        recorded = recorded_settings(settings)
        made_from = {"encoder": recorded, "backend": backend, "corpus": documents.fingerprint()}
        if whole.names != USUAL:
            made_from["fields"] = list(whole.names)
        work = WorkFolder(f"{os.fspath(output).rstrip(os.sep)}.embedding", made_from, resume)
        model, backend = load_document_encoder(settings, device, backend, documents, batch_size)
        work.claim()
        rows = embed_texts(documents, len(docids), model, batch_size, work.path)
        with new_directory(output) as folder:
            write_embedded(folder, docids, [rows], recorded | ({} if backend == "torch" else {"backend": backend}))
        work.discard()
    return FlatFolder.open(Path(output))


def passage_settings(
    encoder: str,
    pooling: str | None = None,
    l2_norm: bool = False,
    max_length: int | None = None,
    prefix: str | None = None,
    truncate_dim: int | None = None,
) -> dict[str, Any]:
    """Return the arguments of ``load_text_encoder`` that :func:`embed_corpus` is given; :class:`JPQError` as there."""
    if max_length is not None and max_length < 1:
        raise JPQError(f"a maximum length of {max_length}: must be at least 1")
    settings = {"name_or_path": encoder, "pooling": pooling, "l2_norm": l2_norm, "max_length": max_length}
    if truncate_dim is not None:
        settings["truncate_dim"] = truncate_dim
    return {**settings, "passage_prefix": prefix}


def recorded_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """Return what a flat folder records of :func:`passage_settings`: folders with their whole path."""
    name = settings["name_or_path"]
    return {**settings, "name_or_path": os.path.abspath(name) if os.path.isdir(name) else name}


def embed_texts(
    corpus: Iterable[tuple[str, str]], count: int, encoder, batch_size: int, folder: Path, progress: bool = True
) -> np.ndarray:
    """Encode a corpus or a part of one into a file that grows in ``folder``; returns it mapped, (n, D) float32.

    Raises:
        JPQError: a line is no document, or an embedding is not finite.
    """
    kept = embedded_in(folder, encoder.get_embedding_dimension(), CHUNK)
    for ids, embeddings in embed_chunks(corpus, encoder, batch_size, len(kept), count, progress):
        check_finite(embeddings, ids)
        kept.append(embeddings)
    return kept.mapped()


def embedded_in(folder: Path, dimension: int, together: int = 1) -> GrowingArray:
    """Return the embeddings of dimension D that :func:`embed_texts` wrote, or is to write so many ``together``."""
    return GrowingArray(folder / "embeddings", np.float32, dimension, together)


def write_embedded(
    folder: Path, docids: Iterable[str], arrays: Iterable[np.ndarray], recorded: dict[str, Any]
) -> FlatFolder:
    """Write the flat folder of arrays (n, D), one after the other, a chunk in memory at a time."""
    chunks = (rows[start : start + CHUNK] for rows in arrays for start in range(0, len(rows), CHUNK))
    return FlatFolder.write(folder, docids, chunks, recorded)
