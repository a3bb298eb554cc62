"""Texts of the passages that a run names, from a JSON-lines corpus or from a Lucene index."""

import os
from collections.abc import Callable, Collection

from jpq_pyserini.data.corpus import Corpus, document_of
from jpq_pyserini.errors import JPQError, reason_of


def corpus_texts(path: str | os.PathLike, docids: Collection[str]) -> dict[str, str]:
    """Read a :class:`~jpq_pyserini.data.corpus.Corpus` once and keep the texts of ``docids`` only.

    Reading ends where the last of them is found, so memory holds what the run needs, whatever the corpus' size.

    Raises:
        JPQError: a bad corpus, or a docid that is not in it.
    """
    from tqdm import tqdm

    wanted = set(docids)
    texts: dict[str, str] = {}
    if wanted:
        for docid, text in tqdm(Corpus(path), "reading texts", unit="doc", delay=2, leave=False, disable=None):
            if docid in wanted:
                wanted.remove(docid)
                texts[docid] = text
                if not wanted:
                    break
    if wanted:
        raise JPQError(
            f"{path} has no document {min(wanted)!r}, which the run names ({len(wanted):,} of the {len(docids):,} "
            "needed are missing): give the corpus that the run was made from"
        )
    return texts


def lucene_texts(index: str) -> Callable[[str], str]:
    """Return a function from docid to text that asks a Lucene index: a folder, or one of Pyserini's prebuilt names.

    The text is ``contents`` of the stored raw document (``title`` and ``text`` where it has no ``contents``); a raw
    document that is no JSON is taken whole, and without raw documents the stored ``contents`` field is.

    Raises:
        JPQError: no such index; when called, a docid that the index lacks or keeps no text of.
    """
    with_texts = "give --corpus, or index again with --storeRaw"
    searcher = _searcher(index)

    def text_of(docid: str) -> str:
        document = searcher.doc(docid)
        if document is None:
            raise JPQError(f"{index} has no document {docid!r}, which the run names: give the index of its corpus")
        raw = document.raw()
        if raw is None:
            raw = document.contents()
            if raw is None:
                raise JPQError(f"{index} keeps no text of document {docid!r}: {with_texts}")
            return raw
        if raw.lstrip().startswith("{"):
            return document_of(raw, f"{index}, raw document {docid!r},")[1]
        return raw

    return text_of


def _searcher(index: str):
    from pyserini.search.lucene import LuceneSearcher  # starts a JVM

    try:
        searcher = LuceneSearcher(index) if os.path.isdir(index) else LuceneSearcher.from_prebuilt_index(index)
    except Exception as error:  # Java's and the download's have no common type
        raise JPQError(f"cannot open the Lucene index {index!r} ({reason_of(error)}): name a folder of one") from error
    if searcher is None:  # so Pyserini says that it does not know the name
        raise JPQError(f"{index!r} is neither a folder nor one of Pyserini's prebuilt Lucene indexes")
    return searcher
