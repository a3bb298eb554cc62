"""Negatives that no search of the training finds: drawn at random, or the hits of a run (Rand Neg, BM25 Neg)."""

import logging
import os
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from jpq_pyserini.data.run_hits import best_irrelevant
from jpq_pyserini.data.topics import TrainingQuery
from jpq_pyserini.errors import JPQError
from jpq_pyserini.train.config import TrainConfig

logger = logging.getLogger(__name__)

_DRAW = 1  # ends the seed of a draw, so that it is not the seed of another one, which are shorter


class GivenNegatives(Protocol):
    """What both kinds do."""

    def find(self, step: int, positions: Sequence[int]) -> Tensor:
        """Return rows (B, n) int64 on the CPU for the training queries at ``positions``, -1 for none.

        They depend on the step and the query alone, so that a resumed run, and two processes with half of a batch each,
        have the same.
        """


class RandomNegatives:
    """Documents drawn uniformly from the collection, none twice, anew at every step.

    Args:
        training: the queries; a draw has as many documents more as a query has relevant ones, which may be among them.
        documents: N.
        count: n̂, negatives wanted.
        seed: of the run.
    """

    def __init__(self, training: Sequence[TrainingQuery], documents: int, count: int, seed: int):
        self._training, self._documents, self._count, self._seed = training, documents, count, seed

    def find(self, step: int, positions: Sequence[int]) -> Tensor:
        """As :class:`GivenNegatives`, in random order."""
        draws = [self._draw(step, position) for position in positions]
        found = np.full((len(draws), max(map(len, draws))), -1, np.int64)
        for rows, draw in zip(found, draws, strict=True):
            rows[: len(draw)] = draw
        return torch.from_numpy(found)

    def _draw(self, step: int, position: int) -> np.ndarray:
        size = min(self._count + len(self._training[position].rows), self._documents)
        generator = np.random.default_rng([self._seed, step, position, _DRAW])
        return generator.choice(self._documents, size, replace=False)


class RunNegatives:
    """The same documents for a query at every step.

    Args:
        table: (Q, n) int32 rows, -1 for none, as :func:`~jpq_pyserini.data.run_hits.best_irrelevant` returns them.
    """

    def __init__(self, table: np.ndarray):
        self._table = table

    def find(self, step: int, positions: Sequence[int]) -> Tensor:
        """As :class:`GivenNegatives`, best first."""
        return torch.from_numpy(self._table[list(positions)].astype(np.int64))


def check_flags(config: TrainConfig, negatives_run: str | os.PathLike | None) -> None:
    """Raise :class:`JPQError` if a run is missing, or given where none is read."""
    if config.negatives_from == "run" and negatives_run is None:
        raise JPQError("--negatives-from run: give the run of the training topics, say BM25's, as --negatives-run")
    if config.negatives_from != "run" and negatives_run is not None:
        raise JPQError(
            f"--negatives-run {negatives_run} is not read with --negatives-from {config.negatives_from}: "
            "add --negatives-from run, or leave it out"
        )


def given_negatives(
    config: TrainConfig,
    training: Sequence[TrainingQuery],
    negatives_run: str | os.PathLike | None,
    rows: Mapping[str, int],
    progress: bool = True,
) -> tuple[Sequence[TrainingQuery], GivenNegatives | None]:
    """Make what ``--negatives-from`` says, None if negatives are searched.

    Returns:
        the training queries, without those for which the run has no negatives, and their negatives.

    Raises:
        JPQError: a bad run, see :func:`~jpq_pyserini.data.run_hits.best_irrelevant`; one that has negatives for none.
    """
    if config.negatives_from == "random":
        return training, RandomNegatives(training, len(rows), config.negatives, config.seed)
    if config.negatives_from != "run" or not training:
        return training, None
    table = best_irrelevant(negatives_run, training, rows, config.negatives, progress)
    kept = np.flatnonzero(table[:, 0] >= 0)
    left_out = len(training) - len(kept)
    if not len(kept):
        raise JPQError(f"--negatives-run {negatives_run}: all its hits are relevant: give one with more hits")
    if left_out:
        logger.warning(
            "%s: %d of %d training queries have no irrelevant hit, left out", negatives_run, left_out, len(training)
        )
        training, table = [training[position] for position in kept], table[kept]
    return training, RunNegatives(table)
