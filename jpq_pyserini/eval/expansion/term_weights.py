"""Term weights that DeepCT and HDCT predicted, as term frequencies for BM25.

The authors' predictions (``test_results.tsv``) have a line a passage of ``word-piece weight`` columns, tabs between,
without ids: they follow the order of the passages. How weights become frequencies, and passages documents, is that of
``scripts/bert_term_sample_to_json.py`` and ``HDCT/passage2doc_bert_term_sample_to_json.py`` of github.com/AdeDZY/DeepCT
(Dai and Callan, arXiv:1910.10687, equation 4, and The Web Conference 2020).
"""

import itertools
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from jpq_pyserini.data.lines import text_lines
from jpq_pyserini.errors import JPQError
from jpq_pyserini.json_text import parse_json

P = TypeVar("P")
_NO_WORDS = ("[CLS]", "[SEP]", "[PAD]")

#: How HDCT makes a document's frequency of its passages': from (frequency, passage number from 1) and their count.
_LONGEST = 1_000_000  # words that a passage may become
AGGREGATES: dict[str, Callable[[Sequence[tuple[int, int]], int], float]] = {
    "avg": lambda found, passages: sum(tf for tf, _ in found) / passages,
    "sum": lambda found, _: sum(tf for tf, _ in found),
    "max": lambda found, _: max(tf for tf, _ in found),
    "position_decay_avg": lambda found, passages: (
        sum(tf / at for tf, at in found) / sum(1 / at for at in range(1, passages + 1))
    ),
    "position_decay_sum": lambda found, _: sum(tf / at for tf, at in found),
}


def word_weights(line: str, place: str) -> list[tuple[str, float]]:
    """Return words and weights of one line; a word has the weight of its first piece.

    >>> word_weights("[CLS] 0.0\\tob 0.5\\t##lite 0.1\\tthe -0.01\\t[SEP] -0.0", "here")
    [('oblite', 0.5), ('the', -0.01)]
    """
    words: list[tuple[str, float]] = []
    for cell in line.split("\t") if line.strip() else ():
        piece, _, number = cell.strip().rpartition(" ")
        try:
            weight = float(number)
        except ValueError:
            weight = math.nan
        piece = piece.strip()
        if not piece or not math.isfinite(weight) or (piece.startswith("##") and not words):
            raise JPQError(f"{place}: {cell[:40]!r} is no word piece with a weight: lines are 'piece 0.1<TAB>##of 0'")
        if piece.startswith("##"):
            words[-1] = (words[-1][0] + piece[2:], words[-1][1])
        else:
            words.append((piece, weight))
    return [(word, weight) for word, weight in words if word not in _NO_WORDS]


def frequencies(words: Iterable[tuple[str, float]], scale: float = 100, *, square_root: bool = False) -> dict[str, int]:
    """Return word to frequency: weight times ``scale``, rounded; of equal words the largest.

    Weights below 1/scale are dropped (``square_root``: √weight times scale, dropped when it rounds to 0).
    """
    found: dict[str, int] = {}
    for word, weight in words:
        scaled = scale * (math.sqrt(max(weight, 0.0)) if square_root else weight)
        count = round(scaled) if square_root or scaled >= 1 else 0
        if count:
            found[word] = max(count, found.get(word, 0))
    return found


def weighted_passages(
    passages: Iterable[P], files: Sequence[str | os.PathLike], scale: float, *, square_root: bool
) -> Iterator[tuple[P, dict[str, int]]]:
    """Yield passages (docids, or whatever stands for them) with their frequencies: DeepCT.

    Raises:
        JPQError: a bad line, or more or fewer lines than passages.
    """
    lines = ((f"{file}:{number}", line) for file in files for number, line in text_lines(file))
    place = os.fspath(files[0])
    for passage in passages:
        place, line = next(lines, (place, None))
        if line is None:
            raise JPQError(f"{place} is the last line of weights, but passage {passage!r} is next: give all files")
        counts = frequencies(word_weights(line, place), scale, square_root=square_root)
        if sum(counts.values()) > _LONGEST:
            raise JPQError(f"{place}: weights that repeat words more than {_LONGEST:,} times: give a smaller --scale")
        yield passage, counts
    if beyond := next(lines, None):
        raise JPQError(f"{beyond[0]}: more lines than passages: give the collection that the weights were made from")


def weighted_documents(
    passages: str | os.PathLike, files: Sequence[str | os.PathLike], scale: float, aggregate: str
) -> Iterator[tuple[dict[str, str], dict[str, int]]]:
    """Yield documents and their frequencies (HDCT, √weight) from those of their passages.

    Args:
        passages: JSON lines ``{"id": "D12_0", "title": …, "url": …}``, the passages of a document one after another;
            the docid is what stands before the last underscore.
        files: the lines of weights, in the same order.
        aggregate: of :data:`AGGREGATES`. Sums are cut to integers, as the authors do.

    Yields:
        ``{"id": …, "title": …, "url": …}`` (the latter two where the first passage has them) and frequencies.
    """
    records = (_passage(line, f"{passages}:{number}") for number, line in text_lines(passages))
    weighted = weighted_passages(records, files, scale, square_root=True)
    for docid, group in itertools.groupby(weighted, lambda item: _docid(item[0]["id"])):
        found: dict[str, list[tuple[int, int]]] = {}
        document, count = {"id": docid}, 0
        for count, (record, counts) in enumerate(group, 1):
            if count == 1:
                document |= {name: record[name] for name in ("title", "url") if name in record}
            for word, frequency in counts.items():
                found.setdefault(word, []).append((frequency, count))
        sums = {word: int(AGGREGATES[aggregate](each, count)) for word, each in found.items()}
        yield document, {word: frequency for word, frequency in sums.items() if frequency}


def repeated(counts: Mapping[str, int]) -> str:
    """Return a text in which each word stands as often as it counts, which is how an indexer is told a frequency."""
    return " ".join(" ".join([word] * count) for word, count in counts.items())


def _docid(passage: str) -> str:
    return passage.rpartition("_")[0] or passage


def _passage(line: str, place: str) -> dict[str, str]:
    try:
        record = parse_json(line)
    except ValueError:
        record = None
    if not isinstance(record, dict) or not isinstance(record.get("id"), str) or not record["id"]:
        raise JPQError(f'{place}: {line[:60]!r} is no passage: lines are {{"id": "D12_0", "title": …, "url": …}}')
    return record
