"""Binary codes with float queries: a bit for each dimension, its sign, and ⟨q, ±1⟩ as the score.

So sentence-transformers' ``quantize_embeddings(precision="ubinary")`` codes documents and scores them again with the
float query; here the whole collection is scored so, which loses nothing. Bits tell whether a component is above a
threshold: zero, or the median of its dimension, so that each bit halves the collection. Eight bits together are a code
of a product quantizer whose 256 centroids are the patterns of signs around the thresholds; Faiss scans it. What the
thresholds add to a score is the same for all documents.
"""

from functools import partial

import numpy as np

from jpq_pyserini.bench.systems._base import Data, System
from jpq_pyserini.bench.systems._faiss import TRAINING_ROWS, FaissSearcher, add
from jpq_pyserini.errors import JPQError
from jpq_pyserini.lazy import Later

faiss, layouts = Later("faiss"), Later("jpq_pyserini.index.layouts")

#: (256, 8): the signs that the bits of a byte stand for.
_SIGNS = 2 * np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).astype(np.float32) - 1


def _binary(median: bool, data: Data) -> FaissSearcher:
    if data.dimension % 8:
        raise JPQError(f"dimension {data.dimension} is no multiple of 8: bits make no whole bytes")
    thresholds = np.zeros(data.dimension, np.float32)
    if median:
        thresholds = np.median(data.sample(TRAINING_ROWS), axis=0).astype(np.float32)
    index = faiss.IndexPQ(data.dimension, data.dimension // 8, 8, faiss.METRIC_INNER_PRODUCT)
    layouts.set_centroids(index, thresholds.reshape(-1, 1, 8) + _SIGNS)
    index.is_trained = True
    add(index, data)
    return FaissSearcher(index, data.count * data.dimension // 8 + thresholds.nbytes)


def _size(data: Data) -> str:
    return f"{data.dimension // 8} bytes"


SYSTEMS = (
    System("binary", "binary, float queries", "compressed", partial(_binary, False), parameters=_size),
    System(
        "binary-median",
        "binary at medians, float queries",
        "compressed",
        partial(_binary, True),
        parameters=_size,
        trained_on=TRAINING_ROWS,
    ),
)
