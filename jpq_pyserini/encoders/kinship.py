"""Whether encoders, or an encoder and embeddings, are of one make: ranks of what belongs together, against chance."""

import logging
import os
from collections.abc import Sequence

import numpy as np

from jpq_pyserini.encoders.text_encoder import embed_passages, embed_queries, load_text_encoder

logger = logging.getLogger(__name__)

#: Of the passages that may be ranked before the relevant one; 0.5 is chance, good encoders have below 0.02.
MOST_BEFORE = 0.35
#: Texts, from fewer of which nothing can be said of ranks.
FEWEST = 10


def share_before(queries: np.ndarray, relevant: np.ndarray, passages: np.ndarray) -> float:
    """Return the mean share of passages that score above the relevant one of each query; ties count half.

    Args:
        queries, relevant: (B, D), a relevant passage for each query.
        passages: (n, D), drawn at random.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # values beyond what can be trained on are refused later
        own = (queries * relevant).sum(axis=1, keepdims=True)
        scores = queries @ passages.T
    return float((np.mean(scores > own) + np.mean(scores >= own)) / 2)


def warn_of_stranger(encoder, name: str, query_encoder: str | os.PathLike, texts: Sequence[str]) -> None:
    """Log a warning if a passage encoder does not go with the query encoder of an index.

    Each text, encoded as a query, should be nearer to itself as a passage than to most of the others.

    Args:
        encoder: the passages', a ``SentenceTransformer``, called ``name``.
        query_encoder: folder of the index's query encoder.
        texts: some passages.
    """
    texts = list(dict.fromkeys(text for text in texts if text.strip()))
    if len(texts) < FEWEST:
        return
    queries, passages = embed_queries(load_text_encoder(query_encoder), texts), embed_passages(encoder, texts)
    before = share_before(queries, passages, passages)
    if before > MOST_BEFORE:
        logger.warning(
            "to the query encoder of the index %.0f%% of %d passages are nearer to a passage's text than that passage, "
            "encoded by %s (chance is 50%%): is it the encoder that made the documents of the index?",
            100 * before,
            len(texts),
            name,
        )
