"""The searchers that ``eval.latency`` compares: one small file a library, found by looking into this folder.

A file here that defines ``SYSTEMS``, a tuple of :class:`System`, is all that a new system takes; names that start with
an underscore are left alone. Libraries are imported where a system is built, so that this import needs none of them.
"""

import importlib
import pkgutil

from jpq_pyserini.bench.systems._base import KINDS, Data, Searcher, System

__all__ = ["KINDS", "SYSTEMS", "Data", "Searcher", "System"]


def _found() -> dict[str, System]:
    """Return all systems by name, in the order of :data:`KINDS`, the files of a kind by name."""
    modules = [name for _, name, _ in pkgutil.iter_modules(__path__) if not name.startswith("_")]
    systems = [each for name in sorted(modules) for each in importlib.import_module(f"{__name__}.{name}").SYSTEMS]
    return {each.name: each for each in sorted(systems, key=lambda system: KINDS.index(system.kind))}


#: Name to system.
SYSTEMS = _found()
