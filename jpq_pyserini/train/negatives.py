"""Negatives of a training step: searched with the current weights, drawn at random, or taken from a run."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from jpq_pyserini.data.flat import Embeddings
from jpq_pyserini.data.topics import TrainingQuery
from jpq_pyserini.train.config import TrainConfig
from jpq_pyserini.train.model import JPQModel
from jpq_pyserini.train.search import Search, code_search, flat_search

# Last element of the seed sequence of a draw: [seed, step, position, 1] never equals [seed, epoch] of the batch order.
_DRAW = 1


class Negatives(Protocol):
    """Where the candidate documents of a step come from."""

    def find(self, step: int, positions: Sequence[int], queries: Tensor, teacher: Tensor | None) -> Tensor:
        """Return candidate rows (B, n) int64, -1 for none, on the device of the queries; some may be relevant.

        Args:
            step: number of the step, from 0.
            positions: of the B training queries.
            queries: (B, D) their unrotated embeddings by the trained encoder, without gradients.
            teacher: (B, D) the same by the untouched encoder; None if the settings need none.
        """


class SearchedNegatives:
    """The top documents of a search of the whole collection (section 3.4).

    Args:
        search: finds them.
        training: the training queries; a search returns as many documents more as a query has relevant ones.
        documents: N.
        count: n̂, negatives wanted.
        by_teacher: search with the embeddings of the untouched encoder, which gives static negatives.
    """

    def __init__(
        self, search: Search, training: Sequence[TrainingQuery], documents: int, count: int, by_teacher: bool = False
    ):
        self._search, self._training, self._by_teacher = search, training, by_teacher
        self._documents, self._count = documents, count

    def find(self, step: int, positions: Sequence[int], queries: Tensor, teacher: Tensor | None) -> Tensor:
        """See :class:`Negatives`; best first."""
        hits = self._count + max(len(self._training[position].rows) for position in positions)
        return self._search.search(teacher if self._by_teacher else queries, min(hits, self._documents))


class RandomNegatives:
    """Documents drawn uniformly from the collection without replacement, others at every step.

    A draw depends on the seed, the step and the query alone, so that a resumed run, and two processes with half of a
    batch each, have the same.

    Args:
        training: the queries; a draw has as many documents more as a query has relevant ones, which may be among them.
        documents: N.
        count: n̂, negatives wanted.
        seed: of the run.
    """

    def __init__(self, training: Sequence[TrainingQuery], documents: int, count: int, seed: int):
        self._training, self._documents, self._count, self._seed = training, documents, count, seed

    def find(self, step: int, positions: Sequence[int], queries: Tensor, teacher: Tensor | None) -> Tensor:
        """See :class:`Negatives`; in random order."""
        draws = [self._draw(step, position) for position in positions]
        found = np.full((len(draws), max(map(len, draws))), -1, np.int64)
        for rows, draw in zip(found, draws, strict=True):
            rows[: len(draw)] = draw
        return torch.from_numpy(found).to(queries.device)

    def _draw(self, step: int, position: int) -> np.ndarray:
        size = min(self._count + len(self._training[position].rows), self._documents)
        generator = np.random.default_rng([self._seed, step, position, _DRAW])
        return generator.choice(self._documents, size, replace=False)


class RunNegatives:
    """The top irrelevant documents of a run, the same at every step.

    Args:
        table: (Q, n) int32 rows, -1 for none, of :func:`~jpq_pyserini.train.run_negatives.negatives_of_run`.
    """

    def __init__(self, table: np.ndarray):
        self._table = table

    def find(self, step: int, positions: Sequence[int], queries: Tensor, teacher: Tensor | None) -> Tensor:
        """See :class:`Negatives`; best first."""
        return torch.from_numpy(self._table[list(positions)].astype(np.int64)).to(queries.device)


def make_negatives(
    config: TrainConfig,
    model: JPQModel,
    flat: Embeddings,
    search: Search,
    training: Sequence[TrainingQuery],
    table: np.ndarray | None = None,
) -> Negatives:
    """Make what ``--negatives-from`` names.

    Args:
        config, model, flat, training: of the run; the model is on its device and not trained yet.
        search: of the index that is trained (:func:`~jpq_pyserini.train.search.index_search`).
        table: what :func:`~jpq_pyserini.train.run_negatives.negatives_of_run` returned, for ``--negatives-from run``.
    """
    documents = len(flat.docids)
    if config.negatives_from == "random":
        return RandomNegatives(training, documents, config.negatives, config.seed)
    if config.negatives_from == "run":
        assert table is not None
        return RunNegatives(table)
    static = config.negatives_from == "static"
    if static and model.centroids is not None:
        search = code_search(model, model.centroids.detach().clone())
    elif config.negatives_from == "flat":
        search = flat_search(model, flat)
    return SearchedNegatives(search, training, documents, config.negatives, by_teacher=static)


@dataclass(frozen=True)
class Batch:
    """The documents of a batch of B queries, padded: relevant ones first, then negatives; padding has row 0.

    Attributes:
        rows: (B, P + n) int64.
        positive_mask: (B, P) bool, False for padding; ``negative_mask`` (B, n) alike.
        documents: (n,) rows, in ascending order, where all queries share their negatives; else None.
    """

    rows: Tensor
    positive_mask: Tensor
    negative_mask: Tensor
    documents: Tensor | None = None

    @property
    def negatives(self) -> Tensor:
        """Rows (B, n) of the negatives, in the order in which they were found."""
        return self.rows[:, self.positive_mask.shape[1] :]

    @property
    def mask(self) -> Tensor:
        """(B, P + n) bool, False for padding."""
        return torch.cat([self.positive_mask, self.negative_mask], 1)

    def shared(self) -> "Batch":
        """Let each query have the documents of all queries as negatives, without those that are relevant for it."""
        documents = self.rows[self.mask].unique()
        positives = self.split(self.rows)[0]
        relevant = ((documents.view(1, -1, 1) == positives.unsqueeze(1)) & self.positive_mask.unsqueeze(1)).any(2)
        rows = torch.cat([positives, documents.expand(len(positives), -1)], 1)
        return Batch(rows, self.positive_mask, ~relevant, documents)

    def score(self, function: Callable[[Tensor], Tensor]) -> Tensor:
        """Return (B, P + n) scores by ``function`` of rows, (B, n) or (n,), that gives (B, n): once for a document."""
        if self.documents is None:
            return function(self.rows)
        scores = function(self.documents)
        positions = torch.searchsorted(self.documents, self.split(self.rows)[0].contiguous())  # padding has the first
        return torch.cat([scores.gather(1, positions), scores], 1)

    def split(self, scores: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Split (B, P + n) scores into those of positives and negatives, followed by their masks."""
        width = self.positive_mask.shape[1]
        return scores[:, :width], scores[:, width:], self.positive_mask, self.negative_mask


def split_negatives(found: Tensor, relevant: Sequence[Sequence[int]], count: int) -> Batch:
    """Take the irrelevant documents among those found as negatives, after the relevant ones (equation 20).

    Args:
        found: (B, ≥ count + P) int64 rows, best first, -1 for none, where P is the most relevant documents of a query.
        relevant: the relevant rows of each query; none at all when there are no judgements.
        count: n̂, negatives wanted.

    Returns:
        The batch, on the device of ``found``.
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
    return Batch(torch.cat([positives, negatives], 1), positive_mask, negative_mask)
