"""The plots of the page: effectiveness against size and time, and differences query by query, as SVG for inlining.

They are drawn as the figures of ``jpq_pyserini.eval.figures`` are.
"""

import io
import re
from typing import Any

from jpq_pyserini.eval.comparison import Comparison
from jpq_pyserini.eval.figures import style, tradeoff
from jpq_pyserini.eval.figures.points import Point

_WIDTH_CM = 12.0
_POINTS = 400  # of a line of differences
_INK = "#010203"  # stands for the page's own colour of text, see _inline
_OF_THE_PAGE: dict[str, Any] = dict.fromkeys(
    ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), _INK
)
_OF_THE_PAGE |= {"axes.facecolor": "none", "grid.color": _INK, "grid.alpha": 0.25}
_OF_THE_PAGE |= {"svg.fonttype": "none"}  # text as text


def plots(comparison: Comparison) -> list[tuple[str, str]]:
    """Return (caption, SVG) of each plot that there is data for.

    Raises:
        ImportError: matplotlib is not installed; Pyserini brings it.
    """
    import matplotlib

    drawn = []
    measure = comparison.measures[0]
    with style.in_print():
        matplotlib.rcParams.update(_OF_THE_PAGE)
        for fact, label in (("bytes_per_document", "bytes a document"), ("ms_per_query", "milliseconds a query")):
            if (figure := _trade_off(comparison, fact, label)) is not None:
                drawn.append((f"{measure} against {label}", _svg(figure)))
        if comparison.against is not None and len(comparison.values) > 1:
            caption = f"{measure}: difference to {comparison.against} on each query, ordered for each run by itself"
            drawn.append((caption, _svg(_differences(comparison))))
    return [(caption, _inline(svg, f"plot{number}-")) for number, (caption, svg) in enumerate(drawn, 1)]


def _trade_off(comparison: Comparison, fact: str, label: str):
    """Return the figure of the runs that have the fact; None if they are fewer than two."""
    points = [
        Point(run, means, comparison.facts[run], "", run=run)
        for run, means in comparison.means().items()
        if (getattr(comparison.facts.get(run), fact, None) or 0) > 0
    ]
    if len(points) < 2:
        return None
    scale = tradeoff.Scale(label, lambda point: point.fact(fact), each=True)
    return tradeoff.draw(points, comparison.measures[:1], scale, width=_WIDTH_CM)[0]


def _differences(comparison: Comparison):
    measure, count = comparison.measures[0], comparison.queries
    figure, ((axes,),) = style.new_figure(width=_WIDTH_CM)
    style.effectiveness_axis(axes, f"difference in {measure}")
    axes.set_xlabel("share of the queries, %")
    axes.set_xlim(0, 100)
    axes.axhline(0, color=_INK, linewidth=0.8)
    base = comparison.values[str(comparison.against)][measure]
    points = min(count, _POINTS)
    picked = [round(i * (count - 1) / max(points - 1, 1)) for i in range(points)]
    handles = []
    for number, run in enumerate(comparison.values):
        if run == comparison.against:
            continue
        values = comparison.values[run][measure]
        differences = sorted((values[qid] - base[qid] for qid in base), reverse=True)
        look = style.look(number)._replace(marker="")
        xs, ys = [100 * (i + 0.5) / count for i in picked], [differences[i] for i in picked]
        axes.plot(xs, ys, **look._asdict(), drawstyle="steps-mid")
        handles.append(style.handle(look, run))
    style.legend_below(figure, handles)
    return figure


def _svg(figure) -> str:
    from matplotlib.lines import Line2D

    for line in figure.findobj(Line2D):
        if line.get_color() == "#000000":
            line.set_color(_INK)  # or it is not seen on a dark page
    file = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(file, format="svg", transparent=True, metadata=nothing)
    return file.getvalue()


def _inline(svg: str, prefix: str) -> str:
    """Return the ``<svg>`` element alone, in the page's colour of text, with ids that no other plot has."""
    svg = svg[svg.index("<svg") :].replace(_INK, "currentColor")
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(\bid="|xlink:href="#|url\(#)', rf"\g<1>{prefix}", svg)
    opening, rest = svg.split(">", 1)
    return re.sub(r' (width|height)="[^"]*"', "", opening) + ">" + rest  # as wide as its place; viewBox keeps the shape
