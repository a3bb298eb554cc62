"""Prebuilt JPQ indexes by name: catalogues, and downloads that can be trusted.

``python -m jpq_pyserini.prebuilt --help`` is the command line; :func:`fetch` is the same in Python::

    from jpq_pyserini.prebuilt import fetch
    directory = fetch("my-corpus.jpq-m48")

Nothing here imports Pyserini. Groups add catalogues of their own through the variable ``JPQ_PREBUILT``.
"""

from jpq_pyserini.index.record import verify_directory
from jpq_pyserini.prebuilt.catalogue import find, load_entries
from jpq_pyserini.prebuilt.entries import Entry
from jpq_pyserini.prebuilt.store import directory_of, fetch, is_downloaded, remove

__all__ = ["Entry", "directory_of", "fetch", "find", "is_downloaded", "load_entries", "remove", "verify_directory"]
