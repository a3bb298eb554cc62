"""FALCONN: multi-probe LSH with cross-polytope hashing, with the parameters that it recommends for a collection.

It hashes directions and measures distances, so inner product becomes Euclidean distance
(:mod:`~jpq_pyserini.bench.systems._euclidean`), and then, as its authors advise, the centre of the collection is taken
from documents and queries, which changes no distance. It cannot be saved: its size is that of the embeddings, which
the hash tables are beyond, as in the paper's table 1.

Its last release, 1.3.1, brings a pybind11 that knows no Python from 3.11 on; with a newer one in front it compiles.
"""

from jpq_pyserini.bench.systems._base import Data, OneByOne, System
from jpq_pyserini.bench.systems._euclidean import Euclidean


class _Falconn(OneByOne):
    def __init__(self, data: Data):
        import falconn

        self._space = Euclidean(data.embeddings())
        self._centre = self._space.vectors.mean(axis=0)
        self._vectors = self._space.vectors - self._centre  # FALCONN keeps no copy of its own
        del self._space.vectors
        parameters = falconn.get_default_parameters(*self._vectors.shape, falconn.DistanceFunction.EuclideanSquared)
        parameters.seed = data.seed
        self._index = falconn.LSHIndex(parameters)
        self._index.setup(self._vectors)
        self._probes = parameters.l
        self._queries = self._index.construct_query_object(self._probes)
        self.bytes = 4 * data.count * data.dimension

    def one(self, query, k):
        wide = self._space.queries(query[None])
        moved = wide[0] - self._centre
        rows = self._queries.find_k_nearest_neighbors(moved, k)
        distances = ((self._vectors[rows] - moved) ** 2).sum(axis=1)
        return self._space.scores(wide, distances)[0], rows

    def set(self, value):
        self._probes = value
        self._queries.set_num_probes(value)

    def threads(self, count):
        super().threads(count)
        made = self._index.construct_query_object if count == 1 else self._index.construct_query_pool
        self._queries = made(num_probes=self._probes, **({} if count == 1 else {"num_query_objects": count}))


SYSTEMS = (
    System(
        "falconn",
        "FALCONN",
        "non-exhaustive",
        _Falconn,
        module="falconn",
        parameters=lambda data: "size without its tables",
        install='pip install pybind11 setuptools && CC="g++ $(python -m pybind11 --includes)" pip install falconn',
        setting=("probes", (10, 30, 100, 300, 1000, 3000)),
        copies=3,
    ),
)
