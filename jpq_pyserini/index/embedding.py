"""A corpus to a flat Faiss folder, as ``python -m pyserini.encode`` writes it: in bounded memory, resumable."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from jpq_pyserini.data.corpus import Corpus
from jpq_pyserini.data.flat import FlatFolder
from jpq_pyserini.errors import JPQError
from jpq_pyserini.index.coding import BATCH_SIZE, CHUNK, check_finite, embed_chunks, load_document_encoder
from jpq_pyserini.index.shards import refuse_repeated
from jpq_pyserini.resume import GrowingArray, WorkFolder, fingerprint
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
        backend: what runs the encoder: see :mod:`jpq_pyserini.encoders.backends`.
        batch_size: passages encoded at once.
        device: torch device; None: a GPU if there is one.
        resume: continue from what a stopped run left, if it left anything.

    Returns:
        The folder, opened: N embeddings of dimension D.

    Raises:
        JPQError: a line is no document, a docid comes twice, the encoder cannot be loaded or gives an embedding that
            is not finite, or ``output`` exists.
    """
    if batch_size < 1:
        raise JPQError(f"a batch size of {batch_size}: must be at least 1")
    if max_length is not None and max_length < 1:
        raise JPQError(f"a maximum length of {max_length}: must be at least 1")
    settings: dict[str, Any] = {
        "name_or_path": encoder,
        "pooling": pooling,
        "l2_norm": l2_norm,
        "max_length": max_length,
    }
    if truncate_dim is not None:
        settings["truncate_dim"] = truncate_dim
    with locked(output):
        refuse_existing(output)
        documents = Corpus(corpus)
        docids = documents.docids()
        refuse_repeated((str(corpus), docids))
        recorded = {
            **settings,
            "name_or_path": os.path.abspath(encoder) if os.path.isdir(encoder) else encoder,
            "passage_prefix": prefix,
        }
        made_from = {"encoder": recorded, "backend": backend, "corpus": fingerprint(documents.path)}
        work = WorkFolder(f"{os.fspath(output).rstrip(os.sep)}.embedding", made_from, resume)
        model = load_document_encoder({**settings, "passage_prefix": prefix}, device, backend)
        work.claim()
        kept = GrowingArray(work.path / "embeddings", np.float32, model.get_embedding_dimension(), CHUNK)
        for ids, embeddings in embed_chunks(documents, model, batch_size, len(kept), len(docids)):
            check_finite(embeddings, ids)
            kept.append(embeddings)
        with new_directory(output) as folder:
            rows = kept.mapped()
            chunks = (rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK))
            FlatFolder.write(folder, docids, chunks, recorded)
        work.discard()
    return FlatFolder.open(Path(output))
