"""What indexes must have in common to be merged or searched as one, and what they must not: a docid."""

import bisect
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from jpq_pyserini.codec.quantizer import ProductQuantizer
from jpq_pyserini.data.docids import JoinedDocids, first_repeated
from jpq_pyserini.errors import JPQError
from jpq_pyserini.index import layouts
from jpq_pyserini.names import QUERY_ENCODER

if TYPE_CHECKING:
    from jpq_pyserini.index.collection import JPQIndex
    from jpq_pyserini.index.directory import IndexDirectory


def refuse_repeated(*parts: tuple[str, Sequence[str]]) -> None:
    """Raise :class:`JPQError` if a docid comes twice in the named parts; the message names it and both places."""
    docids = JoinedDocids([docids for _, docids in parts])
    rows = first_repeated(docids)
    if rows is None:
        return
    bounds = list(itertools.accumulate(len(docids) for _, docids in parts))
    first, again = (bisect.bisect(bounds, row) for row in rows)
    both = f"twice in {parts[again][0]}" if first == again else f"in {parts[first][0]} and again in {parts[again][0]}"
    raise JPQError(f"docid {docids[rows[1]]} is {both}: leave the second one out, codes are never replaced")


def check_shards(indexes: "Sequence[JPQIndex | IndexDirectory]", done: str = "merged") -> None:
    """Raise :class:`JPQError` unless opened indexes can be ``done``: one codec and encoder, and no docid twice."""
    if len(indexes) < 2:
        raise JPQError(f"{len(indexes)} index given to be {done}: name at least two")
    first = indexes[0]
    for other in indexes[1:]:
        difference = _codec_difference(first.codec, other.codec) or _encoder_difference(first, other)
        if difference:
            raise JPQError(
                f"{first.name} and {other.name} cannot be {done}, {difference}: only shards made with one codec and "
                "one encoder can, as `index build --like` makes them"
            )
        if first.record.layout != other.record.layout:
            raise JPQError(
                f"{first.name} has the layout {first.record.layout}, {other.name} {other.record.layout}: bring them to "
                "one with `python -m jpq_pyserini.index convert`"
            )
    refuse_repeated(*((index.name, index.docids) for index in indexes))


def whole_build(indexes: "Sequence[JPQIndex]") -> "tuple[Sequence[JPQIndex], str | None]":
    """Tell whether indexes are the shards of one ``index build``.

    Returns:
        They in the order of their numbers, and the collection that they were built of; as given and None if they are
        anything else.

    Raises:
        JPQError: they are, but one is missing or given twice.
    """
    builds = [index.record.history[0] if len(index.record.history) == 1 else {} for index in indexes]
    shards = [tuple(build.get("shard", ())) for build in builds]
    kinds = {(build.get("source"), shard[1:]) for build, shard in zip(builds, shards, strict=True)}
    if len(kinds) != 1 or len(shards[0]) != 2:
        return indexes, None
    source, count = builds[0]["source"], shards[0][1]
    found = [shard[0] for shard in shards]
    for number in range(count):
        if found.count(number) != 1:
            what = "missing" if number not in found else "given twice"
            raise JPQError(
                f"shard {number} of the {count} of {source} is {what}: name each once, as `index build --shard-id "
                f"{number} --shard-num {count}` makes it"
            )
    return sorted(indexes, key=lambda index: index.record.history[0]["shard"][0]), source


def known_lists(indexes: "Sequence[JPQIndex]") -> np.ndarray | None:
    """Return the lists of the documents of the leading indexes, as long as their lists are the first one's; or None."""
    first = indexes[0].coarse
    if first is None:
        return None
    wanted = first.centroids
    same = itertools.takewhile(
        lambda index: index.coarse is not None and np.array_equal(index.coarse.centroids, wanted), indexes
    )
    return np.concatenate([layouts.lists_of(index.faiss_index) for index in same])


def _codec_difference(first: ProductQuantizer, other: ProductQuantizer) -> str | None:
    sizes = [f"D={codec.dimension} M={codec.m} nbits={codec.nbits}" for codec in (first, other)]
    if sizes[0] != sizes[1]:
        return f"{sizes[0]} in one and {sizes[1]} in the other"
    for name in ("rotation", "assignment_centroids", "centroids"):
        mine, theirs = getattr(first, name), getattr(other, name)
        if (mine is None) != (theirs is None):
            return f"one has a {name} and the other none"
        if mine is not None and not np.array_equal(mine, theirs):
            return f"the {name.replace('_', ' ')} of their codecs differ (by up to {np.abs(mine - theirs).max():.2g})"
    if first.assignment != other.assignment:
        return f"their codes were chosen differently, by {first.assignment} and {other.assignment}"
    return None


def _encoder_difference(first: "JPQIndex | IndexDirectory", other: "JPQIndex | IndexDirectory") -> str | None:
    for name in ("pooling", "l2_norm", "max_length", "prompt"):  # the name may be another path to the same model
        mine, theirs = first.record.encoder.get(name), other.record.encoder.get(name)
        if mine != theirs and first.record.encoder and other.record.encoder:
            return f"the documents of one were encoded with {name} {mine} and of the other with {theirs}"
    if first.path is None or other.path is None:
        return None
    mine, theirs = _digests(first), _digests(other)
    differing = sorted(name for name in mine.keys() | theirs.keys() if mine.get(name) != theirs.get(name))
    return f"their query encoders differ in {differing[0]}" if differing else None


def _digests(index: "JPQIndex | IndexDirectory") -> dict[str, str]:
    """Return the digests of the query encoder's files, as the record has them."""
    recorded = index.record.sha256.items()
    return {name: digest for name, digest in recorded if name.startswith(f"{QUERY_ENCODER}/")}
