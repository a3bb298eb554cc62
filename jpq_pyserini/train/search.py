"""Exhaustive searches while training: over codes with the current centroids (section 3.4), or uncompressed embeddings.

On a CPU Faiss searches, which is fastest there; on a GPU torch does, in the memory where codes and centroids are
already. faiss-gpu would not do: its index keeps a copy of the codes and takes new centroids only when it is built, and
here they are new at every step.
"""

from typing import Protocol

import faiss
import numpy as np
import torch
from torch import Tensor

from jpq_pyserini.codec.quantizer import ProductQuantizer
from jpq_pyserini.data.flat import Embeddings
from jpq_pyserini.index import layouts
from jpq_pyserini.index.torch_search import best_by_codes, best_in_tiles, tile_rows
from jpq_pyserini.train.model import JPQModel

_TORCH_DEVICES = {"cuda"}  # where torch searches; on all others Faiss does, on the CPU
_QUERIES = 64  # whose candidates' embeddings are held at once


class Search(Protocol):
    """An exhaustive search by inner product."""

    def search(self, queries: Tensor, hits: int) -> Tensor:
        """Return the rows (B, hits) int64 of the best documents for unrotated queries (B, D), best first; -1 for none.

        The rows are on the device of the queries.
        """


class FaissCodeSearch:
    """Exhaustive search over codes by equation 12, with Faiss; nothing is rebuilt between two steps.

    Args:
        centroids: (M, K, D/M), read again at each search: give the parameter that is trained.
        codes: (N, M) uint8, which Faiss copies.
        rotation: (D, D) that queries are rotated by; None: they are given in the space of the sub-vectors.
    """

    def __init__(self, centroids: Tensor, codes: Tensor, rotation: Tensor | None = None):
        self._centroids, self._rotation = centroids, rotation
        first = self._current()
        self._index = layouts.build(ProductQuantizer(first, first), codes.cpu().numpy())

    def search(self, queries: Tensor, hits: int) -> Tensor:
        """See :class:`Search`; documents of equal score come in no fixed order."""
        layouts.set_centroids(self._index, self._current())
        rows = self._index.search(_float_array(_rotated(queries, self._rotation)), hits)[1]
        return torch.from_numpy(rows).to(queries.device)

    def _current(self) -> np.ndarray:
        return self._centroids.detach().cpu().numpy()


class TorchCodeSearch:
    """:class:`FaissCodeSearch` with torch on the device of the centroids; codes and centroids are not copied.

    Args:
        centroids, codes, rotation: as for :class:`FaissCodeSearch`, on one device.
        tile: documents decoded at once; None: as many as fit 256 MB.
    """

    def __init__(self, centroids: Tensor, codes: Tensor, rotation: Tensor | None = None, *, tile: int | None = None):
        self._centroids, self._codes, self._rotation, self._tile = centroids, codes, rotation, tile

    def search(self, queries: Tensor, hits: int) -> Tensor:
        """See :class:`Search`; documents of equal score come in row order."""
        rotated = _rotated(queries, self._rotation)
        return best_by_codes(self._codes, self._centroids.detach(), rotated, hits, tile=self._tile)[1]


class FaissFlatSearch:
    """Exhaustive search over uncompressed embeddings with Faiss: the 'BF negatives' of figure 3, and ADORE.

    Args:
        flat: the folder; it stays on disk, and is read through once a search.
    """

    def __init__(self, flat: Embeddings):
        self._flat = flat

    def search(self, queries: Tensor, hits: int) -> Tensor:
        """See :class:`Search`; documents of equal score come in no fixed order."""
        best = faiss.ResultHeap(len(queries), hits, keep_max=True)
        array = _float_array(queries)
        for start, chunk in self._flat.chunks():
            scores, rows = faiss.knn(array, chunk, min(hits, len(chunk)), metric=faiss.METRIC_INNER_PRODUCT)
            best.add_result(scores, rows + start)
        best.finalize()
        return torch.from_numpy(best.I).to(queries.device)


class TorchFlatSearch:
    """:class:`FaissFlatSearch` with torch on the device of the queries: the folder goes there part by part.

    Args:
        flat: the folder.
        tile: documents moved at once; None: as many as fit 256 MB.
    """

    def __init__(self, flat: Embeddings, tile: int | None = None):
        self._flat, self._tile = flat, tile or tile_rows(flat.embeddings.shape[1])

    def search(self, queries: Tensor, hits: int) -> Tensor:
        """See :class:`Search`; documents of equal score come in row order."""
        tiles = ((start, torch.from_numpy(chunk).to(queries.device)) for start, chunk in self._flat.chunks(self._tile))
        return best_in_tiles(queries.detach().float(), tiles, hits)[1]


class RescoredSearch:
    """Two-stage search: the best documents of another search, ranked by their uncompressed embeddings.

    Args:
        first: proposes candidates.
        model: holds the embeddings.
        candidates: how many, though never fewer than the hits wanted.
    """

    def __init__(self, first: Search, model: JPQModel, candidates: int):
        self._first, self._model, self._candidates = first, model, candidates

    def search(self, queries: Tensor, hits: int) -> Tensor:
        """See :class:`Search`; documents of equal score come in the order of the first search."""
        wanted = min(max(self._candidates, hits), len(self._model.flat))
        parts = queries.detach().float().split(_QUERIES)
        return torch.cat([self._best(part, self._first.search(part, wanted))[:, :hits] for part in parts])

    def _best(self, queries: Tensor, rows: Tensor) -> Tensor:
        scores = self._model.flat_scores(queries, rows.clamp(min=0)).masked_fill(rows < 0, -torch.inf)
        return rows.gather(1, scores.argsort(dim=1, descending=True, stable=True))


def code_search(model: JPQModel, centroids: Tensor) -> Search:
    """Search the codes of a model that is on its device already, scored with these centroids (M, K, D/M)."""
    kind = TorchCodeSearch if _on_device(model) else FaissCodeSearch
    return kind(centroids, model.codes, model.rotation)


def flat_search(model: JPQModel, flat: Embeddings) -> Search:
    """Search the uncompressed embeddings on the model's device."""
    return TorchFlatSearch(flat) if _on_device(model) else FaissFlatSearch(flat)


def index_search(model: JPQModel, flat: Embeddings) -> Search:
    """Search what will be written: codes with the centroids as they are at that moment, or the flat index."""
    return flat_search(model, flat) if model.centroids is None else code_search(model, model.centroids)


def _on_device(model: JPQModel) -> bool:
    return model.device.type in _TORCH_DEVICES


def _rotated(queries: Tensor, rotation: Tensor | None) -> Tensor:
    queries = queries.detach().float()
    return queries if rotation is None else queries @ rotation.T


def _float_array(queries: Tensor) -> np.ndarray:
    return np.ascontiguousarray(queries.detach().float().cpu().numpy())
