"""Queries without a query log: titles and first sentences of the collection itself."""

import re
from collections.abc import Iterator

from jpq_pyserini.data.corpus import Corpus

_END = re.compile(r"(?<=[.!?])\s+(?=\S)")
_LEAST, _MOST = 2, 40  # words: shorter ones say little, longer ones are no sentences


def queries_of(corpus: Corpus) -> Iterator[str]:
    """Yield the title (the first of several lines) and the first sentence of each document, each text once."""
    seen = set()
    for _, text in corpus:
        lines = text.strip().split("\n", 1)
        title, body = lines[0] if len(lines) > 1 else "", lines[-1]
        for found in (title, _END.split(body.strip(), 1)[0]):
            found = " ".join(found.split())
            if _LEAST <= len(found.split()) <= _MOST and found not in seen:
                seen.add(found)
                yield found
