"""The one look of all figures: sizes for a printed column, colours that everyone tells apart, and how they are saved.

Colours are those of Okabe and Ito (https://jfly.uni-koeln.de/color/), without the yellow, which paper swallows. Series
differ in marker and line style as well, so that a figure reads in grey.
"""

import contextlib
import importlib
import math
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from jpq_pyserini.errors import JPQError
from jpq_pyserini.storage import new_file

COLUMN_CM = 8.5  # one column of a two-column page
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*")
LINES = ("-", "--", "-.", ":")
GREY = "0.45"
HOLLOW = {"markerfacecolor": "white", "markeredgewidth": 0.8}

_CM = 1 / 2.54
_SETTINGS = {
    "font.size": 7,
    "axes.labelsize": 7,
    "axes.titlesize": 7.5,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "legend.fontsize": 6.5,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.1,
    "lines.markersize": 4.5,
    "legend.frameon": False,
    "legend.handlelength": 2.6,
    "grid.color": "0.88",
    "grid.linewidth": 0.5,
    "text.parse_math": False,  # names of runs and measures are no formulas
    "svg.fonttype": "path",  # the same letters on every machine and in every print; the words stand beside as comments
    "svg.hashsalt": "jpq_pyserini",  # the same figure gives the same bytes
}


class Look(NamedTuple):
    """How one series is drawn: keyword arguments of ``Axes.plot``."""

    color: str
    marker: str
    linestyle: str


def look(number: int) -> Look:
    """Return the look of the series ``number``, from 0; the first 70 differ in colour or marker."""
    return Look(COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)], LINES[number % len(LINES)])


@contextlib.contextmanager
def in_print() -> Iterator[None]:
    """Draw and save in here: our settings hold, whatever the user's own matplotlibrc says.

    Raises:
        JPQError: matplotlib is not installed.
    """
    matplotlib = needed("matplotlib")
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_SETTINGS)
        yield


def needed(module: str):
    """Return the imported module; :class:`JPQError` with what to install if there is none."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = {"sklearn": "scikit-learn"}.get(module.partition(".")[0], module)
        raise JPQError(f"figures need {package} ({error}): pip install 'jpq_pyserini[figures]'") from None


def new_figure(rows: int = 1, columns: int = 1, *, width: float = COLUMN_CM, height: float = 6.0, **options):
    """Return an empty figure and its axes (rows, columns); width of all and height of one row in centimetres."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * _CM, rows * height * _CM), layout="constrained")
    figure.axes_height = rows * height * _CM  # what a legend below is added to
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def log_axis(axes, name: str, values: Sequence[float], *, inverted: bool = False) -> None:
    """Make the x or y axis logarithmic, with room around the values and few ticks in plain numbers: 1,000, not 10³."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    low, high = min(values), max(values)
    room = (high / low) ** 0.1 if high > low else 1.5
    low, high = low / room, high * room
    axis = getattr(axes, f"{name}axis")
    getattr(axes, f"set_{name}scale")("log")
    getattr(axes, f"set_{name}lim")(*((high, low) if inverted else (low, high)))
    axis.set_major_locator(FixedLocator(plain_numbers(low, high)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))


def plain_numbers(low: float, high: float) -> list[float]:
    """Return three to seven round numbers from ``low`` to ``high``, both positive; fewer if they are close together.

    >>> plain_numbers(30, 2500)
    [30.0, 100.0, 300.0, 1000.0]
    """
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = []
    for digits in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 7), range(10, 100)):
        ticks = [float(f"{digit}e{decade}") for decade in decades for digit in digits]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if len(ticks) >= 3:
            break
    return ticks[:: max(1, math.ceil(len(ticks) / 7))] or [low]


def ticks_at(axis, values: Sequence[float]) -> None:
    """Put ticks at these values and nowhere else."""
    from matplotlib.ticker import FixedLocator

    axis.set_major_locator(FixedLocator(list(values)))


def effectiveness_axis(axes, measure: str) -> None:
    """Make the y axis that of a measure, with few ticks, a grid, and room for labels above and below."""
    from matplotlib.ticker import MaxNLocator

    axes.set_ylabel(measure)
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.margins(y=0.12)
    axes.grid(True)


def handle(look: Look, label: str, *, hollow: bool = False):
    """Return a legend entry for what is drawn so."""
    from matplotlib.lines import Line2D

    return Line2D([], [], **look._asdict() | (HOLLOW if hollow else {}), label=label)


def legend_below(figure, handles: Sequence):
    """Return a legend under the axes, where it covers nothing; the figure grows by its height. None without handles."""
    if not handles:
        return None
    lines = any(each.get_linestyle() not in ("None", "none") for each in handles)
    length = 2.6 if lines else 1.0
    longest = max(len(each.get_label()) for each in handles)
    width = figure.get_figwidth()
    columns = max(1, min(len(handles), int(width / _CM / (0.5 + 0.23 * length + 0.125 * longest))))
    rows = math.ceil(len(handles) / columns)
    figure.set_size_inches(width, figure.axes_height + rows * 0.4 * _CM)
    return figure.legend(handles=handles, loc="outside lower center", ncols=columns, handlelength=length)


def tag(artist, *words: str) -> None:
    """Give what is drawn an id in the SVG, ``run:JPQ:RR@10``, by which other programs find it."""
    artist.set_gid(":".join(re.sub(r"[^\w.+@-]+", "-", word) for word in words))


def save(figure, output: str | os.PathLike, kinds: Sequence[str] = ("png", "svg")) -> list[Path]:
    """Write ``output`` with each of the endings; SVG without a date, so that the same figure gives the same bytes."""
    written = []
    for kind in kinds:
        written.append(Path(f"{os.fspath(output)}.{kind}"))
        with new_file(written[-1], "wb") as file:
            figure.savefig(file, format=kind, dpi=300, metadata={"Date": None} if kind == "svg" else None)
    return written
