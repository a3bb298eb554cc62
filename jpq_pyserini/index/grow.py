"""What adding documents and merging indexes have in common: what must be equal, what must differ, what is recorded."""

import bisect
import itertools
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jpq_pyserini.codec.neighbours import Neighbourhood
from jpq_pyserini.codec.quantizer import ProductQuantizer
from jpq_pyserini.data.docids import JoinedDocids, first_repeated
from jpq_pyserini.errors import JPQError
from jpq_pyserini.index import layouts
from jpq_pyserini.names import CODEC, DOCID, INDEX, QUERY_ENCODER, RECORD, VECTORS
from jpq_pyserini.storage import sha256_of

_ROWS = 1 << 14


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
        finite = np.isfinite(part).all(axis=1)
        if not finite.all():
            docid = docids[start + int(np.argmin(finite))]
            raise JPQError(f"the embedding of docid {docid} holds NaN or infinity: encode that document again")
        codes[start : start + _ROWS] = codec.beside(reference).encode(part)
    return codes


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


def refuse_repeated(*parts: tuple[str, Sequence[str]]) -> None:
    """Raise :class:`JPQError` if a docid comes twice in the named parts; the message names it and both places."""
    docids = JoinedDocids([docids for _, docids in parts])
    rows = first_repeated(docids)
    if rows is None:
        return
    bounds = list(itertools.accumulate(len(docids) for _, docids in parts))
    first, again = (bisect.bisect(bounds, row) for row in rows)
    both = f"twice in {parts[again][0]}" if first == again else f"in {parts[first][0]} and again in {parts[again][0]}"
    raise JPQError(f"docid {docids[rows[1]]} is {both}: leave the second one out, codes are never replaced")


def check_shards(indexes: Sequence) -> None:
    """Raise :class:`JPQError` unless the :class:`JPQIndex` objects can be joined."""
    if len(indexes) < 2:
        raise JPQError(f"{len(indexes)} index given to merge: name at least two")
    first = indexes[0]
    for other in indexes[1:]:
        difference = _codec_difference(first.codec, other.codec) or _encoder_difference(first, other)
        if difference:
            raise JPQError(
                f"{first.name} and {other.name} cannot be merged, {difference}: only shards made with one codec and "
                "one encoder can, as `index build --like` makes them"
            )
        if first.record.layout != other.record.layout:
            raise JPQError(
                f"{first.name} has the layout {first.record.layout}, {other.name} {other.record.layout}: bring them to "
                "one with `python -m jpq_pyserini.index convert`"
            )
    refuse_repeated(*((index.name, index.docids) for index in indexes))


def known_lists(indexes: Sequence) -> np.ndarray | None:
    """Return the lists of the documents of the leading indexes, as long as their lists are the first one's; or None."""
    first = indexes[0].coarse
    if first is None:
        return None
    same = itertools.takewhile(lambda index: np.array_equal(index.coarse.centroids, first.centroids), indexes)
    return np.concatenate([layouts.lists_of(index.faiss_index) for index in same])


def copy_others(source: Path, target: Path) -> None:
    """Copy what is in an index directory besides the files that :meth:`JPQIndex.save` writes; its encoder, for one."""
    for entry in source.iterdir():
        if entry.is_dir():
            shutil.copytree(entry, target / entry.name)
        elif entry.name not in (INDEX, DOCID, CODEC, VECTORS, RECORD):
            shutil.copy2(entry, target / entry.name)


def copy_query_encoder(source: Path):
    """Return what writes the query encoder of the index directory ``source`` into a new one; None when it has none."""
    folder = source / QUERY_ENCODER
    return (lambda target: shutil.copytree(folder, target)) if folder.is_dir() else None


def _codec_difference(first: ProductQuantizer, other: ProductQuantizer) -> str | None:
    sizes = [f"D={codec.dimension} M={codec.m} nbits={codec.nbits}" for codec in (first, other)]
    if sizes[0] != sizes[1]:
        return f"{sizes[0]} in one and {sizes[1]} in the other"
    for name in ("rotation", "assignment_centroids", "centroids"):
        mine, theirs = getattr(first, name), getattr(other, name)
        if (mine is None) != (theirs is None):
            return f"one has a {name} and the other none"
        if mine is not None and not np.array_equal(mine, theirs):
            return f"the {name.replace('_', ' ')} of their codecs differ (by up to {np.abs(mine - theirs).max():.2g})"
    if first.assignment != other.assignment:
        return f"their codes were chosen differently, by {first.assignment} and {other.assignment}"
    return None


def _encoder_difference(first, other) -> str | None:
    for name in ("pooling", "l2_norm", "max_length", "prompt"):  # the name may be another path to the same model
        mine, theirs = first.record.encoder.get(name), other.record.encoder.get(name)
        if mine != theirs and first.record.encoder and other.record.encoder:
            return f"the documents of one were encoded with {name} {mine} and of the other with {theirs}"
    if first.path is None or other.path is None:
        return None
    mine, theirs = _digests(first.path / QUERY_ENCODER), _digests(other.path / QUERY_ENCODER)
    differing = sorted(name for name in mine.keys() | theirs.keys() if mine.get(name) != theirs.get(name))
    return f"their query encoders differ in {QUERY_ENCODER}/{differing[0]}" if differing else None


def _digests(folder: Path) -> dict[str, str]:
    return {str(file.relative_to(folder)): sha256_of(file) for file in sorted(folder.rglob("*")) if file.is_file()}
