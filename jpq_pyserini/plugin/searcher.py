"""JPQFaissSearcher: Pyserini's FaissSearcher for a JPQ index directory."""

import functools
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from pyserini.encode import QueryEncoder
from pyserini.search.faiss import FaissSearcher

from jpq_pyserini.encoders.loading import says_its_pooling
from jpq_pyserini.encoders.text_encoder import load_text_encoder
from jpq_pyserini.errors import JPQError
from jpq_pyserini.index import FLAT_LAYOUT, IndexDirectory, IndexRecord, layouts
from jpq_pyserini.index.directory import of_one_state
from jpq_pyserini.index.rescoring import scored_index, wanted_candidates
from jpq_pyserini.index.sharded import ShardedIndex, open_shards, search_shards, shard_directories
from jpq_pyserini.plugin.encoders import JPQQueryEncoder
from jpq_pyserini.plugin.ours import encoder_is_ours
from jpq_pyserini.plugin.prebuilt import texts_of
from jpq_pyserini.prebuilt import fetch, find


class JPQFaissSearcher(FaissSearcher):
    """Search a JPQ index directory with the query encoder that was trained with it.

    Everything a ``FaissSearcher`` does works as it does there: ``search``, ``batch_search``, ``return_vector=True`` for
    pseudo-relevance feedback (in every layout), ``threads``. Scores are exact in every layout, and hits come in the
    order in which trec_eval sorts them: see :mod:`jpq_pyserini.index.exact`.

    Args:
        index_dir: A JPQ index directory; or several, made with one codec, that are searched as one (in ``threads``
            threads), or a folder that `jpq index shards` wrote for them.
        query_encoder: Another encoder than the index's own: a Pyserini ``QueryEncoder``, a loaded
            ``SentenceTransformer``, a sentence-transformers folder, or a name that Pyserini knows.
        prebuilt_index_name, normalize_distances: As in ``FaissSearcher``.
        faiss_device: ``"cpu"``, or ``"cuda:0"``: ``pq`` and ``fastscan`` are searched there by torch
            (:mod:`jpq_pyserini.index.torch_search`), ``ivf`` by faiss-gpu. Without a GPU the CPU is used, as
            Pyserini does.
        device: torch device of the index's own query encoder.
        encoder_backend: how the index's own query encoder is run: see :class:`JPQQueryEncoder`.
        mmap: Leave the codes on disk, so that an index larger than memory opens at once; layouts ``pq`` and ``ivf``.
        nprobe: Lists a query visits, in place of what the index says; layouts with inverted lists.
        margin: Candidates scored exactly beyond k; None: :func:`jpq_pyserini.index.exact.default_margin`.
        rescore: How many candidates of the codes are scored again with their real vectors, if the index has those;
            0: none. None: what the environment variable ``JPQ_RESCORE`` says, else the index, else as many as suit k
            (:func:`jpq_pyserini.index.rescoring.default_candidates`). The vectors, never loaded whole, are then also
            what pseudo-relevance feedback gets.

    Raises:
        JPQError: ``index_dir`` is no JPQ index directory, its parts do not fit together, or its layout lacks what was
            asked for.

    Example:
        >>> searcher = JPQFaissSearcher("jpq48")  # doctest: +SKIP
        >>> searcher.search("what is product quantization", k=3)  # doctest: +SKIP
    """

    def __init__(
        self,
        index_dir: str | os.PathLike | Sequence[str | os.PathLike],
        query_encoder: QueryEncoder | str | None = None,
        prebuilt_index_name: str | None = None,
        normalize_distances: bool = False,
        faiss_device: str = "cpu",
        *,
        device: str = "cpu",
        encoder_backend: str | None = None,
        mmap: bool = False,
        nprobe: int | None = None,
        margin: int | None = None,
        rescore: int | None = None,
    ):
        self._shards = shard_directories(index_dir)
        home = index_dir if self._shards is None else self._shards[0]
        place = str(index_dir) if isinstance(index_dir, str | os.PathLike) else list(map(str, index_dir))
        given = (place, query_encoder, prebuilt_index_name, normalize_distances, faiss_device)
        options = {
            "device": device,
            "encoder_backend": encoder_backend,
            "mmap": mmap,
            "nprobe": nprobe,
            "margin": margin,
            "rescore": rescore,
        }
        self._opened_with = given, options
        self._mmap, self._nprobe, self._margin, self._rescore = mmap, nprobe, margin, rescore
        self._wanted_device, self._home = faiss_device, str(home)
        if query_encoder is not None and encoder_backend is not None:
            raise JPQError(f"encoder_backend {encoder_backend} is for the index's own encoder: leave query_encoder out")
        if isinstance(query_encoder, str | os.PathLike):
            query_encoder = _at_place(os.fspath(query_encoder), device)
        elif hasattr(query_encoder, "encode_query"):  # a SentenceTransformer
            query_encoder = JPQQueryEncoder(query_encoder)

        def opened() -> None:
            self.record = IndexRecord.read(self._home)
            encoder = query_encoder
            if encoder is None:
                encoder = JPQQueryEncoder(self._home, device=device, backend=encoder_backend)
            named = prebuilt_index_name, normalize_distances, faiss_device
            super(JPQFaissSearcher, self).__init__(self._home, encoder, *named)

        of_one_state(self._home, opened)

    def search(self, query, *args, **kwargs):
        """Search one query as ``FaissSearcher`` does: a text, or its vector, (D,) or (1, D), of any floats."""
        if not isinstance(query, str):
            query = np.atleast_2d(np.asarray(query, dtype=np.float32))
            if query.shape[1] != self.dimension:
                raise JPQError(f"a query vector of {query.shape[1]} dimensions: the index has {self.dimension}")
        return super().search(query, *args, **kwargs)

    def batch_search(self, queries, q_ids=None, *args, **kwargs):
        """Search many queries as ``FaissSearcher`` does: texts or vectors (B, D) and their ids, or a dictionary of
        qid to text.
        """
        if isinstance(queries, Mapping):
            queries, q_ids = list(queries.values()), list(queries)
        elif getattr(queries, "ndim", 2) == 1:  # an array of texts, or a column of a table
            queries = list(queries)
        if len(queries) == 0:
            vectors = kwargs.get("return_vector", args[2:3] == (True,))  # as in FaissSearcher, after k and threads
            return (np.empty((0, self.dimension), dtype=np.float32), {}) if vectors else {}
        return super().batch_search(queries, q_ids, *args, **kwargs)

    def __reduce__(self):
        """Pickles and copies open the directory again, with the same arguments."""
        given, options = self._opened_with
        return functools.partial(type(self), **options), given

    @classmethod
    def from_prebuilt_index(
        cls,
        prebuilt_index_name: str,
        query_encoder: QueryEncoder | str | None = None,
        normalize_distances: bool = False,
        faiss_device: str = "cpu",
        **options,
    ) -> "JPQFaissSearcher":
        """Search a prebuilt JPQ index by name; it is downloaded if necessary.

        Args:
            prebuilt_index_name: As ``python -m jpq_pyserini.prebuilt list`` shows it.
            options: The keyword arguments of :class:`JPQFaissSearcher`.

        Raises:
            JPQError: No catalogue has the name (near matches are shown), or the download failed.
        """
        entry = find(prebuilt_index_name)
        options |= {"normalize_distances": normalize_distances, "faiss_device": faiss_device}
        searcher = cls(fetch(entry), query_encoder, **options)
        searcher.ssearcher = texts_of(entry)
        return searcher

    def load_index(self, index_dir: str):
        """Load the Faiss index and the docids and check them against the record; returns both."""
        rescore = wanted_candidates(self._rescore, self.record.rescore)
        if self._shards is not None:
            together = self._open_together(rescore)
            self._bind()
            return together, together.docids
        parts = IndexDirectory.open(self._home, codec=False, vectors=rescore != 0, mmap=self._mmap)
        self.record, index, docids = parts.record, parts.faiss_index, parts.docids
        self._visit_lists(parts)
        self._bind()
        if self.record.layout == FLAT_LAYOUT:
            return index, docids
        return scored_index(parts, rescore, self._margin, self._on_gpu(parts)), docids

    def _bind(self) -> None:
        if isinstance(self.query_encoder, JPQQueryEncoder) and not self.query_encoder.is_fixed:
            self.query_encoder.bind(self._home)

    def _open_together(self, rescore: int | None) -> ShardedIndex:
        """Open the shards and set :attr:`record`."""
        assert self._shards is not None
        checked = isinstance(self._opened_with[0][0], str)  # `jpq index shards` did
        shards = open_shards(self._shards, vectors=rescore != 0, mmap=self._mmap, checked=checked)
        self.record = replace(self.record, count=sum(parts.record.count for parts in shards))
        for parts in shards:
            self._visit_lists(parts)
        return search_shards(shards, rescore, self._margin, self._on_gpu)

    def _visit_lists(self, parts: IndexDirectory) -> None:
        if self._nprobe is not None:
            layouts.set_nprobe(parts.faiss_index, self._nprobe)

    def _on_gpu(self, parts: IndexDirectory):
        """Return what searches on the GPU that was asked for; None without one."""
        import torch

        if not self._wanted_device.startswith("cuda") or not torch.cuda.is_available():
            return None
        layout, index = self.record.layout, parts.faiss_index
        if layout in ("pq", "fastscan"):
            from jpq_pyserini.index.torch_search import TorchSearch

            return TorchSearch(parts.codec, layouts.codes_of(index), self._wanted_device)
        if layout == "ivf" and self.faiss_device != "cpu":
            import faiss

            self._faiss_gpu_resources = faiss.StandardGpuResources()
            number = int(self.faiss_device.partition(":")[2] or 0)
            return faiss.index_cpu_to_gpu(self._faiss_gpu_resources, number, layouts.without_rotation(index))
        raise JPQError(
            f"faiss_device {self._wanted_device}: the layout {layout} runs on the CPU"
            f"{' unless faiss-gpu is installed' if layout == 'ivf' else ''}: convert it to fastscan or pq"
        )


def _at_place(encoder: str, device: str) -> QueryEncoder | str:
    """Return the encoder of a folder of sentence-transformers', with its pooling, norm and prompts.

    What is ours, and names, are Pyserini's to load, as are models whose class it tells by their names.

    Raises:
        JPQError: a folder does not say its pooling; Pyserini would take CLS without a word.
    """
    if encoder_is_ours(encoder) or not os.path.isdir(encoder):
        return encoder
    if says_its_pooling(encoder):
        return JPQQueryEncoder(load_text_encoder(encoder, device=device))
    if any(name in encoder.lower() for name in ("dpr", "tct_colbert", "ance")):
        return encoder
    raise JPQError(
        f"{encoder} has no modules.json, so its pooling is unknown: give AutoQueryEncoder({encoder!r}, pooling=…) in "
        "its place"
    )
