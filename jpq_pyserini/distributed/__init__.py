"""Beyond one machine: collections are coded, and shards searched, by the processes of a Ray cluster.

::

    work.py     one piece of work in one process: count a file, code or embed a shard; needs no Ray
    job.py      a collection cut into shards, which of them are done, and the whole put together
    cluster.py  Ray: a cluster is joined or started, and workers get pieces of work, again if they die
    build.py    the commands that code and embed a collection
    servers.py  processes that hold a shard each, and how they are asked
    search.py   shards held by them and searched as one

Ray is imported when one of them runs, and only then. All machines have to see the same files.
"""

from typing import TYPE_CHECKING

from jpq_pyserini.lazy import public_names

if TYPE_CHECKING:
    from jpq_pyserini.distributed.search import RaySearcher as RaySearcher

_PUBLIC = {"RaySearcher": "search"}

__all__ = sorted(_PUBLIC)

__getattr__, __dir__ = public_names(__name__, _PUBLIC)
