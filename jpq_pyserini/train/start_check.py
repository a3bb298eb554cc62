"""What a user should know before hours of training: does this encoder go with these embeddings, and fit the queries?"""

import logging
from collections.abc import Sequence

import numpy as np
import torch

from jpq_pyserini.data.flat import Embeddings
from jpq_pyserini.data.topics import TrainingQuery
from jpq_pyserini.encoders.kinship import FEWEST, MOST_BEFORE, share_before
from jpq_pyserini.encoders.limits import LOOKED_AT, QUERY, CutTexts
from jpq_pyserini.encoders.text_encoder import QUERY_PROMPT, embed_queries, embed_with_gradients, query_prompt

logger = logging.getLogger(__name__)

_QUERIES, _PASSAGES = 200, 1000  # looked at
_RATIO = 2.0  # of norms
_MOVED = 0.01  # of a vector's length, by what is encoded beside it


def warn_of_cut(encoder, training: Sequence[TrainingQuery], dev: Sequence[TrainingQuery], limit: int) -> None:
    """Log a warning, once, if more than a few per cent of the training queries are cut, or else of the dev queries.

    Args:
        encoder: a ``SentenceTransformer``, with the limit of its queries.
        training, dev: the queries; a sample of each is looked at.
        limit: what ``--max-query-length`` says, the prompt not counted.
    """
    remedy = f"raise --max-query-length, which is {limit}"
    for kind, queries in (("training queries", training), ("dev queries", dev)):
        chosen = np.random.default_rng(0).permutation(len(queries))[:LOOKED_AT]
        texts = [queries[i].text for i in chosen]
        if CutTexts(encoder, QUERY, kind, remedy).count(texts, query_prompt(encoder)):
            return


def warn_of_misfits(encoder, flat: Embeddings, queries: Sequence[TrainingQuery]) -> None:
    """Log a warning for each sign that the encoder, the embeddings and the queries are not of one make.

    Args:
        encoder: a ``SentenceTransformer``, with the limit of its queries.
        flat: the embeddings.
        queries: the training queries, else the dev queries; a sample of them is encoded.
    """
    if not queries:
        return
    chosen = np.random.default_rng(0).permutation(len(queries))
    default = encoder.default_prompt_name
    unused = (encoder.prompts or {}).get(default or "")
    if unused and default != QUERY_PROMPT and not query_prompt(encoder):
        logger.warning(
            "the encoder has the prompt %r (%s), but none for queries: they get none; --query-prefix sets one",
            unused,
            default,
        )
    sample = [queries[i] for i in chosen[:_QUERIES]]
    _warn_of_padding(encoder, sorted((query.text for query in sample), key=len))
    vectors, passages = embed_queries(encoder, [query.text for query in sample]), flat.sample(_PASSAGES, seed=0)
    _warn_of_norms(vectors, passages)
    ranked = [(vector, query.rows[0]) for vector, query in zip(vectors, sample, strict=True) if query.rows]
    if len(ranked) >= FEWEST:
        relevant = np.stack([flat.embeddings[row] for _, row in ranked])
        before = share_before(np.stack([vector for vector, _ in ranked]), relevant, passages)
        if before > MOST_BEFORE:
            logger.warning(
                "to this encoder %.0f%% of all passages are nearer to a query than its relevant one (%d training "
                "queries; chance is 50%%): is it the encoder that made the embeddings, with its pooling and prompts?",
                100 * before,
                len(ranked),
            )


def _warn_of_padding(encoder, by_length: Sequence[str]) -> None:
    """Warn if the shortest text has another vector beside the longest than alone, as convolutions over padding give."""
    with torch.inference_mode():
        alone = embed_with_gradients(encoder.eval(), by_length[:1])
        beside = embed_with_gradients(encoder, [by_length[0], by_length[-1]])[:1]
    moved = float(torch.linalg.norm(beside - alone) / torch.linalg.norm(alone).clamp_min(1e-30))
    if moved > _MOVED:
        logger.warning(
            "the encoder gives a text another vector beside longer ones than alone (%.0f%% of its length away): codes "
            "and hits depend a little on what is encoded together",
            100 * moved,
        )


def _warn_of_norms(queries: np.ndarray, passages: np.ndarray) -> None:
    with np.errstate(over="ignore"):
        of_queries, of_passages = (np.linalg.norm(vectors, axis=1) for vectors in (queries, passages))
    mean_query, mean_passage = of_queries.mean(), of_passages.mean()
    ratio = max(mean_query, mean_passage) / max(min(mean_query, mean_passage), 1e-30)
    normalised = [bool(np.abs(norms - 1).max() < 1e-2) for norms in (of_queries, of_passages)]
    if ratio > _RATIO or normalised[0] != normalised[1]:
        logger.warning(
            "the encoder's vectors have a mean length of %.3g, the embeddings of %.3g%s: were they made by this "
            "encoder, and normalised alike?",
            mean_query,
            mean_passage,
            "" if normalised[0] == normalised[1] else f"; only the {'former' if normalised[0] else 'latter'} are all 1",
        )
