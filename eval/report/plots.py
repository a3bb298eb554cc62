"""The plots of the page: effectiveness against size and time, and differences query by query, as SVG for inlining."""

import io
import re
from collections.abc import Iterable

from jpq_pyserini.eval.report.data import Comparison

#: Okabe and Ito's colours, which the colour-blind can tell apart and which show on light and on dark.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#888888")
_MARKERS = "osD^vPX"
_INK = "#010203"  # stands for the page's own colour of text, see _inline
_POINTS = 400  # of a line in a plot 640 pixels wide


def plots(comparison: Comparison) -> list[tuple[str, str]]:
    """Return (caption, SVG) of each plot that there is data for; matplotlib comes with Pyserini."""
    drawn = []
    measure = comparison.measures[0]
    for fact, label in (("bytes_per_document", "bytes a document"), ("ms_per_query", "milliseconds a query")):
        if sum(_fact(comparison, run, fact) is not None for run in comparison.values) > 1:
            drawn.append((f"{measure} against {label}", _trade_off(comparison, fact, label)))
    if comparison.against is not None and len(comparison.values) > 1:
        caption = f"{measure}: difference to {comparison.against} on each query, ordered for each run by itself"
        drawn.append((caption, _differences(comparison)))
    return [(caption, _inline(svg, f"plot{number}-")) for number, (caption, svg) in enumerate(drawn, 1)]


def _fact(comparison: Comparison, run: str, fact: str) -> float | None:
    return getattr(comparison.facts.get(run), fact, None)


def _trade_off(comparison: Comparison, fact: str, label: str) -> str:
    figure, axes = _axes(label, comparison.measures[0])
    styles = _styles(dict.fromkeys(_group(comparison, run) for run in comparison.values))
    groups: dict[str, list[tuple[float, float]]] = {}
    for run, means in comparison.means().items():
        x = _fact(comparison, run, fact)
        if x is not None and x > 0:
            groups.setdefault(_group(comparison, run), []).append((x, means[comparison.measures[0]]))
    handles = []
    for name, points in groups.items():
        marker, colour = styles[name]
        handles += axes.plot(*zip(*sorted(points), strict=True), marker=marker, color=colour)
    _plain_logarithmic(axes)
    _legend(axes, handles, groups)
    return _svg(figure)


def _differences(comparison: Comparison) -> str:
    figure, axes = _axes("share of the queries, %", f"difference in {comparison.measures[0]}")
    measure, count = comparison.measures[0], comparison.queries
    base = comparison.values[comparison.against][measure]
    points = min(count, _POINTS)
    picked = [round(i * (count - 1) / max(points - 1, 1)) for i in range(points)]
    axes.axhline(0, color=_INK, linewidth=0.8)
    styles = _styles(comparison.values)
    others = [run for run in comparison.values if run != comparison.against]
    handles = []
    for run in others:
        values = comparison.values[run][measure]
        differences = sorted((values[qid] - base[qid] for qid in base), reverse=True)
        xs = [100 * (i + 0.5) / count for i in picked]
        handles += axes.plot(xs, [differences[i] for i in picked], color=styles[run][1], drawstyle="steps-mid")
    axes.set_xlim(0, 100)
    _legend(axes, handles, others)
    return _svg(figure)


def _group(comparison: Comparison, run: str) -> str:
    return getattr(comparison.facts.get(run), "group", None) or run


def _styles(names: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Return name to (marker, colour), both different from one to the next, 49 pairs before one comes again."""
    count = len(_COLOURS)
    return {name: (_MARKERS[i % count], _COLOURS[(i + i // count) % count]) for i, name in enumerate(names)}


def _plain_logarithmic(axes) -> None:
    """Make the x axis logarithmic, its ticks plain numbers at 1, 2, 5, 10, 20, …"""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.xaxis.set_minor_locator(NullLocator())


def _axes(x: str, y: str):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.add_subplot()
    for axis, label in ((axes.xaxis, x), (axes.yaxis, y)):
        axis.set_label_text(label, color=_INK, parse_math=False)  # names of measures and runs are no formulas
    axes.tick_params(colors=_INK, which="both")
    for spine in axes.spines.values():
        spine.set_color(_INK)
    axes.set_facecolor("none")
    axes.grid(alpha=0.25, color=_INK)
    return figure, axes


def _legend(axes, handles, names) -> None:
    legend = axes.legend(handles, names, fontsize="small", framealpha=0, labelcolor=_INK)
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set_parse_math(False)
        text.set_text(name)


def _svg(figure) -> str:
    import matplotlib

    file = io.StringIO()
    settings = {"svg.fonttype": "none", "svg.hashsalt": "jpq_pyserini"}  # text as text; the same data, the same file
    with matplotlib.rc_context(settings):
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
