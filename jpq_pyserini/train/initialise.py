"""The start of JPQ: OPQ on a sample, then codes for every document, kept with the checkpoints."""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np

from jpq_pyserini.anisotropic import improve_centroids
from jpq_pyserini.codec import ProductQuantizer, assign
from jpq_pyserini.errors import JPQError
from jpq_pyserini.flat import FlatFolder
from jpq_pyserini.index.coding import code_flat
from jpq_pyserini.storage import new_directory
from jpq_pyserini.train.config import TrainConfig
from jpq_pyserini.train.opq import train_opq

_CODEC, _CODES = "codec.safetensors", "codes.npy"
_ANISOTROPIC_ROUNDS = 4


def initialise(
    flat: FlatFolder,
    config: TrainConfig,
    device: str,
    progress: bool = True,
    phase: Callable[[str], AbstractContextManager] = nullcontext,
) -> tuple[ProductQuantizer, np.ndarray]:
    """Learn rotation and centroids from a sample, then code every document.

    Returns:
        The codec and the codes (N, M) uint8. Memory: the sample, one chunk of embeddings, and the codes.

    Raises:
        JPQError: an embedding is not finite.
    """
    with phase("opq"):
        sample = flat.sample(config.opq_sample, config.seed)
        if len(sample) < 1 << config.nbits:
            raise JPQError(f"--opq-sample {config.opq_sample} is less than the {1 << config.nbits} centroids: raise it")
        if not np.isfinite(sample).all():
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
        if config.anisotropy:
            centroids = _anisotropic(sample, rotation, centroids, config.anisotropy)
        codec = ProductQuantizer(centroids, centroids, rotation, config.anisotropy)
    with phase("code"):
        return codec, code_flat(flat, codec, progress)


def _anisotropic(sample: np.ndarray, rotation, centroids: np.ndarray, weight: float) -> np.ndarray:
    """Move OPQ's centroids to where the codes of the sample cost least when errors along a document weigh more."""
    rotated = sample if rotation is None else sample @ rotation.T
    nearest = assign(rotated, centroids)
    return improve_centroids(rotated, nearest, centroids, weight, _ANISOTROPIC_ROUNDS)[1]


def save_start(folder: str | os.PathLike, codec: ProductQuantizer, codes: np.ndarray) -> None:
    """Keep the start of a run, so that a resumed one goes on from the very same codes."""
    with new_directory(folder) as partial:
        codec.save(partial / _CODEC)
        np.save(partial / _CODES, codes, allow_pickle=False)


def load_start(folder: str | os.PathLike) -> tuple[ProductQuantizer, np.ndarray] | None:
    """Return what :func:`save_start` kept; None when there is nothing."""
    folder = Path(folder)
    if not folder.is_dir():
        return None
    return ProductQuantizer.load(folder / _CODEC), np.load(folder / _CODES, allow_pickle=False)
