"""All embeddings, uncompressed, one after the other: Faiss's flat index."""

import os

from jpq_pyserini.bench.systems._base import Data, System
from jpq_pyserini.bench.systems._faiss import FaissSearcher, built
from jpq_pyserini.lazy import Later
from jpq_pyserini.names import INDEX

faiss = Later("faiss")


def _flat(data: Data):
    index = built("Flat", data) if data.index is None else faiss.read_index(os.path.join(data.index, INDEX))
    return FaissSearcher(index, 4 * data.count * data.dimension)


SYSTEMS = (System("flat", "flat", "exhaustive", _flat, parameters=lambda data: "float32"),)
