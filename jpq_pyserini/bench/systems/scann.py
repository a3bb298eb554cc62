"""ScaNN: product quantization with an anisotropic loss, 4 bits a code; alone, and behind the rotation of OPQ.

Sizes count its codes as they lie in memory; the files it writes have a byte for each. Its own second stage re-orders
the best by int8 vectors, which it keeps in memory too: D bytes a document more.
"""

import numpy as np

from jpq_pyserini.bench.systems._base import Data, Searcher, System
from jpq_pyserini.bench.systems._faiss import TRAINING_ROWS, opq
from jpq_pyserini.errors import JPQError

_REORDERED = 200  # candidates of its second stage


class _Scann(Searcher):
    def __init__(self, data: Data, rotation=None, reordered: bool = False):
        import scann

        if (2 * data.bytes) > data.dimension or data.dimension % (2 * data.bytes):
            raise JPQError(f"2·{data.bytes} blocks do not divide dimension {data.dimension}: choose --bytes that do")
        self._rotation, self._threads, self._count = rotation, 1, data.count
        vectors = self._rotated(np.ascontiguousarray(data.embeddings()))
        builder = scann.scann_ops_pybind.builder(vectors, 100, "dot_product")
        builder = builder.score_ah(data.dimension // (2 * data.bytes), anisotropic_quantization_threshold=0.2)
        if reordered:
            builder = builder.reorder(_REORDERED, quantize=True)
        self._searcher, self._reordered = builder.build(), reordered
        self.bytes = (data.dimension if reordered else 0) * data.count  # int8
        self.bytes += data.count * data.bytes + 4 * 16 * data.dimension  # 16 centroids a block
        if rotation is not None:
            self.bytes += 4 * data.dimension**2

    def search(self, queries, k):
        queries, wanted = self._rotated(queries), min(k, self._count)  # beyond the collection it finds row 0
        numbers = {"final_num_neighbors": wanted}
        if self._reordered:
            numbers["pre_reorder_num_neighbors"] = max(wanted, min(_REORDERED, self._count))
        if len(queries) == 1:
            rows, scores = (each[None] for each in self._searcher.search(queries[0], **numbers))
        else:
            run = self._searcher.search_batched if self._threads == 1 else self._searcher.search_batched_parallel
            rows, scores = run(queries, **numbers)
        return self._full(scores, rows, k)

    def threads(self, count):
        self._threads = count
        self._searcher.set_num_threads(count)

    def _rotated(self, vectors: np.ndarray) -> np.ndarray:
        return vectors if self._rotation is None else self._rotation.apply(vectors)

    @staticmethod
    def _full(scores: np.ndarray, rows: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        more = ((0, 0), (0, k - rows.shape[1]))
        rows = np.pad(rows.astype(np.int64), more, constant_values=-1)
        return np.pad(scores, more, constant_values=np.finfo(np.float32).min), rows


def _opq_scann(data: Data) -> _Scann:
    rotation, seconds = opq(data)
    searcher = _Scann(data, rotation)
    searcher.earlier_seconds = seconds
    return searcher


def _reordered_scann(data: Data) -> _Scann:
    return _Scann(data, reordered=True)


def _shape(data: Data) -> str:
    return f"{2 * data.bytes}x4"


SYSTEMS = tuple(
    System(name, title, "compressed", build, module="scann", parameters=_shape, copies=2, trained_on=trained_on)
    for name, title, build, trained_on in (
        ("scann", "ScaNN", _Scann, 100_000),  # its own default
        ("scann-reordered", "ScaNN, re-ordered by int8", _reordered_scann, 100_000),
        ("opq-scann", "OPQ+ScaNN", _opq_scann, TRAINING_ROWS),
    )
)
