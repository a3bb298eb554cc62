"""The start of JPQ: OPQ on a sample, then codes for every document, kept with the checkpoints."""

import math
import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np

from jpq_pyserini.codec.assignment import ScoreAware
from jpq_pyserini.codec.codes import assign
from jpq_pyserini.codec.neighbours import Neighbourhood
from jpq_pyserini.codec.opq import train_opq
from jpq_pyserini.codec.quantizer import ProductQuantizer
from jpq_pyserini.codec.score_aware import improve_centroids, mean_shrinkage
from jpq_pyserini.data.flat import Embeddings, unusable_row
from jpq_pyserini.errors import JPQError, reason_of
from jpq_pyserini.index.coding import code_flat
from jpq_pyserini.storage import new_directory, replacement
from jpq_pyserini.train.config import TrainConfig

_CODEC, _CODES = "codec.safetensors", "codes.npy"
_ANEW = "remove the .checkpoint folder that it is in and train again"
_SCORE_AWARE_ROUNDS = 4
_ELEMENTS = 1 << 26  # floats of directions towards neighbours held at once: 268 MB, and 2.6 times as much to work
_LEAST = 32  # documents a centroid, however many directions these make


def initialise(
    flat: Embeddings,
    config: TrainConfig,
    device: str,
    progress: bool = True,
    phase: Callable[[str], AbstractContextManager] = nullcontext,
    kept: Path | None = None,
) -> tuple[ProductQuantizer, np.ndarray]:
    """Learn rotation and centroids from a sample, then code every document.

    Args:
        flat, config: the collection and the settings.
        device: where OPQ is learnt; codes are chosen on the CPU.
        progress: show bars.
        phase: a context manager by the name of what goes on.
        kept: folder of what is done, from which a stopped run continues; None keeps nothing.

    Returns:
        The codec and the codes (N, M) uint8. Memory: the sample, one chunk of embeddings, and the codes; with
        neighbours also directions towards those of the sample, and what :class:`Neighbourhood` holds.

    Raises:
        JPQError: an embedding is not finite.
    """
    learnt, among = None if kept is None else kept / _CODEC, None
    if learnt is not None and learnt.is_file():
        codec = ProductQuantizer.load(learnt)
    else:
        codec, among = _learn(flat, config, device, progress, phase)
        if kept is not None:
            with replacement(kept) as partial:
                codec.save(partial / _CODEC)
    with phase("code"):
        return codec, code_flat(flat, codec, progress, kept, among)


def _learn(flat, config, device, progress, phase) -> tuple[ProductQuantizer, Neighbourhood | None]:
    with phase("opq"):
        sample = flat.sample(config.opq_sample, config.seed)
        if len(sample) < 1 << config.nbits:
            raise JPQError(f"--opq-sample {config.opq_sample} is less than the {1 << config.nbits} centroids: raise it")
        if unusable_row(sample) is not None:
            flat.check_finite()
        rotation, centroids = train_opq(
            sample,
            config.m,
            config.nbits,
            rotate=config.opq,
            iterations=config.opq_iterations,
            seed=config.seed,
            device=device,
            progress=progress,
        )
        among = Neighbourhood(flat.embeddings, config.neighbours, progress) if config.neighbours else None
        return _score_aware(sample, ProductQuantizer(centroids, centroids, rotation), config, among), among


def _score_aware(
    sample: np.ndarray, codec: ProductQuantizer, config: TrainConfig, among: Neighbourhood | None
) -> ProductQuantizer:
    """Move OPQ's centroids to where the codes of the sample cost least by the costs that the settings name."""
    weight, neighbours = config.effective_score_aware, config.neighbours
    if not (weight or neighbours):
        return codec
    shrinkage, across = 0.0, None
    if among is not None:
        each = math.ceil(sample.size * neighbours / _ELEMENTS)
        sample = sample[:: min(each, max(1, len(sample) // (_LEAST * codec.k)))]
        across = codec.rotate_directions(among.across(sample))
    rotated, centroids = codec.rotate(sample), codec.assignment_centroids
    nearest = assign(rotated, centroids)
    if neighbours:
        shrinkage = mean_shrinkage(rotated, nearest, centroids)
    moved = improve_centroids(rotated, nearest, centroids, weight, _SCORE_AWARE_ROUNDS, shrinkage, across)[1]
    return ProductQuantizer(moved, moved, codec.rotation, ScoreAware(weight, shrinkage, neighbours))


def save_start(folder: str | os.PathLike, codec: ProductQuantizer, codes: np.ndarray) -> None:
    """Keep the start of a run, so that a resumed one continues from the very same codes."""
    with new_directory(folder) as partial:
        codec.save(partial / _CODEC)
        np.save(partial / _CODES, codes, allow_pickle=False)


def load_start(folder: str | os.PathLike, count: int) -> tuple[ProductQuantizer, np.ndarray] | None:
    """Return what :func:`save_start` kept of ``count`` documents; None when there is nothing."""
    folder = Path(folder)
    if not folder.is_dir():
        return None
    codec = ProductQuantizer.load(folder / _CODEC)
    try:
        codes = np.load(folder / _CODES, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise JPQError(f"{folder / _CODES} is damaged ({reason_of(error)}): {_ANEW}") from None
    if codes.dtype != np.uint8 or codes.shape != (count, codec.m) or codes.max(initial=0) >= 1 << codec.nbits:
        raise JPQError(f"{folder / _CODES} is damaged ({codes.dtype} of shape {codes.shape}): {_ANEW}")
    return codec, codes
