"""Figures 1 and 4 to 6: effectiveness against size, memory and speed. Up is better; in 4 and 5 so is right."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from jpq_pyserini.errors import JPQError
from jpq_pyserini.eval.figures import style
from jpq_pyserini.eval.figures.labels import Label, place
from jpq_pyserini.eval.figures.points import Point


class Scale(NamedTuple):
    """What the x axis shows.

    Attributes:
        label: words and unit.
        of: a point's number on it, positive; :class:`JPQError` if its facts do not tell.
        inverted: small numbers are on the right.
        each: every point gets its title; else every series its name.
    """

    label: str
    of: Callable[[Point], float]
    inverted: bool = False
    each: bool = False


class Placed(NamedTuple):
    """A point and its number on the x axis."""

    x: float
    point: Point


def size(points: Sequence[Point], *, total: bool = False) -> Scale:
    """Figures 1 and 6: bytes a document; with ``total`` MB or GB (10⁶, 10⁹ bytes) of the whole index."""
    if not total:
        return Scale("index size, bytes a document", _bytes, each=True)
    largest = max(_bytes(point) * point.fact("documents") for point in points)
    unit, name = (1e9, "GB") if largest >= 1e9 else (1e6, "MB")
    return Scale(f"index size, {name}", lambda point: _bytes(point) * point.fact("documents") / unit, each=True)


def memory(points: Sequence[Point], *, uncompressed: str | None = None) -> Scale:
    """Figure 4: compression ratio against the point called ``uncompressed``; without one, bytes a document."""
    if uncompressed is None:
        return Scale("index size, bytes a document (smaller to the right)", _bytes, inverted=True)
    base = _bytes(_named(points, uncompressed))
    return Scale(f"compression ratio ({uncompressed} = 1)", lambda point: base / _bytes(point))


def speed(points: Sequence[Point], *, uncompressed: str | None = None, with_encoding: bool = False) -> Scale:
    """Figure 5: speed-up against the point called ``uncompressed``; without one, queries a second."""

    def milliseconds(point: Point) -> float:
        return point.fact("ms_per_query") + (point.fact("encode_ms_per_query") if with_encoding else 0)

    threads = {point.facts.threads: point.title for point in points if point.facts.threads is not None}
    if len(threads) > 1:
        told = ", ".join(f"{threads[number]} with {number}" for number in sorted(threads))
        raise JPQError(f"times of one figure must be with the same number of threads: {told}: measure them alike")
    what = "with query encoding" if with_encoding else "search alone"
    if uncompressed is None:
        return Scale(f"queries a second, {what}", lambda point: 1000 / milliseconds(point))
    base = milliseconds(_named(points, uncompressed))
    return Scale(f"speed-up ({uncompressed} = 1), {what}", lambda point: base / milliseconds(point))


def draw(points: Sequence[Point], measures: Sequence[str], scale: Scale, *, width: float = style.COLUMN_CM):
    """Draw one panel a measure.

    The user's runs of one group are joined by a line; published points stand alone and hollow.

    Returns:
        the matplotlib figure, and what was drawn as a list of dicts in the order of ``points``.

    Raises:
        JPQError: a fact is missing.
    """
    placed = [Placed(scale.of(point), point) for point in points]
    series: dict[str, list[Placed]] = {}
    for each in sorted(placed, key=lambda each: each.x):
        series.setdefault(each.point.series, []).append(each)
    series = {point.series: series[point.series] for point in points}  # in the order given
    figure, grid = style.new_figure(len(measures), width=width, sharex=True)
    panels = dict(zip(measures, grid[:, 0], strict=True))
    for measure, axes in panels.items():
        style.effectiveness_axis(axes, measure)
        for number, (name, members) in enumerate(series.items()):
            _draw_series(axes, measure, name, style.look(number), members)
    style.log_axis(axes, "x", [each.x for each in placed], inverted=scale.inverted)
    axes.set_xlabel(scale.label)
    _name(figure, panels, series, scale.each)
    return figure, [_record(each) for each in placed]


def _draw_series(axes, measure: str, name: str, look: style.Look, members: Sequence[Placed]) -> None:
    for published in (True, False):
        line = [(each.x, each.point.values[measure]) for each in members if each.point.published is published]
        if line:
            hollow = style.HOLLOW | {"linestyle": "none"} if published else {}
            (drawn,) = axes.plot(*zip(*line, strict=True), **look._asdict() | hollow, zorder=3)
            style.tag(drawn, "published" if published else "run", name, measure)


def _name(figure, panels: Mapping, series: Mapping[str, Sequence[Placed]], each: bool) -> None:
    """Write names beside the points, and a legend where that does not say everything."""
    by_name = {name: _handle(style.look(number), name, of) for number, (name, of) in enumerate(series.items())}
    kinds = {member.point.published for members in series.values() for member in members}
    note = [style.handle(style.Look(style.GREY, "o", "none"), "hollow: published", hollow=True)] * (len(kinds) > 1)
    groups = [by_name[name] for name, of in series.items() if each and any(m.point.title != name for m in of)] + note
    everything = [*by_name.values(), *note]
    scattered = not each and any(sum(m.point.published for m in of) > 1 for of in series.values())
    for handles in (
        (everything,) if scattered else (groups, everything)
    ):  # one name cannot stand for points without a line
        legend = style.legend_below(figure, handles)
        labels = [_label(axes, measure, series, each) for measure, axes in panels.items()]
        complete = not scattered and all(len(written) == wanted for written, wanted in labels)
        if complete or (handles == everything and each):
            return  # beside a legend of everything, titles that have room are a help
        for written, _ in labels:
            for text in written:
                text.remove()
        if handles != everything and legend is not None:
            legend.remove()


def _label(axes, measure: str, series: Mapping[str, Sequence[Placed]], each: bool) -> tuple[list, int]:
    """Return the labels that had room, and how many were to be written: the user's runs first, then the best."""

    def spot(member: Placed) -> tuple[float, float]:
        return member.x, member.point.values[measure]

    members = [member for of in series.values() for member in of]
    members.sort(key=lambda member: (member.point.published, -member.point.values[measure]))
    if each:
        labels = [Label(member.point.title, [spot(member)]) for member in members]
    else:
        labels = [Label(name, [spot(member) for member in members if member in of]) for name, of in series.items()]
    lines = [[spot(member) for member in of if not member.point.published] for of in series.values()]
    return place(axes, labels, list(map(spot, members)), lines), len(labels)


def _handle(look: style.Look, name: str, members: Sequence[Placed]):
    own = sum(not member.point.published for member in members)
    return style.handle(look if own > 1 else look._replace(linestyle="none"), name, hollow=not own)


def _bytes(point: Point) -> float:
    return point.fact("bytes_per_document")


def _named(points: Sequence[Point], title: str) -> Point:
    for point in points:
        if point.title == title:
            return point
    known = ", ".join(point.title for point in points)
    raise JPQError(f"--uncompressed {title}: no point of that name, there are {known}")


def _record(each: Placed) -> dict:
    point = each.point
    origin = {"published": True, "source": point.facts.source} if point.published else {"run": point.run}
    return {"title": point.title, "group": point.facts.group, "x": each.x, "values": dict(point.values), **origin}
