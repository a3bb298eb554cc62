"""The points of the paper's tables 1 to 5, from their one transcription in ``eval/published``."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from jpq_pyserini.eval.facts import Facts
from jpq_pyserini.lazy import Later

if TYPE_CHECKING:
    from jpq_pyserini.eval.reproduce.published import Published

published = Later("jpq_pyserini.eval.reproduce.published")

_PAPER = "jpq-cikm2021"
_GIB = 1 << 30
_FLAT_BYTES = 4.0 * 768  # a float32 vector of the paper's models, which table 5 rounds to "30x" of JPQ
_RELATIVE = re.compile(r"([+-]?\d+)%")
_TIMES = re.compile(r"(\d+)x")
_GROUPS = {
    "Non-exhaust. ANNS": "non-exhaustive ANNS",
    "Compressed ANNS": "compressed ANNS",
    "Ours": "JPQ",
    "Traditional BoW": "BoW",
    "Augmented BoW": "augmented BoW",
    "Brute-force DR": "brute-force DR",
    "Late-Interaction": "late interaction",
}


class _Collection(NamedTuple):
    """``of`` and ``topic_key`` name its columns in the tables; systems ``left_out`` are there under another name."""

    of: str
    topic_key: str
    documents: int
    left_out: tuple[str, ...] = ()


COLLECTIONS = {
    "marco-passage": _Collection("passage", "msmarco-v1-passage.dev", 8_841_823, ("ANCE MaxP",)),
    "marco-doc": _Collection("document", "msmarco-doc-dev", 3_213_835),
}


def points_of_paper(name: str) -> list[tuple[Facts, dict[str, float]]]:
    """Return the facts and values (measure to mean) of every system of which the tables print the index size.

    Numbers relative to JPQ (table 5) are turned into absolute ones, unless another table has those.

    Args:
        name: a key of :data:`COLLECTIONS`.
    """
    collection = COLLECTIONS[name]
    numbers_of: dict[str, list[Published]] = {}
    sized: dict[str, None] = {}  # in the order of tables 1, 3 and 5
    for number in published.read_published(_PAPER):
        if collection.topic_key == number.topic_key or collection.of == number.of:
            if number.fact == "index GB":
                sized[number.system] = None
            numbers_of.setdefault(number.system, []).append(number)
    points = []
    for title in (title for title in sized if title not in collection.left_out):
        numbers = numbers_of[title]
        if (size := _bytes(numbers, numbers_of["JPQ"], collection.documents)) is None:
            continue
        values = {number.measure: _value(number, numbers, numbers_of["JPQ"]) for number in numbers if number.measure}
        seconds = _stated(numbers, "CPU s")
        used = sorted({number.source for number in numbers if number.text != "n.a." and number.fact not in _UNUSED})
        facts = Facts(
            title=title,
            group=next(_GROUPS[number.group] for number in numbers if number.fact == "index GB"),
            documents=collection.documents,
            bytes_per_document=round(size, 1),
            ms_per_query=None if seconds is None else 1000 * seconds,
            threads=None if seconds is None else 1,
            source="; ".join(used),
        )
        points.append((facts, {measure: value for measure, value in values.items() if value is not None}))
    return points


_UNUSED = ("GPU s", "GPUs", "latency ms")


def _stated(numbers: "Sequence[Published]", name: str | None) -> float | None:
    """Return the absolute number of a fact or measure, if a table prints it."""
    return next((number.value for number in numbers if name in (number.fact, number.measure) and number.value), None)


def _value(number: "Published", numbers: "Sequence[Published]", jpq: "Sequence[Published]") -> float | None:
    """Return the value of a measure; that of JPQ, changed by so many per cent, where only this is printed."""
    stated, relative = _stated(numbers, number.measure), _RELATIVE.fullmatch(number.text)
    base = _stated(jpq, number.measure)
    if stated is None and relative and base is not None:
        return round(base * (1 + int(relative[1]) / 100), 3)
    return stated


def _bytes(numbers: "Sequence[Published]", jpq: "Sequence[Published]", documents: int) -> float | None:
    """Return the bytes of the index per document."""
    if (stated := _stated(numbers, "index GB")) is not None:
        return stated * _GIB / documents
    times = next((found for number in numbers if (found := _TIMES.fullmatch(number.text))), None)
    if times is None or times[0] == "30x":
        return None if times is None else _FLAT_BYTES
    base = _bytes(jpq, jpq, documents)
    return None if base is None else int(times[1]) * base
