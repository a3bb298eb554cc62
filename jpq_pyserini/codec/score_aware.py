"""Codes and centroids that keep inner products rather than embeddings: the score-aware loss of Guo et al. (ICML 2020).

A query that finds a document points much the same way as the document, so an error along the document's own direction
shifts the document's score for every query that matters, while an error across it averages out. With residual r and
unit document u, a code costs

    ‖r‖² + h·(u·r)²,

where h = 0 is plain PQ (equation 9). Of the error along the document a share β of its norm that all documents have
alike changes no ranking. With β > 0 the second term is h·(u·r − β‖d‖)². More directions in which errors cost may be
given, such as those of :mod:`jpq_pyserini.codec.neighbours`. With v_1 = √h·u and the others v_2, v_3, … a code costs

    ‖r‖² + Σ_j t_j²,   t_1 = v_1·r − √h·β‖d‖,   t_j = v_j·r for j > 1.

The terms tie the M sub-vectors together, so codes are found by coordinate descent: one sub-vector after the other takes
its best centroid, the others held, until nothing changes. With y, v_j and c the parts that belong to one sub-vector,
its code now c', and t_j as they are now, centroid c costs, less what is alike for every c,

    ‖c‖² + Σ_j (v_j·c)² − 2 (y + Σ_j (t_j + v_j·c')·v_j)·c.

The squares do not depend on the other sub-vectors and are computed once; documents that a pass did not change are done.
"""

import numpy as np

_ROWS = 512  # embeddings coded at once: what is computed for one sub-vector then stays in the cache
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
        rows = np.arange(start, min(start + _ROWS, len(rotated)))
        part = _Part(rotated[rows], codes[rows], centroids, weight, shrinkage, None if across is None else across[rows])
        squares = [part.squares(i, each) for i, each in enumerate(centroids)]
        for _ in range(_MOST_PASSES):
            before = part.codes.copy()
            for i, each in enumerate(centroids):
                part.choose(i, each, squares[i])
            improved[rows] = part.codes
            changed = np.flatnonzero((part.codes != before).any(1))
            if not len(changed):
                break
            if len(changed) < 0.8 * len(rows):  # else copying them costs more
                rows, part, squares = rows[changed], part.of(changed), [each[changed] for each in squares]
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
    centroids = centroids.copy()
    whole = _Part(rotated, codes, centroids, weight, shrinkage, across)
    for _ in range(rounds):
        for i in range(len(centroids)):
            whole.choose(i, centroids[i])
            whole.move(i, centroids[i])
    return whole.codes, centroids


def mean_shrinkage(rotated: np.ndarray, codes: np.ndarray, centroids: np.ndarray) -> float:
    """Return β of given codes: the mean over the (N, D) documents of u·r as a share of their norm."""
    squares = np.maximum(np.square(rotated).sum(1), _TINY**2)
    rebuilt = centroids[np.arange(len(centroids)), codes].reshape(rotated.shape)
    return float((((rotated - rebuilt) * rotated).sum(1) / squares).mean())


class _Part:
    """Some documents, the directions in which their errors cost, and their codes (n, M), which are changed.

    Documents come last in the arrays, so that what is short, J and D/M, is not looped over document by document.
    """

    def __init__(self, rotated, codes, centroids, weight, shrinkage=0.0, across=None):
        M, _, d = centroids.shape
        n = len(rotated)
        norms = np.maximum(np.linalg.norm(rotated, axis=1, keepdims=True), _TINY)
        directions = (np.sqrt(weight, dtype=np.float32) * rotated / norms)[:, None]
        if across is not None:
            directions = np.concatenate([directions, across], axis=1)
        self.codes = codes.copy()
        self.y = np.ascontiguousarray(rotated.reshape(n, M, d).transpose(1, 2, 0))  # (M, d, n)
        self.v = np.ascontiguousarray(directions.reshape(n, -1, M, d).transpose(2, 1, 3, 0))  # (M, J, d, n)
        self.coded = np.stack([_dot(self.v[i], each[codes[:, i]].T) for i, each in enumerate(centroids)])  # v_j·c'
        self.t = (directions @ rotated[:, :, None])[:, :, 0].T - self.coded.sum(0)  # (J, n)
        self.t[0] -= np.sqrt(weight) * shrinkage * norms[:, 0]

    def of(self, rows: np.ndarray) -> "_Part":
        """Return the part of some of the documents."""
        part = _Part.__new__(_Part)
        part.codes = self.codes[rows]
        part.y, part.v, part.coded, part.t = (each[..., rows] for each in (self.y, self.v, self.coded, self.t))
        return part

    def squares(self, i: int, centroids: np.ndarray, rows: slice = slice(None)) -> np.ndarray:
        """Return ‖c‖² + Σ_j (v_j·c)², (n, K), of the centroids (K, d) of sub-vector i."""
        v = self.v[i][..., rows]
        J, d, n = v.shape
        if d + 1 > 2 * J:
            found = np.square(v.transpose(2, 0, 1).reshape(n * J, d) @ centroids.T).reshape(n, J, -1).sum(1)
        else:  # cᵀ(Σ_j v_j v_jᵀ)c, of a symmetric matrix
            a, b = np.triu_indices(d)
            pairs = centroids[:, a] * centroids[:, b] * np.where(a == b, 1, 2).astype(np.float32)
            found = (v[:, a] * v[:, b]).sum(0).T @ pairs.T
        return found + np.square(centroids).sum(1)

    def choose(self, i: int, centroids: np.ndarray, squares: np.ndarray | None = None) -> None:
        """Give each document its best code for sub-vector i, centroids (K, d) with their :meth:`squares`."""
        pull = self._pull(i)
        for start in range(0, len(self.codes), _ROWS):
            rows = slice(start, start + _ROWS)
            costs = pull[:, rows].T @ (-2 * centroids.T)
            costs += self.squares(i, centroids, rows) if squares is None else squares[rows]
            self.codes[rows, i] = costs.argmin(1)
        self._moved(i, centroids)

    def move(self, i: int, centroids: np.ndarray) -> None:
        """Move each centroid (K, d) of sub-vector i, in place, to where its documents cost least: K systems of d."""
        order = np.argsort(self.codes[:, i], kind="stable")
        bounds = np.searchsorted(self.codes[order, i], np.arange(len(centroids) + 1))
        pull = self._pull(i)
        for k in range(len(centroids)):
            members = order[bounds[k] : bounds[k + 1]]
            if len(members):
                v = self.v[i][..., members].transpose(0, 2, 1).reshape(-1, centroids.shape[1])
                system = len(members) * np.eye(centroids.shape[1]) + v.T @ v
                centroids[k] = np.linalg.solve(system, pull[:, members].sum(1))
        self._moved(i, centroids)

    def _pull(self, i: int) -> np.ndarray:
        """Return y + Σ_j (t_j + v_j·c')·v_j: (d, n)."""
        return self.y[i] + np.einsum("jdn,jn->dn", self.v[i], self.t + self.coded[i])

    def _moved(self, i: int, centroids: np.ndarray) -> None:
        coded = _dot(self.v[i], centroids[self.codes[:, i]].T)
        self.t += self.coded[i] - coded
        self.coded[i] = coded


def _dot(v: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return the inner products (J, n) of directions (J, d, n) with vectors (d, n)."""
    return np.einsum("jdn,dn->jn", v, x)
