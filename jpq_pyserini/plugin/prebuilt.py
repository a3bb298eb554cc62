"""What Pyserini is told of our catalogues, when ``pyserini.util`` and its searcher are imported.

Pyserini's own catalogues stay as they are: they are plain dictionaries in 1.6 and 2.3 and read-only ones that load over
the network in 2.4. Instead the functions that look names up ask ours first, so that our names need no network of
Pyserini's, and pass everything else on.
"""

import functools
import inspect
import sys

from jpq_pyserini.errors import JPQError
from jpq_pyserini.plugin.ours import BARE


def wrap_util(module) -> None:
    """Wrap the look-ups of ``pyserini.util``, before other modules import them from there."""
    plain_download, plain_check = module.download_prebuilt_index, module.check_downloaded
    plain_texts, plain_list = module.get_sparse_index, module.get_dense_indexes_info

    @functools.wraps(plain_download)
    def download_prebuilt_index(index_name, force=False, *args, **kwargs):
        entry = our_entry(index_name)
        if entry is None:
            return plain_download(index_name, force, *args, **kwargs)
        from jpq_pyserini.prebuilt.store import fetch

        return str(fetch(entry, force=force))

    @functools.wraps(plain_check)
    def check_downloaded(index_name):
        entry = our_entry(index_name)
        if entry is None:
            return plain_check(index_name)
        from jpq_pyserini.prebuilt.store import is_downloaded

        return is_downloaded(entry)

    @functools.wraps(plain_texts)
    def get_sparse_index(index_name):
        entry = our_entry(index_name)
        return plain_texts(index_name) if entry is None else entry.texts

    @functools.wraps(plain_list)
    def get_dense_indexes_info():
        _list_ours()  # first: Pyserini's own list may want the network
        return plain_list()

    module.download_prebuilt_index, module.check_downloaded = download_prebuilt_index, check_downloaded
    module.get_sparse_index, module.get_dense_indexes_info = get_sparse_index, get_dense_indexes_info


def wrap_searcher(searcher_class) -> None:
    """Wrap ``FaissSearcher.from_prebuilt_index``: our names, and an error for unknown ones instead of None.

    Stock Pyserini prints an unknown name's problem and returns None, upon which its command line ends with status 0.
    """
    plain = searcher_class.from_prebuilt_index.__func__
    signature = inspect.signature(plain)

    @functools.wraps(plain)
    def from_prebuilt_index(cls, prebuilt_index_name, *args, **kwargs):
        entry = our_entry(prebuilt_index_name)
        if entry is None:
            searcher = plain(cls, prebuilt_index_name, *args, **kwargs)
            if searcher is None:
                raise _not_found(prebuilt_index_name)
            return searcher
        from jpq_pyserini.prebuilt.store import fetch

        given = signature.bind(cls, prebuilt_index_name, *args, **kwargs).arguments
        options = dict(list(given.items())[2:])
        options["query_encoder"] = options.get("query_encoder") or BARE  # the servers name none
        searcher = cls(str(fetch(entry)), **options)
        searcher.ssearcher = texts_of(entry)
        return searcher

    searcher_class.from_prebuilt_index = classmethod(from_prebuilt_index)


def texts_of(entry):
    """Return what a ``FaissSearcher`` asks for the texts of documents, or None when the catalogue names none."""
    return _LazyTexts(entry.texts) if entry.texts else None


class _LazyTexts:
    """Stands for the Lucene index with the texts; Pyserini downloads it with the dense one, here ``doc()`` does."""

    def __init__(self, name: str):
        self._name = name
        self._searcher = None

    def __getattr__(self, attribute):
        if attribute.startswith("__"):  # as copy and pickle ask
            raise AttributeError(attribute)
        if self._searcher is None:
            from pyserini.search.lucene import LuceneSearcher

            self._searcher = LuceneSearcher.from_prebuilt_index(self._name)
        return getattr(self._searcher, attribute)


def our_entry(name):
    """Return the catalogue entry of a prebuilt index of ours; None for any other name."""
    from jpq_pyserini.prebuilt.catalogue import load_entries

    return load_entries().get(name) if isinstance(name, str) else None


def _not_found(name) -> JPQError:
    from pyserini import prebuilt_index_info

    from jpq_pyserini.prebuilt.catalogue import load_entries, unknown

    theirs = getattr(prebuilt_index_info, "FAISS_INDEX_INFO", {})
    if not isinstance(theirs, dict):  # to ask 2.4's is to ask the network
        theirs = {}
    if name in theirs:
        return JPQError(f"Pyserini could not fetch its prebuilt index {name!r}: what it printed above says why")
    return unknown(name, [*load_entries(), *theirs])


def _list_ours() -> None:
    import pandas as pd

    from jpq_pyserini.prebuilt.catalogue import load_entries
    from jpq_pyserini.prebuilt.store import is_downloaded

    table = {name: entry.to_json() | {"downloaded": is_downloaded(entry)} for name, entry in load_entries().items()}
    with pd.option_context("display.max_rows", None, "display.max_columns", None, "display.max_colwidth", None):
        sys.stdout.write(f"{pd.DataFrame.from_dict(table)}\n")  # as Pyserini prints its own
