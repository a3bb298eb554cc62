"""Words beside points, put where they cover nothing."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

_NEAR, _FAR = 4.0, 10.0  # points (1/72 inch) from the middle of a marker to its label; the far ones get a stroke to it
_MARKER = 2.6  # half a marker's side
# x, y, horizontal and vertical alignment, the best first.
_AROUND = (
    (1, 0, "left", "center_baseline"),
    (-1, 0, "right", "center_baseline"),
    (0, 1, "center", "bottom"),
    (0, -1, "center", "top"),
    (0.7, 0.7, "left", "bottom"),
    (0.7, -0.7, "left", "top"),
    (-0.7, 0.7, "right", "bottom"),
    (-0.7, -0.7, "right", "top"),
)


class Label(NamedTuple):
    """Words for one place: any of ``anchors``, the first that has room is taken."""

    text: str
    anchors: Sequence[tuple[float, float]]


def place(axes, labels: Sequence[Label], points: Sequence[tuple[float, float]], lines: Sequence[Sequence]) -> list:
    """Write each label where it covers no other, no point and no line; those without such a place are left out.

    Args:
        axes: with final limits; the figure's layout is settled here.
        labels: what to write, the most important first.
        points: (x, y) of all markers.
        lines: the (x, y) along each line.

    Returns:
        what was written, matplotlib's annotations.
    """
    from matplotlib.path import Path
    from matplotlib.transforms import Bbox

    figure = axes.figure
    figure.draw_without_rendering()
    side = 2 * _MARKER * figure.dpi / 72
    corners = (axes.transData.transform(point) - side / 2 for point in points)
    taken = [Bbox.from_bounds(x, y, side, side) for x, y in corners]
    strokes = [Path(axes.transData.transform(line)) for line in lines if len(line) > 1]
    written = []
    for label in labels:
        if (found := _with_room(axes, label, taken, strokes)) is not None:
            written.append(found)
            taken.append(_words(found))
    return written


def _with_room(axes, label: Label, taken: list, strokes: list):
    """Return the label, written at the first place that has room for it, or None."""
    for distance in (_NEAR, _FAR):
        for anchor in label.anchors:
            for side in _AROUND:
                text = _write(axes, label.text, anchor, side, distance)
                if _is_free(axes, text, taken, strokes):
                    return text
                text.remove()
    return None


def _write(axes, words: str, anchor: tuple[float, float], side: tuple, distance: float):
    x, y, across, upright = side
    to_point = {
        "arrowstyle": "-",
        "linewidth": 0.4,
        "color": "0.4",
        "shrinkA": 0.5,
        "shrinkB": _MARKER,
        "relpos": ({"left": 0, "center": 0.5, "right": 1}[across], {"bottom": 0, "top": 1}.get(upright, 0.5)),
    }
    text = axes.annotate(
        words,
        anchor,
        (x * distance, y * distance),
        textcoords="offset points",
        ha=across,
        va=upright,
        fontsize=6.5,
        zorder=4,
        arrowprops=to_point if distance == _FAR else None,
    )
    text.set_in_layout(False)
    return text


def _is_free(axes, text, taken: list, strokes: list) -> bool:
    """Tell whether the words cover nothing, and the stroke from them to their point, if any, nothing but that point."""
    from matplotlib.path import Path

    box, inside = _words(text), axes.get_window_extent()
    if box.x0 < inside.x0 or box.x1 > inside.x1 or box.y0 < inside.y0 or box.y1 > inside.y1:
        return False
    if box.count_overlaps(taken) or any(stroke.intersects_bbox(box, filled=False) for stroke in strokes):
        return False
    if text.arrow_patch is None:
        return True
    point = axes.transData.transform(text.xy)
    to_point = Path([point, np.multiply(text.xyann, axes.figure.dpi / 72) + point])
    others = [each for each in taken if abs(each.get_points().mean(0) - point).max() > 0.5]
    return not any(to_point.intersects_bbox(each) for each in others)


def _words(annotation):
    """Return the box of the words, without the stroke to the point."""
    from matplotlib.text import Text

    annotation.get_window_extent()  # finds its position first, which Text's does not
    return Text.get_window_extent(annotation)
