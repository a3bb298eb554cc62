"""Matryoshka truncation: the first dimensions of an embedding and no others, as float32 or as int8.

It is meant for models that were trained for it (Kusupati et al., NeurIPS 2022, https://arxiv.org/abs/2205.13147),
whose first dimensions are an embedding already; others lose most of what they know. Where all embeddings have length
one, what is left of them is brought to it again, as sentence-transformers does with ``truncate_dim``.
"""

from functools import partial

import numpy as np

from jpq_pyserini.bench.systems._base import Data, System
from jpq_pyserini.bench.systems._faiss import TRAINING_ROWS, FaissSearcher
from jpq_pyserini.errors import JPQError
from jpq_pyserini.lazy import Later

faiss = Later("faiss")

_ALIKE = 1e-3  # how far lengths may be from one


class _Truncated(FaissSearcher):
    def search(self, queries, k):
        return super().search(np.ascontiguousarray(queries[:, : self._index.d]), k)


def _matryoshka(key: str, width: int, data: Data) -> FaissSearcher:
    kept = data.bytes // width
    if not 1 <= kept <= data.dimension:
        raise JPQError(f"{data.bytes} bytes are {kept} of {data.dimension} dimensions: choose other --bytes")
    unit = bool((np.abs(np.linalg.norm(data.sample(TRAINING_ROWS), axis=1) - 1) < _ALIKE).all())
    vectors = np.ascontiguousarray(data.embeddings()[:, :kept])
    if unit:
        faiss.normalize_L2(vectors)
    index = faiss.index_factory(kept, key, faiss.METRIC_INNER_PRODUCT)
    index.train(vectors)
    index.add(vectors)
    return _Truncated(index, vectors.nbytes if key == "Flat" else None)


def _components(width: int, data: Data) -> str:
    return f"first {data.bytes // width} of {data.dimension}"


SYSTEMS = tuple(
    System(
        name,
        f"Matryoshka, {kind}",
        "compressed",
        partial(_matryoshka, key, width),
        parameters=partial(_components, width),
        trained_on=None if key == "SQ8" else 0,
    )
    for name, kind, key, width in (("matryoshka", "float32", "Flat", 4), ("matryoshka-sq8", "int8", "SQ8", 1))
)
