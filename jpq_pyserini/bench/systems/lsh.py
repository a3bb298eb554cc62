"""LSH and ITQ+LSH of Faiss: one bit a dimension of a random rotation, or of one learnt by iterative quantization.

Queries are bits as well, and documents are ranked by Hamming distance: scores are whole numbers, and tie.
"""

from functools import partial

from jpq_pyserini.bench.systems._base import Data, System
from jpq_pyserini.bench.systems._faiss import TRAINING_ROWS, FaissSearcher, built
from jpq_pyserini.errors import JPQError
from jpq_pyserini.lazy import Later

faiss = Later("faiss")


class _Hamming(FaissSearcher):
    def search(self, queries, k):
        distances, rows = super().search(queries, k)
        return -distances, rows


def _lsh(learnt: bool, data: Data):
    bits = 8 * data.bytes
    if learnt and bits > data.dimension:
        raise JPQError(f"{data.bytes} bytes are {bits} bits, more than dimension {data.dimension}: lower --bytes")
    return _Hamming(built(f"ITQ{bits},LSHt" if learnt else f"LSH{bits}r", data, faiss.METRIC_L2))


SYSTEMS = tuple(
    System(
        name,
        title,
        "compressed",
        partial(_lsh, learnt),
        parameters=lambda data: f"{8 * data.bytes} bits",
        trained_on=trained_on,
    )
    for name, title, learnt, trained_on in (("lsh", "LSH", False, 0), ("itq-lsh", "ITQ+LSH", True, TRAINING_ROWS))
)
