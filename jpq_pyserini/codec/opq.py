"""OPQ: the rotation, centroids and codes that JPQ starts from (Ge et al. 2013; section 3.3 of the paper).

Faiss has an OPQ too. This one alternates *one* k-means step with one Procrustes solution, as the OPQ paper does, where
Faiss runs several of both on each round; at equal reconstruction error it is several times faster, and runs on a GPU.
"""

import numpy as np
import torch
from tqdm import tqdm

from jpq_pyserini.codec import codes as numpy_codes
from jpq_pyserini.errors import JPQError

_ELEMENTS = 1 << 25  # distances held at once, 128 MB


def train_opq(
    sample: np.ndarray,
    m: int,
    nbits: int,
    *,
    rotate: bool = True,
    iterations: int = 40,
    final_iterations: int = 10,
    seed: int = 0,
    device: str = "cpu",
    progress: bool = True,
) -> tuple[np.ndarray | None, np.ndarray]:
    """Minimise the reconstruction error of equation 9 over rotation and centroids.

    Args:
        sample: (n, D) float32 embeddings, n ≥ K.
        m: M, sub-vectors; divides D.
        nbits: bits a code, K = 2**nbits.
        rotate: False learns plain PQ, without a rotation.
        iterations: rounds of rotation, assignment and update.
        final_iterations: further k-means rounds with the rotation fixed.
        seed: of the initial centroids and of the rows that empty centroids are moved to.
        device: torch device.
        progress: show a bar.

    Returns:
        rotation (D, D) float32 or None, and centroids (M, K, D/M) float32.

    Raises:
        JPQError: M does not divide D, or n < K.
    """
    check_sizes(len(sample), sample.shape[1], m, nbits)
    generator = torch.Generator().manual_seed(seed)
    x = torch.from_numpy(np.ascontiguousarray(sample)).to(device)
    rotation = _balanced_pca(x, m) if rotate else None
    rotated = x if rotation is None else x @ rotation.T
    rows = torch.randperm(len(x), generator=generator)[: 1 << nbits].to(device)
    centroids = rotated[rows].view(1 << nbits, m, -1).transpose(0, 1).contiguous()
    rounds = (iterations if rotate else 0) + final_iterations
    for step in tqdm(range(rounds), desc="OPQ" if rotate else "PQ", disable=not progress, unit="round"):
        codes = assign(rotated, centroids)
        centroids = _update(rotated, codes, centroids, generator)
        if rotate and step < iterations:
            rotation = _procrustes(x, reconstruct(codes, centroids))
            rotated = x @ rotation.T
    return (None if rotation is None else rotation.cpu().numpy()), centroids.cpu().numpy()


def check_sizes(count: int, dimension: int, m: int, nbits: int) -> None:
    """Raise :class:`JPQError` unless M divides D, nbits is 4 or 8, and there are at least K documents."""
    if nbits not in (4, 8):
        raise JPQError(f"--nbits {nbits}: codes have 4 or 8 bits")
    if m < 1 or dimension % m:
        fitting = [d for d in range(1, dimension + 1) if dimension % d == 0 and dimension // d <= 64]
        raise JPQError(f"--m {m} does not divide the embedding dimension {dimension}: choose one of {fitting}")
    if count < 1 << nbits:
        remedy = "use --nbits 4 or more documents" if nbits == 8 and count >= 16 else "use more documents"
        raise JPQError(f"{count} documents are fewer than the {1 << nbits} centroids of --nbits {nbits}: {remedy}")


def assign(rotated: torch.Tensor, centroids: torch.Tensor) -> torch.Tensor:
    """Return the nearest centroids by L2: rotated (n, D), centroids (M, K, D/M) → codes (n, M) int64."""
    M, K, _ = centroids.shape
    if not rotated.is_cuda:  # Faiss's loop is several times faster than torch's argmax on a CPU
        return torch.from_numpy(numpy_codes.assign(rotated.numpy(), centroids.numpy())).long()
    half_norms = centroids.square().sum(-1).unsqueeze(1) * -0.5  # (M, 1, K)
    by_sub_vector = rotated.view(len(rotated), M, -1).transpose(0, 1)  # (M, n, D/M)
    rows = max(1, _ELEMENTS // (M * K))
    return torch.cat(
        [
            torch.baddbmm(half_norms, by_sub_vector[:, start : start + rows], centroids.transpose(1, 2)).argmax(-1).T
            for start in range(0, len(rotated), rows)
        ]
    )


def reconstruct(codes: torch.Tensor, centroids: torch.Tensor) -> torch.Tensor:
    """Concatenate the centroids that the codes pick (equation 8): (n, M) → (n, D), in rotated space."""
    M = len(centroids)
    return centroids[torch.arange(M, device=codes.device), codes].reshape(len(codes), -1)


def _update(rotated, codes, centroids, generator):
    """Move each centroid to the mean of its sub-vectors; an empty one to a random sub-vector."""
    M, K, sub_dimension = centroids.shape
    flat = (codes + torch.arange(M, device=codes.device) * K).reshape(-1)
    sums = torch.zeros(M * K, sub_dimension, device=codes.device)
    sums.index_add_(0, flat, rotated.reshape(-1, sub_dimension))
    counts = torch.bincount(flat, minlength=M * K)
    means = sums / counts.clamp(min=1).unsqueeze(1)
    empty = (counts == 0).nonzero().squeeze(1)
    if len(empty):
        rows = torch.randint(len(rotated), (len(empty),), generator=generator).to(codes.device)
        means[empty] = rotated[rows].view(len(empty), M, sub_dimension)[range(len(empty)), empty // K]
    return means.view(M, K, sub_dimension)


def _procrustes(x: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """The rotation R that minimises ‖x Rᵀ − target‖."""
    left, _, right = torch.linalg.svd(target.T @ x)
    return left @ right


def _balanced_pca(x: torch.Tensor, m: int) -> torch.Tensor:
    """Principal directions dealt out so that each sub-vector gets about the same product of variances.

    The parametric solution of OPQ (Ge et al. 2013, section 3.1): eigenvalues in falling order go to the sub-vector
    whose product is smallest so far and which still has room.
    """
    centred = x - x.mean(0)
    variances, directions = torch.linalg.eigh(centred.T @ centred / len(x))
    variances = variances.flip(0).clamp(min=1e-12).log().tolist()
    directions = directions.flip(1).T
    room = len(variances) // m
    buckets: list[list[int]] = [[] for _ in range(m)]
    products = [0.0] * m
    offset = min(variances)  # keeps the logarithms positive, so that a fuller bucket never looks smaller
    for index, value in enumerate(variances):
        bucket = min((b for b in range(m) if len(buckets[b]) < room), key=products.__getitem__)
        buckets[bucket].append(index)
        products[bucket] += value - offset
    return directions[[index for bucket in buckets for index in bucket]].contiguous()
