"""Encoders for Pyserini: the query encoder trained with an index, and the encoder that made its documents."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from pyserini.encode import DocumentEncoder, QueryEncoder

from jpq_pyserini.encoders import backends
from jpq_pyserini.encoders.limits import (
    DOCUMENT,
    QUERY,
    CutTexts,
    length_limit,
    limit_text,
    replace_prompt,
    set_length_limit,
)
from jpq_pyserini.encoders.query_cache import QueryCache, cache_of
from jpq_pyserini.encoders.text_encoder import (
    QUERY_PROMPT,
    embed_passages,
    embed_queries,
    is_jpq_encoder,
    load_text_encoder,
    query_prompt,
)
from jpq_pyserini.errors import JPQError
from jpq_pyserini.index.directory import state_of
from jpq_pyserini.index.exact import finite
from jpq_pyserini.index.record import encoder_settings
from jpq_pyserini.index.sharded import shard_directories
from jpq_pyserini.names import ENCODER_MARKER, QUERY_ENCODER, RECORD
from jpq_pyserini.plugin.ours import BARE, is_bare

_MORE_TOKENS = "give --max-length (Python: JPQQueryEncoder(query_length=)), or train with more --max-query-length"


class JPQQueryEncoder(QueryEncoder):
    """The query encoder trained with a JPQ index; gives unrotated vectors, because the rotation is inside the index.

    Args:
        encoder_dir: A JPQ index directory, its ``query_encoder`` folder, or ``"jpq"``: the encoder of the index that is
            searched (``FaissSearcher`` calls :meth:`bind`). Or a loaded ``SentenceTransformer``, used as it is.
        tokenizer_name: Refused: the folder holds the tokenizer with which the encoder was trained.
        device: torch device name.
        prefix: Put before every query, with a space, in place of the prompt saved with the encoder; None keeps that.
        fp16: Compute in half precision; what comes out is float32 all the same.
        backend: ``"torch"``, ``"onnx"``, ``"onnx-int8"`` or ``"openvino"``: what runs the encoder; None: what the
            saved encoder says.
        query_length: Cut queries at this many tokens, prompt and special tokens among them, as Pyserini's own encoders
            do; None: at what was trained.
        kwargs: Whatever else Pyserini passes (pooling, l2_norm, max_length, ...) is ignored: the folder says it all.

    Raises:
        JPQError: ``encoder_dir`` is none of these, cannot be loaded, or ``tokenizer_name`` was given.
    """

    def __init__(
        self,
        encoder_dir: Any = BARE,
        tokenizer_name: str | None = None,
        device: str = "cpu",
        prefix: str | None = None,
        fp16: bool = False,
        backend: str | None = None,
        query_length: int | None = None,
        **kwargs,
    ):
        super().__init__()
        self._max_length = query_length
        if backend is not None:
            backends.check_backend(backend)
        if tokenizer_name is not None:
            raise JPQError(
                f"--tokenizer {tokenizer_name} was given, but a JPQ encoder has its own tokenizer: leave it out"
            )
        self.has_model = True
        self.device, self.prefix, self.fp16, self.backend = device, prefix, fp16, backend
        self.model: Any = None
        self.encoder_dir: str | None = None
        self._bound_to: str | None = None
        self._state: tuple[int, ...] | None = None  # of that directory then
        self._cache: QueryCache | None = None
        self._cut: CutTexts | None = None  # made with the first queries
        self.is_fixed = not is_bare(encoder_dir)  # named by the user, rather than found through the index
        if not isinstance(encoder_dir, str | os.PathLike):
            self.model, self.encoder_dir = encoder_dir, type(encoder_dir).__name__
        elif self.is_fixed:
            self._load(_query_encoder_folder(encoder_dir))

    @property
    def is_bound(self) -> bool:
        """Whether the encoder has its weights; a bare ``jpq`` gets them from the index."""
        return self.model is not None

    @property
    def dimension(self) -> int | None:
        """D, or None while unbound."""
        return self.model.get_embedding_dimension() if self.is_bound else None

    def bind(self, index_dir: str | os.PathLike) -> None:
        """Load the query encoder that was trained with the index in ``index_dir``, again if that was replaced.

        Raises:
            JPQError: no JPQ index is there, or the encoder is bound to another one already.
        """
        index_dir = _home(index_dir)
        target, state = os.path.realpath(index_dir), state_of(index_dir)
        if (self._bound_to, self._state) == (target, state):
            return
        if self.is_bound and self._bound_to != target:
            owner = self._bound_to or self.encoder_dir
            raise JPQError(f"this encoder belongs to {owner}: make a new JPQQueryEncoder for {index_dir}")
        if not os.path.isfile(os.path.join(index_dir, RECORD)):
            raise JPQError(
                f"{index_dir} has no {RECORD}, so no encoder was trained with it: "
                "name the encoder that made it, or train a JPQ index from it with python -m jpq_pyserini.train"
            )
        self._load(_query_encoder_folder(index_dir))
        self._bound_to, self._state = target, state

    def encode(self, query: str, **kwargs) -> np.ndarray:
        """Encode one query; returns (D,) float32."""
        return self.encode_batch([query])[0]

    def encode_batch(self, queries: Sequence[str], **kwargs) -> np.ndarray:
        """Encode queries; returns (B, D) float32 in their order."""
        if not self.is_bound:
            raise JPQError(
                "the encoder 'jpq' does not know its index yet: "
                "give it to FaissSearcher(index_dir, encoder), call bind(index_dir), or name the index directory"
            )
        if len(queries) == 0:
            return np.empty((0, self.model.get_embedding_dimension()), dtype=np.float32)
        if self._cut is None:
            self._cut = CutTexts(self.model, QUERY, "queries", _MORE_TOKENS)
        self._cut.count(queries, query_prompt(self.model))
        if self._cache is not None:
            return self._cache.encode(queries, self._embed)
        return self._embed(queries)

    def _limit(self) -> dict:
        return {} if self._max_length is None else {"max_length": self._max_length}

    def _embed(self, queries: Sequence[str]) -> np.ndarray:
        return finite(embed_queries(self.model, queries), f"the query encoder {self.encoder_dir}")

    def _load(self, folder: str) -> None:
        model = load_text_encoder(folder, device=self.device)
        if self.prefix is not None:  # joined as Pyserini's own encoders do it
            prompt = f"{self.prefix} " if self.prefix else ""
            replace_prompt(model, query_prompt(model), prompt)
            model.prompts = {**model.prompts, QUERY_PROMPT: prompt}
        if self._max_length is not None:
            limit_text(model, self._max_length)
        backend = self.backend or backends.TORCH
        if self.fp16 and backend != backends.TORCH:
            raise JPQError(f"half precision was asked for with the encoder backend {backend}: leave one of them out")
        if self.backend is None and not self.fp16:
            backend = backends.apply_saved(model, folder, self.device)
        else:
            backends.apply(model, folder, backend, self.device)
        self.model, self._cut = model.half() if self.fp16 else model, None
        self._cache = cache_of(
            folder, backend=backend, fp16=self.fp16, prefix=self.prefix, device=str(self.device), **self._limit()
        )
        self.encoder_dir = folder


class JPQDocumentEncoder(DocumentEncoder):
    """Encodes documents for a JPQ index with the encoder that made its documents (training leaves that as it was).

    Args:
        model_name: A JPQ index directory, whose ``jpq.json`` names the encoder, or any sentence-transformers model.
        tokenizer_name: Refused, as in :class:`JPQQueryEncoder`.
        device: torch device name.
        kwargs: Whatever else Pyserini passes is ignored.

    Raises:
        JPQError: the directory does not say which encoder made its documents, or that cannot be loaded.
    """

    def __init__(self, model_name: str, tokenizer_name: str | None = None, device: str = "cpu", **kwargs):
        if tokenizer_name is not None:
            raise JPQError(f"a tokenizer ({tokenizer_name}) was given, but the encoder has its own: leave it out")
        self.has_model = True
        self.device = device
        settings = _document_settings(model_name)
        self.max_length = settings.get("max_length")
        self.model = load_text_encoder(device=device, **settings)
        self._own_limit = length_limit(self.model, DOCUMENT)

    @property
    def dimension(self) -> int:
        """D."""
        return self.model.get_embedding_dimension()

    def encode(
        self,
        texts: Sequence[str],
        titles: Sequence[str | None] | None = None,
        max_length: int | None = None,
        add_sep: bool = False,
        **kwargs,
    ) -> np.ndarray:
        """Encode documents; returns (N, D) float32.

        Args:
            texts: N texts.
            titles: N titles, put before their texts with a space.
            max_length: Cut at this many tokens; the length recorded in the index wins, and the model's own limit stays.
            add_sep: Refused with ``titles``: no index is made from such pairs.
        """
        if titles is not None:
            if add_sep:
                raise JPQError("--add-sep is not supported by JPQ document encoders: leave it out")
            texts = [f"{title} {text}" if title else text for title, text in zip(titles, texts, strict=True)]
        if len(texts) == 0:
            return np.empty((0, self.model.get_embedding_dimension()), dtype=np.float32)
        if self.max_length is None and max_length is not None:
            set_length_limit(self.model, min(max_length, self._own_limit or max_length), DOCUMENT)
        return embed_passages(self.model, texts)


def _home(index_dir: str | os.PathLike) -> str | os.PathLike:
    """Return the index directory whose encoder counts: of shards the first."""
    shards = shard_directories(index_dir)
    return index_dir if shards is None else shards[0]


def _query_encoder_folder(path: str | os.PathLike) -> str:
    """Return the query encoder's folder for an index directory or for that folder itself."""
    path = _home(path)
    inside = os.path.join(path, QUERY_ENCODER)
    if is_jpq_encoder(path):
        return str(path)
    if is_jpq_encoder(inside):
        return inside
    if os.path.isfile(os.path.join(path, RECORD)):
        raise JPQError(
            f"{path} has no {QUERY_ENCODER}/{ENCODER_MARKER}: copy the index directory again, it is not complete"
        )
    raise JPQError(
        f"{path} is neither a JPQ index directory ({RECORD}) nor a query encoder trained with one ({ENCODER_MARKER}): "
        "name one of these, or 'jpq' for the encoder of the index that is searched"
    )


def _document_settings(model_name: str | os.PathLike) -> dict:
    """Return the arguments of ``load_text_encoder`` for an index directory or a model's name."""
    if is_bare(model_name) or is_jpq_encoder(model_name):
        raise JPQError(
            f"{model_name} encodes queries: for documents name the index directory, which knows what encoded them"
        )
    if not os.path.isfile(os.path.join(model_name, RECORD)):
        return {"name_or_path": str(model_name)}
    return encoder_settings(model_name)
