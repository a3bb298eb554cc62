"""How long a text may be for an encoder, and how many texts are longer.

A model can have a tower for queries and one for documents (sentence-transformers' ``Router``); here and in
sentence-transformers they go by the task, "query" or "document".
"""

import logging
import math
from collections.abc import Sequence
from typing import Any

from jpq_pyserini.errors import JPQError

QUERY, DOCUMENT = "query", "document"
BATCH_SIZE = 32  # passages encoded at once

logger = logging.getLogger(__name__)

LOOKED_AT = 1000  # texts
_SHARE_CUT, _FEWEST_CUT = 0.05, 3  # of them may be cut, and have to be, before anything is said


def towers(model) -> dict[str, Any]:
    """Return the module that takes the texts, by task; often the same one for both."""
    first = model[0]
    routes = getattr(first, "sub_modules", None)
    if routes is None:
        return {QUERY: first, DOCUMENT: first}
    default = first.default_route or next(iter(routes))
    return {task: routes[task if task in routes else default][0] for task in (QUERY, DOCUMENT)}


def length_limit(model, task: str) -> int | None:
    """Return the most tokens of a text, prompt and special tokens among them; None where there is no limit."""
    limit = getattr(towers(model)[task], "max_seq_length", None)
    return int(limit) if limit is not None and math.isfinite(limit) and limit < 1 << 30 else None


def set_length_limit(model, limit: int, task: str | None = None) -> None:
    """Cut texts at ``limit`` tokens, prompt and special tokens among them.

    Args:
        model: a ``SentenceTransformer``; static embeddings have no limit, and keep none.
        limit: tokens.
        task: "query" or "document"; None: both.
    """
    for name, tower in towers(model).items():
        if task in (None, name) and hasattr(tower, "model"):
            tower.max_seq_length = limit


def limit_queries(model, limit: int, prompt: str) -> int | None:
    """Let a query have ``limit`` tokens, special tokens among them, besides those of the prompt.

    Returns:
        The limit that is set, with the prompt's tokens; None where the model has no limit.

    Raises:
        JPQError: more than the model has positions, or the prompt leaves no room for a query.
    """
    tower = towers(model)[QUERY]
    if not hasattr(tower, "model"):
        return None
    positions = _positions(tower.model)
    if positions is not None and limit > positions:
        raise JPQError(f"--max-query-length {limit} is more than the encoder's {positions} positions: lower it")
    of_prompt, special = _tokens(tower, prompt), len(tower.tokenizer("", verbose=False)["input_ids"])
    total = limit + of_prompt if positions is None else min(limit + of_prompt, positions)
    if total - of_prompt - special < 1:
        raise JPQError(f"the prompt {prompt[:60]!r} has {of_prompt} tokens, the encoder takes {total}: shorten it")
    set_length_limit(model, total, QUERY)
    return total


def limit_text(model, limit: int) -> None:
    """Cut queries at ``limit`` tokens, prompt and special tokens among them.

    Raises:
        JPQError: more than the model has positions.
    """
    tower = towers(model)[QUERY]
    positions = _positions(tower.model) if hasattr(tower, "model") else None
    if positions is not None and limit > positions:
        raise JPQError(f"--max-length {limit} is more than the encoder's {positions} positions: lower it")
    set_length_limit(model, limit, QUERY)


def replace_prompt(model, old: str, new: str) -> None:
    """Move the limit of queries, so that a query may be as long with its new prompt as it was with the old one."""
    tower, limit = towers(model)[QUERY], length_limit(model, QUERY)
    if limit is None or not hasattr(tower, "model"):
        return
    total = limit - _tokens(tower, old) + _tokens(tower, new)
    set_length_limit(model, min(total, _positions(tower.model) or total), QUERY)


class CutTexts:
    """Says once that more than a few per cent of an encoder's texts are longer than it takes.

    Args:
        model: a ``SentenceTransformer``.
        task: "query" or "document".
        kind: what the texts are, for the message.
        remedy: how to have less of them cut.
    """

    def __init__(self, model, task: str, kind: str, remedy: str):
        self._model, self._task, self._kind, self._remedy = model, task, kind, remedy
        self._seen = self._cut = self._longest = 0
        self._said = False

    def count(self, texts: Sequence[str], prompt: str) -> bool:
        """Look at some more texts, of which the first thousand count; tells whether too many are cut."""
        texts = texts[: LOOKED_AT - self._seen]
        if self._said or len(texts) == 0:
            return self._said
        tower, limit = towers(self._model)[self._task], length_limit(self._model, self._task)
        if limit is None or not hasattr(tower, "model"):
            return False
        tokens = tower.tokenizer([prompt + text for text in texts], truncation=False, verbose=False)["input_ids"]
        lengths = [len(each) for each in tokens]
        self._seen += len(lengths)
        self._cut += sum(length > limit for length in lengths)
        self._longest = max(self._longest, *lengths)
        share = self._cut / self._seen
        if share > _SHARE_CUT and self._cut >= _FEWEST_CUT:
            self._said = True
            logger.warning(
                "%.0f%% of the %s (of %d looked at) are longer than the %d tokens that the encoder takes of them, "
                "prompt included, and are cut; the longest has %d: %s",
                100 * share,
                self._kind,
                self._seen,
                limit,
                self._longest,
                self._remedy,
            )
        return self._said


def _tokens(tower, text: str) -> int:
    return len(tower.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]) if text else 0


def _positions(model) -> int | None:
    """Return how many tokens a transformer has positions for; None where positions are relative."""
    table = getattr(getattr(model, "embeddings", None), "position_embeddings", None)
    if table is not None and hasattr(table, "num_embeddings"):
        padding = table.padding_idx  # RoBERTa and its kin count from after it
        return table.num_embeddings - (0 if padding is None else padding + 1)
    said = getattr(getattr(model, "config", None), "max_position_embeddings", None)
    return said if isinstance(said, int) and said > 0 else None
