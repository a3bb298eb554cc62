"""Queries encoded once for each encoder, and kept for the next command."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from jpq_pyserini.encoders.text_encoder import embed_queries, embed_topics, load_text_encoder
from jpq_pyserini.resume import fingerprint
from jpq_pyserini.storage import new_file
from jpq_pyserini.timing import measure, summary

_TIMED = 20


@dataclass(frozen=True)
class EncodedQueries:
    """Queries as an encoder sees them.

    Attributes:
        vectors: (Q, D) float32, in the order of the topics.
        milliseconds: median time of encoding one, alone, on one thread.
    """

    vectors: np.ndarray
    milliseconds: float


def encoded_queries(encoder: str, topics: Mapping[str, str], cache: str | os.PathLike) -> EncodedQueries:
    """Encode queries, or read them from ``cache`` when the same encoder encoded the same texts before.

    Args:
        encoder: name or folder; a folder counts as the same when its files hold the same bytes.
        topics: qid to text.
        cache: folder of what was encoded, one ``.npz`` an encoder and set of texts.

    Raises:
        JPQError: the encoder cannot be loaded.
    """
    texts = list(topics.values())
    path = Path(cache) / f"{_key(encoder, texts)}.npz"
    if path.is_file():
        with np.load(path, allow_pickle=False) as kept:
            return EncodedQueries(kept["vectors"], float(kept["milliseconds"]))
    model = load_text_encoder(encoder)
    vectors = embed_topics(model, texts, show_progress_bar=len(texts) > 500)
    found = EncodedQueries(vectors, _milliseconds(model, texts))
    with new_file(path, "wb") as file:
        np.savez(file, vectors=found.vectors, milliseconds=found.milliseconds)
    return found


def _key(encoder: str, texts: list[str]) -> str:
    return hashlib.sha256(json.dumps([fingerprint(encoder), texts]).encode()).hexdigest()[:20]


def _milliseconds(model, texts: list[str]) -> float:
    asked = [[texts[number % len(texts)]] for number in range(_TIMED + 2)]
    return summary(measure(partial(embed_queries, model), asked, warm_up=2, threads=1)).median_ms
