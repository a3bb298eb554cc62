"""Passages to a flat Faiss folder, in chunks that are kept: an interrupted run goes on, a later one encodes nothing."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jpq_pyserini.encoders.minilm import encoder_digest
from jpq_pyserini.names import DOCID, INDEX
from jpq_pyserini.storage import new_directory, new_file

CHUNK = 256
_FORMAT = "1"


def cache_root() -> Path:
    """Return the directory of ``JPQ_CACHE``, or ``~/.cache/jpq_pyserini``."""
    return Path(os.environ.get("JPQ_CACHE") or Path.home() / ".cache" / "jpq_pyserini")


def encode_passages(
    docids: Sequence[str],
    texts: Sequence[str],
    encoder: Path,
    output: Path,
    *,
    max_length: int,
    pooling: str | None = None,
    l2_norm: bool = False,
) -> int:
    """Write ``output`` as ``python -m pyserini.encode … output --to-faiss`` would: IndexFlatIP and a docid file.

    Args:
        docids: N ids.
        texts: N texts.
        encoder: Its folder.
        output: A new directory.
        max_length: Texts are cut at this many tokens.
        pooling, l2_norm: For folders that do not say it themselves.

    Returns:
        The number of passages that were encoded now; the others were in the cache.
    """
    from tqdm import tqdm

    # Long passages together: little padding, and the time that is left is never more than the progress bar says.
    order = sorted(range(len(texts)), key=lambda row: (-len(texts[row]), row))
    chunks = [order[start : start + CHUNK] for start in range(0, len(order), CHUNK)]
    cache = cache_root() / "embeddings" / _key(texts, encoder, (max_length, pooling, l2_norm))
    model, encoded, rows = None, 0, None
    with tqdm(total=len(texts), unit="passage", desc="encoding", disable=None) as progress:
        for number, chunk in enumerate(chunks):
            path = cache / f"{number:06d}.npy"
            part = _cached(path, len(chunk))
            if part is None:
                model = model or _model(encoder, max_length, pooling, l2_norm)
                part = _embed(model, [texts[row] for row in chunk])
                with new_file(path, "wb") as file:
                    np.save(file, part)
                encoded += len(chunk)
            if rows is None:
                rows = np.empty((len(texts), part.shape[1]), dtype=np.float32)  # (N, D)
            rows[chunk] = part
            progress.update(len(chunk))
    _write_flat(output, docids, rows)
    return encoded


def _write_flat(output: Path, docids: Sequence[str], rows: np.ndarray) -> None:
    """Write the folder; rows (N, D) float32."""
    import faiss

    with new_directory(output) as folder:
        index = faiss.IndexFlatIP(rows.shape[1])
        index.add(rows)
        faiss.write_index(index, str(folder / INDEX))
        (folder / DOCID).write_text("".join(f"{docid}\n" for docid in docids), encoding="utf-8")


def _key(texts: Sequence[str], encoder: Path, settings: tuple) -> str:
    digest = hashlib.sha256(repr((_FORMAT, CHUNK, encoder_digest(encoder), settings)).encode())
    for text in texts:
        digest.update(text.encode("utf-8", "surrogatepass") + b"\0")
    return digest.hexdigest()[:32]


def _cached(path: Path, count: int) -> np.ndarray | None:
    """Return a chunk of the cache, or None if it is not there or not whole."""
    try:
        part = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return part if part.ndim == 2 and len(part) == count and part.dtype == np.float32 else None


def _model(encoder: Path, max_length: int, pooling: str | None, l2_norm: bool):
    from jpq_pyserini.encoders.text_encoder import load_text_encoder

    return load_text_encoder(str(encoder), pooling=pooling, l2_norm=l2_norm, max_length=max_length)


def _embed(model, texts: list[str]) -> np.ndarray:
    from jpq_pyserini.encoders.text_encoder import embed_passages

    return embed_passages(model, texts)
