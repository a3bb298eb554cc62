"""BM25: Pyserini's LuceneSearcher over a Lucene index of the same collection; queries are texts.

Its hits are those of ``python -m pyserini.search.lucene`` with the parameters that has when none are given.
"""

from pathlib import Path

from jpq_pyserini.bench.systems._base import Data, Searcher, System, padded
from jpq_pyserini.errors import JPQError


class _Lucene(Searcher):
    def __init__(self, data: Data):
        if data.index is None or data.docids is None:
            raise JPQError("needs texts: name the Lucene index of the collection with --lucene")
        from pyserini.search.lucene import LuceneSearcher

        from jpq_pyserini.data.docids import Docids, RowsByDocid

        self._folder, self._threads = data.index, 1
        self._searcher = LuceneSearcher(data.index)
        self._rows = RowsByDocid(Docids(data.docids), data.docids)
        self.bytes = sum(file.stat().st_size for file in Path(data.index).rglob("*") if file.is_file())

    def search(self, queries, k):
        texts = list(queries)
        if len(texts) == 1:
            found = [self._searcher.search(texts[0], k=k)]
        else:
            names = [str(b) for b in range(len(texts))]
            hits = self._searcher.batch_search(texts, names, k=k, threads=self._threads)
            found = [hits[name] for name in names]
        return padded((([hit.score for hit in hits], self._rows_of(hits)) for hits in found), len(texts), k)

    def threads(self, count):
        self._threads = count

    def _rows_of(self, hits) -> list[int]:
        try:
            return [self._rows[hit.docid] for hit in hits]
        except KeyError as error:
            raise JPQError(
                f"{self._folder} holds document {error.args[0]!r}, which the embeddings lack: index the same collection"
            ) from None


SYSTEMS = (System("bm25", "BM25", "sparse", _Lucene, takes="texts", module="pyserini"),)
