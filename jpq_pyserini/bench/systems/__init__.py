"""The search systems that ``bench.latency`` compares: one small file a library.

A new system takes a file that defines ``SYSTEMS``, a tuple of :class:`System`, and its place in the list here.
Libraries other than Faiss are imported where a system is built, so that a missing one stops nothing.
"""

from jpq_pyserini.bench.systems import (
    annoy,
    binary,
    bm25,
    falconn,
    flann,
    flat,
    hnsw,
    imi,
    jpq,
    lsh,
    matryoshka,
    pq,
    rabitq,
    refined,
    scalar,
    scann,
)
from jpq_pyserini.bench.systems._base import KINDS, Data, Searcher, SettingError, System

__all__ = ["KINDS", "SYSTEMS", "Data", "Searcher", "SettingError", "System"]

#: In the order of KINDS.
_FILES = (
    *(bm25, flat, annoy, falconn, flann, hnsw, imi),
    *(lsh, binary, scalar, rabitq, matryoshka, pq, scann, refined, jpq),
)
#: Name to system, in the order of tables.
SYSTEMS = {system.name: system for file in _FILES for system in file.SYSTEMS}
