"""JPQFaissSearcher: Pyserini's FaissSearcher for a JPQ index directory."""

import os
from pathlib import Path

from jpq_pyserini import layouts
from jpq_pyserini.encoder import JPQQueryEncoder  # first: it starts the plug-in, then imports Pyserini
from jpq_pyserini.flat import read_docids
from jpq_pyserini.index import IndexRecord, check_parts
from jpq_pyserini.names import DOCID, INDEX
from jpq_pyserini.prebuilt import fetch, find
from jpq_pyserini.prebuilt.adopt import texts_of

from pyserini.encode import QueryEncoder  # isort: skip
from pyserini.search.faiss import FaissSearcher  # isort: skip


class JPQFaissSearcher(FaissSearcher):
    """Search a JPQ index directory with the query encoder that was trained with it.

    Everything a ``FaissSearcher`` does works as it does there: ``search``, ``batch_search``, ``return_vector=True`` for
    pseudo-relevance feedback, ``threads``; docids and scores are the same.

    Args:
        index_dir: A JPQ index directory.
        query_encoder: Another encoder than the index's own: a Pyserini ``QueryEncoder``, or a name or path.
        normalize_distances: As in ``FaissSearcher``.
        faiss_device: ``"cpu"``, or ``"cuda:0"`` with faiss-gpu.
        device: torch device of the index's own query encoder.

    Raises:
        JPQError: ``index_dir`` is no JPQ index directory, or its parts do not fit together.

    Example:
        >>> searcher = JPQFaissSearcher("jpq48")  # doctest: +SKIP
        >>> searcher.search("what is product quantization", k=3)  # doctest: +SKIP
    """

    def __init__(
        self,
        index_dir: str | os.PathLike,
        query_encoder: QueryEncoder | str | None = None,
        normalize_distances: bool = False,
        faiss_device: str = "cpu",
        device: str = "cpu",
    ):
        self.record = IndexRecord.read(index_dir)
        if query_encoder is None:
            query_encoder = JPQQueryEncoder(str(index_dir), device=device)
        super().__init__(
            str(index_dir), query_encoder, normalize_distances=normalize_distances, faiss_device=faiss_device
        )

    @classmethod
    def from_prebuilt_index(
        cls,
        prebuilt_index_name: str,
        query_encoder: QueryEncoder | str | None = None,
        normalize_distances: bool = False,
        faiss_device: str = "cpu",
        device: str = "cpu",
    ) -> "JPQFaissSearcher":
        """Search a prebuilt JPQ index by name; it is downloaded if necessary.

        Args:
            prebuilt_index_name: As ``python -m jpq_pyserini.prebuilt list`` shows it.

        Raises:
            JPQError: No catalogue has the name (near matches are shown), or the download failed.
        """
        entry = find(prebuilt_index_name)
        searcher = cls(fetch(entry), query_encoder, normalize_distances, faiss_device, device)
        searcher.ssearcher = texts_of(entry)
        return searcher

    def load_index(self, index_dir: str):
        """Load the Faiss index and the docids and check them against the record; returns both."""
        directory = Path(index_dir)
        docids = read_docids(directory / DOCID)
        index = layouts.read(directory / INDEX)
        check_parts(directory, self.record, index, len(docids))
        if self.faiss_device != "cpu":
            return super().load_index(index_dir)
        if isinstance(self.query_encoder, JPQQueryEncoder) and not self.query_encoder.is_fixed:
            self.query_encoder.bind(index_dir)
        return index, docids
