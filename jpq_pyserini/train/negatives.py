"""End-to-end negative sampling (section 3.4): the batch searches the whole corpus with the current centroids.

On a CPU Faiss searches, which is fastest there; on a GPU torch does, in the memory where codes and centroids are
already. faiss-gpu would not do: its index keeps a copy of the codes and takes new centroids only when it is built, and
here they are new at every step.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import faiss
import numpy as np
import torch
from torch import Tensor

from jpq_pyserini.codec.quantizer import ProductQuantizer
from jpq_pyserini.data.flat import FlatFolder
from jpq_pyserini.index import layouts
from jpq_pyserini.index.torch_search import best_in_tiles, decoded_tiles, tile_rows
from jpq_pyserini.train.config import TrainConfig
from jpq_pyserini.train.model import JPQModel

_TORCH_DEVICES = {"cuda"}  # where torch searches; on all others Faiss does, on the CPU


@dataclass(frozen=True)
class Candidates:
    """Documents of a batch, padded; row numbers of padding are 0 and masked out.

    Attributes:
        positives: (B, P) int64 rows, the relevant documents, with ``positive_mask`` (B, P) bool.
        negatives: (B, n) int64 rows, best first, with ``negative_mask`` (B, n) bool.
    """

    positives: Tensor
    positive_mask: Tensor
    negatives: Tensor
    negative_mask: Tensor


class Search(Protocol):
    """What all searches here do."""

    def search(self, queries: Tensor, hits: int) -> Tensor:
        """Return the rows (B, hits) int64 of the best documents for queries (B, D), best first; -1 for none.

        The rows are on the device of the queries. Searches over codes take rotated queries, others unrotated ones.
        """


class FaissCodeSearch:
    """Exhaustive search over codes by equation 12, with Faiss; nothing is rebuilt between two steps.

    Args:
        centroids: (M, K, D/M), read anew at each search: give the parameter that is trained.
        codes: (N, M) uint8, which Faiss copies.
    """

    def __init__(self, centroids: Tensor, codes: Tensor):
        self._centroids = centroids
        first = self._current()
        self._index = layouts.build(ProductQuantizer(first, first), codes.cpu().numpy())

    def search(self, queries: Tensor, hits: int) -> Tensor:
        """As :class:`Search`; equal scores come in no fixed order."""
        layouts.set_centroids(self._index, self._current())
        rows = self._index.search(_float_array(queries), hits)[1]
        return torch.from_numpy(rows).to(queries.device)

    def _current(self) -> np.ndarray:
        return self._centroids.detach().cpu().numpy()


class TorchCodeSearch:
    """The same on the device of the centroids, with the very codes and centroids that are given: no copies.

    Args:
        centroids, codes: as for :class:`FaissCodeSearch`, on one device.
        tile: documents decoded at once; None: as many as fit 256 MB.
    """

    def __init__(self, centroids: Tensor, codes: Tensor, tile: int | None = None):
        self._centroids, self._codes, self._tile = centroids, codes, tile

    def search(self, queries: Tensor, hits: int) -> Tensor:
        """As :class:`Search`; equal scores are in row order."""
        tiles = decoded_tiles(self._codes, self._centroids.detach(), queries.shape[1], self._tile)
        return best_in_tiles(queries.detach().float(), tiles, hits)[1]


class FaissFlatSearch:
    """The same over uncompressed embeddings: the 'BF negatives' of figure 3, and ADORE.

    Args:
        flat: the folder; it stays on disk, and is read through once a search.
    """

    def __init__(self, flat: FlatFolder):
        self._flat = flat

    def search(self, queries: Tensor, hits: int) -> Tensor:
        """As :class:`Search`; equal scores come in no fixed order."""
        best = faiss.ResultHeap(len(queries), hits, keep_max=True)
        array = _float_array(queries)
        for start, chunk in self._flat.chunks():
            scores, rows = faiss.knn(array, chunk, min(hits, len(chunk)), metric=faiss.METRIC_INNER_PRODUCT)
            best.add_result(scores, rows + start)
        best.finalize()
        return torch.from_numpy(best.I).to(queries.device)


class TorchFlatSearch:
    """The same with torch, on the device of the queries: the folder goes there part by part.

    Args:
        flat: the folder.
        tile: documents moved at once; None: as many as fit 256 MB.
    """

    def __init__(self, flat: FlatFolder, tile: int | None = None):
        self._flat, self._tile = flat, tile or tile_rows(flat.embeddings.shape[1])

    def search(self, queries: Tensor, hits: int) -> Tensor:
        """As :class:`Search`; equal scores are in row order."""
        tiles = ((start, torch.from_numpy(chunk).to(queries.device)) for start, chunk in self._flat.chunks(self._tile))
        return best_in_tiles(queries.detach().float(), tiles, hits)[1]


@dataclass(frozen=True)
class Searches:
    """Where candidates and dev results come from.

    Attributes:
        quantized: over the codes, with the model's centroids; None for a flat index.
        flat: over the uncompressed embeddings.
        static: over the codes with the centroids as OPQ left them; None when the settings do not want it.
    """

    quantized: Search | None
    flat: Search
    static: Search | None = None

    @classmethod
    def of(cls, model: JPQModel, flat: FlatFolder, config: TrainConfig) -> "Searches":
        """Make what the settings want for a model that is on its device already, and not trained yet."""
        on_device = model.device.type in _TORCH_DEVICES
        over_codes = TorchCodeSearch if on_device else FaissCodeSearch
        wants_static = config.negatives_from == "static"
        return cls(
            over_codes(model.centroids, model.codes) if model.centroids is not None else None,
            TorchFlatSearch(flat) if on_device else FaissFlatSearch(flat),
            over_codes(model.centroids.detach().clone(), model.codes) if wants_static else None,
        )


def take_negatives(found: Tensor, relevant: Sequence[Sequence[int]], count: int) -> Candidates:
    """Split what a search found into negatives and give the relevant documents their place (equation 20).

    Args:
        found: (B, ≥ count + P) int64 rows, best first, -1 for none, where P is the most relevant documents of a query.
        relevant: the relevant rows of each query; none at all when there are no judgements.
        count: n̂, negatives wanted.

    Returns:
        The candidates, on the device of ``found``.
    """
    width = max(map(len, relevant), default=0)
    padded = [[*rows, *[0] * (width - len(rows))] for rows in relevant]
    positives = torch.tensor(padded, dtype=torch.int64).view(len(found), width).to(found.device)
    lengths = torch.tensor([[len(rows)] for rows in relevant], device=found.device)
    positive_mask = torch.arange(width, device=found.device) < lengths
    is_relevant = ((found.unsqueeze(2) == positives.unsqueeze(1)) & positive_mask.unsqueeze(1)).any(2)
    usable = ~is_relevant & (found >= 0)
    order = (~usable).byte().argsort(dim=1, stable=True)[:, :count]  # usable ones first, still best first
    negative_mask = usable.gather(1, order)
    negatives = found.gather(1, order).where(negative_mask, 0)
    return Candidates(positives, positive_mask, negatives, negative_mask)


def _float_array(queries: Tensor) -> np.ndarray:
    return np.ascontiguousarray(queries.detach().float().cpu().numpy())
