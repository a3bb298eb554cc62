"""Figure 7: what each strategy adds, over the number of bytes a document gets."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from jpq_pyserini.errors import JPQError
from jpq_pyserini.eval.figures import style
from jpq_pyserini.json_text import parse_json
from jpq_pyserini.storage import check_input

_NAME = re.compile(r"(.+)@([1-9][0-9]*)")


def read_scores(path: str | os.PathLike, measures: Sequence[str]) -> dict[str, dict[str, float]]:
    """Read what ``python -m jpq_pyserini.eval.compare --format json`` wrote: run name to measure to mean.

    Raises:
        JPQError: no such file, no such form, a measure that was not computed.
    """
    check_input(path)
    try:
        runs = {run["name"]: run["means"] for run in parse_json(Path(path).read_bytes())["runs"]}
    except FileNotFoundError:
        raise JPQError(f"no such file: {path}: check the path") from None
    except (ValueError, KeyError, TypeError):
        raise JPQError(
            f"{path}: not what `python -m jpq_pyserini.eval.compare --format json` writes: make it with that"
        ) from None
    for name, means in runs.items():
        for measure in measures:
            if measure not in means:
                raise JPQError(f"{path}: {name} has no {measure}, there are {', '.join(means)}: say so to compare")
    return runs


def strategies(means: Mapping[str, Mapping[str, float]]) -> tuple[dict[str, dict[int, Mapping]], dict[str, Mapping]]:
    """Sort runs called ``STRATEGY@M`` into lines; those without ``@M`` are ceilings.

    >>> strategies({"OPQ@16": {"RR@10": 0.1}, "flat": {"RR@10": 0.3}})
    ({'OPQ': {16: {'RR@10': 0.1}}}, {'flat': {'RR@10': 0.3}})

    Returns:
        strategy to M to measure to mean, and ceiling to measure to mean.

    Raises:
        JPQError: no run is called so.
    """
    lines: dict[str, dict[int, Mapping]] = {}
    ceilings = {}
    for name, values in means.items():
        if match := _NAME.fullmatch(name):
            lines.setdefault(match[1], {})[int(match[2])] = values
        else:
            ceilings[name] = values
    if not lines:
        raise JPQError(
            f"no run is called STRATEGY@M ({', '.join(ceilings)}): name them --run OPQ@16=opq16.txt, which "
            "says each one's M"
        )
    return lines, ceilings


def draw(means: Mapping[str, Mapping[str, float]], measures: Sequence[str], *, width: float = style.COLUMN_CM):
    """Draw one panel a measure, one line a strategy over M, one horizontal line a ceiling.

    Args:
        means: run name (``STRATEGY@M``, or a ceiling's name) to measure to mean.

    Returns:
        the matplotlib figure, and what was drawn as a list of dicts.
    """
    lines, ceilings = strategies(means)
    figure, grid = style.new_figure(len(measures), width=width, height=5.4, sharex=True)
    panels = [axes for (axes,) in grid]
    for axes, measure in zip(panels, measures, strict=True):
        style.effectiveness_axis(axes, measure)
        for number, (name, by_m) in enumerate(lines.items()):
            points = [(m, by_m[m][measure]) for m in sorted(by_m)]
            (line,) = axes.plot(*zip(*points, strict=True), **style.look(number)._asdict(), label=name, zorder=3)
            style.tag(line, "strategy", name, measure)
        for number, (name, values) in enumerate(ceilings.items()):
            line = axes.axhline(values[measure], color=style.GREY, linewidth=0.9, label=name)
            line.set_dashes(_DASHES[number % len(_DASHES)])
            style.tag(line, "ceiling", name, measure)
    every_m = sorted({m for by_m in lines.values() for m in by_m})
    style.log_axis(panels[-1], "x", every_m)
    style.ticks_at(panels[-1].xaxis, every_m)
    panels[-1].set_xlabel("M, sub-vectors a document")
    style.legend_below(figure, panels[0].get_legend_handles_labels()[0])
    drawn = [{"strategy": name, "m": m, "values": dict(by_m[m])} for name, by_m in lines.items() for m in sorted(by_m)]
    return figure, drawn + [{"ceiling": name, "values": dict(values)} for name, values in ceilings.items()]


_DASHES = ((6, 2), (2, 2), (6, 2, 1, 2))
