"""Codes and centroids that keep inner products rather than embeddings: the score-aware loss of Guo et al. (ICML 2020).

A query that finds a document points much the same way as the document, so an error along the document's own direction
shifts the document's score for every query that matters, while an error across it averages out. With residual r and
unit document u, a code costs

    ‖r‖² + h·(u·r)²,

where h = 0 is plain PQ (equation 9). The second term ties the M sub-vectors together, so codes are found by coordinate
descent: one sub-vector after the other takes its best centroid, the others held, until nothing changes.

Of the error along the document a share β of its norm that all documents have alike changes no ranking. With β > 0 the
second term is h·(u·r − β‖d‖)².
"""

import numpy as np

from jpq_pyserini.codec.neighbours import AcrossTerms

_ROWS = 1024  # embeddings coded at once: what is computed for one sub-vector then stays in the cache
_MOST_PASSES = 10
_TINY = 1e-12


def improve_codes(
    rotated: np.ndarray,
    codes: np.ndarray,
    centroids: np.ndarray,
    weight: float,
    shrinkage: float = 0.0,
    across: np.ndarray | None = None,
) -> np.ndarray:
    """Return codes of no higher cost than the given ones.

    Args:
        rotated: (N, D) float32 embeddings in the space of the sub-vectors.
        codes: (N, M) uint8 to start from: the nearest centroids.
        centroids: (M, K, D/M) float32.
        weight: h ≥ 0, what an error along the document costs more than one across it.
        shrinkage: β.
        across: (N, J, D) float32, directions in which errors cost too (:mod:`jpq_pyserini.codec.neighbours`), rotated.

    Returns:
        (N, M) uint8.
    """
    improved = codes.copy()
    for start in range(0, len(rotated), _ROWS):
        rows = slice(start, start + _ROWS)
        theirs = None if across is None else across[rows]
        part = _Part(rotated[rows], improved[rows], centroids, weight, shrinkage, theirs)
        for _ in range(_MOST_PASSES):
            if not sum(part.choose(i, centroids[i]) for i in range(len(centroids))):
                break
    return improved


def improve_centroids(
    rotated: np.ndarray,
    codes: np.ndarray,
    centroids: np.ndarray,
    weight: float,
    rounds: int,
    shrinkage: float = 0.0,
    across: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Alternate codes and centroids, sub-vector by sub-vector, each step the exact minimum with all else held.

    Args:
        rotated, codes, centroids, weight, shrinkage, across: as in :func:`improve_codes`.
        rounds: passes over all sub-vectors.

    Returns:
        codes (N, M) uint8 and centroids (M, K, D/M) float32; the cost is never above that of the arguments.
    """
    codes, centroids = codes.copy(), centroids.copy()
    whole = _Part(rotated, codes, centroids, weight, shrinkage, across)
    for _ in range(rounds):
        for i in range(len(centroids)):
            whole.choose(i, centroids[i])
            whole.move(i, centroids[i])
    return codes, centroids


def mean_shrinkage(rotated: np.ndarray, codes: np.ndarray, centroids: np.ndarray) -> float:
    """Return β of given codes: the mean over the (N, D) documents of u·r as a share of their norm."""
    whole = _Part(rotated, codes, centroids, 0.0)
    return float((whole.total / whole.norms).mean())


class _Part:
    """Some documents, their codes, and how far each sub-vector's error reaches along the document.

    Codes are changed in place.
    """

    def __init__(self, rotated, codes, centroids, weight, shrinkage=0.0, across=None):
        M, _, d = centroids.shape
        self.codes, self.weight = codes, weight
        self.y = np.ascontiguousarray(rotated.reshape(-1, M, d).transpose(1, 0, 2))  # (M, n, d)
        self.norms = np.maximum(np.linalg.norm(rotated, axis=1), _TINY)  # (n,)
        self.along = np.stack([self._along(i, centroids[i]) for i in range(M)])  # (M, n): u_i · r_i
        self.total = self.along.sum(0)  # (n,): u · r − β‖d‖
        if shrinkage:
            self.total -= shrinkage * self.norms
        self.across = None if across is None else AcrossTerms(across, self.y, codes, centroids)

    def choose(self, i: int, centroids: np.ndarray) -> int:
        """Give each document its best code for sub-vector i, centroids (K, d); returns how many changed."""
        changed = 0
        squares = np.square(centroids).sum(1)
        for start in range(0, len(self.norms), _ROWS):
            rows = slice(start, start + _ROWS)
            y, norms = self.y[i, rows], self.norms[rows]
            others = self.total[rows] - self.along[i, rows]
            # with g = y·c the cost of c is ‖c‖² − 2g + h·(others + (‖y‖² − g)/norm)², less what is alike for every c
            reach = others + np.square(y).sum(1) / norms
            products = y @ centroids.T  # (n, K)
            costs = products * (self.weight / np.square(norms))[:, None]
            costs -= (2 + 2 * self.weight * reach / norms)[:, None]
            costs *= products
            costs += squares
            if self.across is not None:
                costs += self.across.costs(i, rows, centroids)
            best = costs.argmin(1)
            changed += int((best != self.codes[rows, i]).sum())
            self.codes[rows, i] = best
        self._update(i, centroids)
        return changed

    def move(self, i: int, centroids: np.ndarray) -> None:
        """Move each centroid (K, d) of sub-vector i, in place, to where its documents cost least: K systems of d."""
        order = np.argsort(self.codes[:, i], kind="stable")
        bounds = np.searchsorted(self.codes[order, i], np.arange(len(centroids) + 1))
        u = self.y[i] / self.norms[:, None]
        reach = self.total - self.along[i] + (u * self.y[i]).sum(1)
        for k in range(len(centroids)):
            members = order[bounds[k] : bounds[k + 1]]
            if len(members):
                u_k = u[members]
                system = len(members) * np.eye(u.shape[1]) + self.weight * (u_k.T @ u_k)
                target = self.y[i, members].sum(0) + self.weight * (reach[members] @ u_k)
                if self.across is not None:
                    more, further = self.across.system(i, members)
                    system, target = system + more, target + further
                centroids[k] = np.linalg.solve(system, target)
        self._update(i, centroids)

    def _update(self, i: int, centroids: np.ndarray) -> None:
        along = self._along(i, centroids)
        self.total += along - self.along[i]
        self.along[i] = along
        if self.across is not None:
            self.across.update(i, centroids[self.codes[:, i]])

    def _along(self, i: int, centroids: np.ndarray) -> np.ndarray:
        residual = self.y[i] - centroids[self.codes[:, i]]
        return (residual * self.y[i]).sum(1) / self.norms
