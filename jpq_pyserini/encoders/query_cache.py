"""Vectors of queries that were encoded before, kept in a folder, so that another run of the same queries need not wait.

``JPQ_QUERY_CACHE=DIR`` turns it on for every query encoder of an index, Pyserini's command lines included: a grid of
settings searched with one set of topics encodes it once. Off, nothing is kept.
"""

import contextlib
import hashlib
import json
import os
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from jpq_pyserini.errors import JPQError
from jpq_pyserini.storage import sha256_of

VARIABLE = "JPQ_QUERY_CACHE"
_FILE = "queries.sqlite"
_AT_ONCE = 500  # queries looked up by one statement


class QueryCache:
    """Vectors by encoder and query, in one SQLite file that several processes may use at once.

    Args:
        folder: made if it is not there.
        encoder: what tells the encoder from every other: :func:`encoder_key`.
    """

    def __init__(self, folder: str | os.PathLike, encoder: str):
        self.path, self._encoder = Path(folder) / _FILE, encoder

    def encode(self, queries: Sequence[str], embed: Callable[[Sequence[str]], np.ndarray]) -> np.ndarray:
        """Return vectors (B, D) float32 of the queries; ``embed`` is called with those that are not known yet.

        A vector that comes from here is bit for bit what was encoded first, in whatever batch that was.

        Raises:
            JPQError: the file cannot be read or written.
        """
        wanted = list(dict.fromkeys(queries))
        with self._open() as database:
            known = dict(self._known(database, wanted))
            missing = [query for query in wanted if query not in known]
            if missing:
                vectors = np.ascontiguousarray(embed(missing), dtype=np.float32)
                known |= zip(missing, (vector.tobytes() for vector in vectors), strict=True)
                rows = ((self._encoder, query, known[query]) for query in missing)
                database.executemany("INSERT OR IGNORE INTO vectors VALUES (?, ?, ?)", rows)
        return np.stack([np.frombuffer(known[query], dtype=np.float32) for query in queries])

    def _known(self, database: sqlite3.Connection, queries: Sequence[str]):
        for start in range(0, len(queries), _AT_ONCE):
            some = queries[start : start + _AT_ONCE]
            marks = ",".join("?" * len(some))
            found = f"SELECT query, vector FROM vectors WHERE encoder = ? AND query IN ({marks})"
            yield from database.execute(found, [self._encoder, *some])

    @contextlib.contextmanager
    def _open(self):
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.closing(sqlite3.connect(self.path, timeout=60)) as database, database:
                database.execute(
                    "CREATE TABLE IF NOT EXISTS vectors (encoder TEXT, query TEXT, vector BLOB, "
                    "PRIMARY KEY (encoder, query)) WITHOUT ROWID"
                )
                yield database
        except (sqlite3.Error, OSError) as error:
            raise JPQError(
                f"{self.path}: cannot keep encoded queries there ({error}): remove the file, or unset {VARIABLE}"
            ) from error


def encoder_key(folder: str | os.PathLike, **settings) -> str:
    """Return a digest of the encoder's files and of ``settings`` that change its vectors (backend, prefix, …)."""
    files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    contents = [[str(path.relative_to(folder)), sha256_of(path)] for path in files]
    return hashlib.sha256(json.dumps([contents, settings], sort_keys=True).encode()).hexdigest()


def cache_of(folder: str | os.PathLike, **settings) -> QueryCache | None:
    """Return the cache that ``JPQ_QUERY_CACHE`` asks for, or None."""
    where = os.environ.get(VARIABLE)
    return QueryCache(where, encoder_key(folder, **settings)) if where else None
