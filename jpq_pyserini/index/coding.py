"""New documents to codes in bounded memory: from embeddings, or from texts, kept so that a stopped run goes on."""

import hashlib
import itertools
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from jpq_pyserini.codec.neighbours import REFERENCE, Neighbourhood
from jpq_pyserini.codec.quantizer import ProductQuantizer
from jpq_pyserini.data.corpus import Corpus
from jpq_pyserini.data.flat import FlatFolder
from jpq_pyserini.encoders.text_encoder import embed_passages
from jpq_pyserini.errors import JPQError
from jpq_pyserini.index import grow
from jpq_pyserini.storage import new_file

CHUNK = 2048  # documents encoded, coded and written at once; their embeddings are then forgotten
_RUN, _CODES, _DOCIDS = "run.json", "codes", "docid"
_SO_FAR, _ROWS = "codes.npy", "rows"


class CodeLog:
    """Codes and docids as files that grow; what is in them survives a run that is stopped.

    Args:
        path: the folder; made at the first :meth:`append`.
        fingerprint: JSON-able; what must be the same for a run to go on.
        m: M.
        together: documents whose codes depend on each other: so many, from the start, are kept or none of them.
        resume: go on from what a stopped run left, if it left anything.

    Raises:
        JPQError: a stopped run left the folder and ``resume`` is False, or its fingerprint differs.
    """

    def __init__(self, path: str | os.PathLike, fingerprint: dict, m: int, resume: bool, together: int = 1):
        self.path, self.fingerprint, self.m, self._together = Path(path), fingerprint, m, together
        if not self.path.exists():
            return
        if not resume:
            raise JPQError(f"{path} is what a stopped run left: add --resume to go on from it, or remove it")
        try:
            found = json.loads((self.path / _RUN).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            shutil.rmtree(self.path)  # stopped before it had written anything
            return
        for name, value in fingerprint.items():
            if found.get(name) != value:
                raise JPQError(f"{path} comes from another {name}: give the same one, or remove {path} and start anew")
        self._drop_unfinished()

    def docids(self) -> list[str]:
        """Return the docids whose codes are there."""
        file = self.path / _DOCIDS
        return file.read_text(encoding="utf-8").split("\n")[:-1] if file.is_file() else []

    def codes(self) -> np.ndarray:
        """Return the codes (n, M) uint8."""
        file = self.path / _CODES
        codes = np.fromfile(file, dtype=np.uint8) if file.is_file() else np.empty(0, dtype=np.uint8)
        return codes.reshape(-1, self.m)

    def append(self, docids: list[str], codes: np.ndarray) -> None:
        """Add documents, codes first, so that a docid that is there has its code."""
        self.path.mkdir(parents=True, exist_ok=True)
        if not (self.path / _RUN).is_file():
            with new_file(self.path / _RUN) as file:
                json.dump(self.fingerprint, file)
        with open(self.path / _CODES, "ab") as file:
            file.write(codes.tobytes())
            file.flush()
            os.fsync(file.fileno())
        with open(self.path / _DOCIDS, "a", encoding="utf-8") as file:
            file.writelines(f"{docid}\n" for docid in docids)

    def remove(self) -> None:
        """Remove the folder: the index is written."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _drop_unfinished(self) -> None:
        """Cut both files after the last document that is whole in both."""
        codes, docids = self.path / _CODES, self.path / _DOCIDS
        if not (codes.is_file() and docids.is_file()):
            codes.unlink(missing_ok=True)
            docids.unlink(missing_ok=True)
            return
        lines = docids.read_bytes().split(b"\n")[:-1]
        whole = min(len(lines), codes.stat().st_size // self.m)
        whole -= whole % self._together
        os.truncate(codes, whole * self.m)
        os.truncate(docids, sum(len(line) + 1 for line in lines[:whole]))


def code_corpus(
    corpus: Corpus,
    docids: list[str],
    codec: ProductQuantizer,
    encoder,
    log: CodeLog,
    batch_size: int,
    progress: bool,
    reference: Neighbourhood | None = None,
) -> np.ndarray:
    """Encode the documents of ``corpus`` that are not in ``log`` yet, and return the codes (n, M) uint8 of all.

    Args:
        corpus: the documents; ``docids`` are theirs, read before.
        codec: assigns.
        encoder: a ``SentenceTransformer``, the document encoder.
        log: where codes are kept.
        batch_size: texts encoded at once.
        progress: show a bar.
        reference: where neighbours are looked for, if the codec wants any; None: among ``CHUNK`` texts at a time.

    Raises:
        JPQError: the dimension differs, an embedding is not finite, or ``log`` is of other documents.
    """
    done = log.docids()
    if done != docids[: len(done)]:
        raise JPQError(f"{log.path} holds other documents than {corpus.path}: remove {log.path} and start anew")
    with tqdm(total=len(docids), initial=len(done), desc="encode", unit="doc", disable=not progress) as bar:
        for chunk in _chunks(itertools.islice(corpus, len(done), None)):
            ids, texts = zip(*chunk, strict=True)
            embeddings = embed_passages(encoder, texts, batch_size=batch_size)  # (n, D) float32
            log.append(list(ids), grow.encode(codec, embeddings, ids, reference))
            bar.update(len(ids))
    return log.codes()


def code_flat(
    flat: FlatFolder,
    codec: ProductQuantizer,
    progress: bool,
    kept: Path | None = None,
    reference: Neighbourhood | None = None,
) -> np.ndarray:
    """Assign the embeddings of a flat folder, a chunk at a time; returns codes (n, M) uint8.

    Args:
        flat: the folder.
        codec: assigns.
        progress: show a bar.
        kept: an existing folder for the codes so far, from which a stopped run goes on.
        reference: where neighbours are looked for, if the codec wants any; None: in the folder itself, or 65,536
            documents of it.

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
    codes, done = (np.empty((N, codec.m), dtype=np.uint8), 0) if kept is None else _codes_so_far(kept, N, codec.m)
    with tqdm(total=N, initial=done, desc="code", unit="doc", unit_scale=True, disable=not progress) as bar:
        for start, chunk in flat.chunks():
            if start < done:
                continue
            codes[start : start + len(chunk)] = codec.beside(reference).encode(chunk)
            if kept is not None:
                codes.flush()
                with new_file(kept / _ROWS) as file:
                    file.write(str(start + len(chunk)))
            bar.update(len(chunk))
    return codes


def _codes_so_far(folder: Path, count: int, m: int) -> tuple[np.ndarray, int]:
    """Return codes (count, M) that are kept in a file, and how many of them are there."""
    if (folder / _ROWS).is_file():
        return np.load(folder / _SO_FAR, mmap_mode="r+"), int((folder / _ROWS).read_text(encoding="utf-8"))
    return np.lib.format.open_memmap(folder / _SO_FAR, "w+", np.uint8, (count, m)), 0


def codec_digest(codec: ProductQuantizer) -> str:
    """Return the SHA-256 of what codes depend on: rotation, assignment centroids, costs of errors."""
    digest = hashlib.sha256(codec.assignment_centroids.tobytes())
    digest.update(b"" if codec.rotation is None else codec.rotation.tobytes())
    digest.update(repr(codec.assignment).encode())
    return digest.hexdigest()


def _chunks(documents: Iterator[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    while chunk := list(itertools.islice(documents, CHUNK)):
        yield chunk
