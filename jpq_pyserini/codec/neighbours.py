"""Codes that keep a document apart from its neighbours: errors towards them cost more.

A query that finds a document often points towards the documents beside it too (the other passages of an article, say),
and with those the document competes: along these directions its score must be right. With n_1 … n_J the J nearest
documents, unit length, each less its part along the document, and residual r, a code costs

    g/J · Σ_j (n_j·r)²

on top of what :mod:`jpq_pyserini.codec.score_aware` lets it cost, which also finds the codes.

Neighbours are looked for among the documents that are coded together; a document that is added to an index later has
its neighbours there. So codes depend on the company in which a document is coded. All of it is looked at: among a
sixteenth of SQuAD's passages, where most others of an article are missing, codes of 16 bytes became worse than without
neighbours. Each of up to 32,768 documents is compared with all; among more, Faiss looks in the 32 nearest of about √N
lists. Of SQuAD's 20,958 passages, put into 128 lists to try it, 97% of the neighbours were found.
"""

import math
from typing import Protocol

import faiss
import numpy as np
from tqdm import tqdm

WEIGHT = 60.0  # g; at 16 to 48 bytes 30 gives nearly as much
#: Documents up to which every one is looked at.
EXACT = 1 << 15
_PROBES, _OVERSAMPLING = 32, 4  # lists that are looked in; documents whose cosine is computed for each neighbour
_TRAINING = 64  # documents a list that lists are learnt from
_ROWS = 1 << 16  # added to lists at once
_TOGETHER = 1 << 9  # looked up at once
_SAME = 1 - 1e-6  # the cosine from which on a document is itself
_NONE = -2.0  # the cosine of no document
_TINY = 1e-12


class Reference(Protocol):
    """Embeddings (N, D), an array or what is read like one: ``reference[rows]`` of a slice or of row numbers."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows) -> np.ndarray: ...


class Neighbourhood:
    """What documents are compared with.

    Args:
        reference: n > 0 embeddings; norms do not matter. Beyond :data:`EXACT` they stay where they are, on disk if they
            are mapped: D/16 + 8 bytes a document are held, and a sample of 64·√n while lists are learnt. Then 36 of
            them are read for each document that is compared.
        count: J.
        progress: show a bar while lists are filled.
    """

    def __init__(self, reference: Reference, count: int, progress: bool = False):
        self.count = count
        self._lists = _lists(reference, progress) if len(reference) > EXACT else None
        self._reference = reference if self._lists is not None else _units(reference[:])

    def across(self, embeddings: np.ndarray) -> np.ndarray:
        """Return √(g/J)·n_j of (B, D) embeddings: (B, J + 1, D) float32, fewer of a smaller reference.

        Rows that are not needed are zero.

        A document that is in the reference is no neighbour of its own.
        """
        units = _units(embeddings)
        cosines, found = self._nearest(units, min(self.count + 1, len(self._reference)))
        found -= (found @ units[:, :, None]) * units[:, None]
        found[(cosines >= _SAME) | (cosines == _NONE)] = 0
        found[cosines[:, 0] < _SAME, self.count :] = 0  # not in the reference: one too many
        found *= np.sqrt(WEIGHT / self.count)
        return found

    def _nearest(self, units: np.ndarray, wanted: int) -> tuple[np.ndarray, np.ndarray]:
        """Return cosines (B, wanted), best first, and the documents, of unit length: (B, wanted, D)."""
        if self._lists is None:
            cosines, rows = faiss.knn(units, self._reference, wanted, metric=faiss.METRIC_INNER_PRODUCT)
            return cosines, self._reference[rows]
        cosines = np.empty((len(units), wanted), dtype=np.float32)
        found = np.empty((*cosines.shape, units.shape[1]), dtype=np.float32)
        for start in range(0, len(units), _TOGETHER):
            part = units[start : start + _TOGETHER]
            _, rows = self._lists.search(part, _OVERSAMPLING * wanted)
            listed, places = np.unique(rows, return_inverse=True)  # sorted, as a disk reads best; −1 is no document
            near = _units(self._reference[np.maximum(listed, 0)])[places.reshape(rows.shape)]
            exact = np.where(rows < 0, _NONE, np.einsum("bnd,bd->bn", near, part))
            best = np.argsort(-exact, axis=1, kind="stable")[:, :wanted]
            cosines[start : start + _TOGETHER] = np.take_along_axis(exact, best, 1)
            found[start : start + _TOGETHER] = np.take_along_axis(near, best[:, :, None], 1)
        return cosines, found


class _Decoded:
    """The documents of an index, as their codes (N, M) have them."""

    def __init__(self, codec, codes: np.ndarray):
        self._codec, self._codes = codec, codes

    def __len__(self) -> int:
        return len(self._codes)

    def __getitem__(self, rows) -> np.ndarray:
        return self._codec.decode(self._codes[rows])


def neighbourhood_of(codec, codes: np.ndarray, progress: bool = False) -> Neighbourhood | None:
    """Return what new documents of an index are compared with: its own, as their codes (N, M) have them.

    Beyond :data:`EXACT` documents all are put into lists first, with a bar if ``progress``: minutes for millions.

    None if the codec (a :class:`~jpq_pyserini.codec.ProductQuantizer`) wants no neighbours, or there are none.
    """
    if not codec.assignment.neighbours or not len(codes):
        return None
    return Neighbourhood(_Decoded(codec, codes), codec.assignment.neighbours, progress)


def _lists(reference: Reference, progress: bool) -> faiss.IndexIVF:
    """Return the documents in about √N lists, by codes of 4 bits for every 8 dimensions, or a few more."""
    count, dimension = len(reference), reference[:1].shape[1]
    lists = 1 << round(math.log2(math.sqrt(count)))
    parts = max(each for each in range(1, max(1, dimension // 8) + 1) if dimension % each == 0)
    codes = f"PQ{parts}x4fs" if dimension <= 16 * parts else "SQ8"  # of a dimension with few divisors
    found = faiss.index_factory(dimension, f"IVF{lists},{codes}", faiss.METRIC_INNER_PRODUCT)
    found.cp.niter, found.cp.max_points_per_centroid, found.nprobe = 8, _TRAINING, _PROBES
    rows = np.random.default_rng(0).choice(count, min(count, _TRAINING * lists), replace=False)
    found.train(_units(reference[np.sort(rows)]))
    with tqdm(total=count, desc="neighbours", unit="doc", unit_scale=True, disable=not progress) as bar:
        for start in range(0, count, _ROWS):
            part = _units(reference[start : start + _ROWS])
            found.add(part)
            bar.update(len(part))
    return found


def _units(embeddings: np.ndarray) -> np.ndarray:
    units = np.array(embeddings, dtype=np.float32, order="C")
    units /= np.maximum(np.linalg.norm(units, axis=1, keepdims=True), _TINY)
    # one that is not finite is told with its docid when it is coded
    return np.nan_to_num(units, copy=False, nan=0, posinf=0, neginf=0)
