"""What ``bench.latency`` writes: JSON, a Markdown table, and the plots of the paper's figures 4 and 5."""

import contextlib
import importlib.util
import json
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from jpq_pyserini import tables
from jpq_pyserini.bench.latency.results import Point, Race, grouped
from jpq_pyserini.bench.systems import SYSTEMS
from jpq_pyserini.eval.figures import style
from jpq_pyserini.index import library_versions
from jpq_pyserini.timing import Timing

_TIME = "milliseconds a query, one thread, one by one"


def as_json(races: Sequence[Race], settings, command: str) -> str:
    """Return everything measured, with the command, the settings and the versions."""
    facts = {
        "command": command,
        "date": time.strftime("%Y-%m-%d"),
        "processor": _processor(),
        "settings": asdict(settings),
        "versions": versions(),
    }
    return json.dumps({**facts, "runs": [asdict(race) for race in races]}, indent=2) + "\n"


def versions() -> dict[str, str]:
    """Return the versions of what was compared, and of what we stand on."""
    found = library_versions()
    for name in {each.package or each.module for each in SYSTEMS.values()} - {"faiss"}:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def as_markdown(races: Sequence[Race], command: str) -> str:
    """Return tables: milliseconds a query, median and, behind the stroke, 95th percentile.

    One a race, with the chosen setting of each system, and one of all settings where there are more.
    """
    parts = [f"`{command}`\n"]
    for race in races:
        parts += [f"## {race.collection}, dimension {race.dimension}\n", _table(race, race.chosen)]
        parts += [f"- left out: {title}: {reason}" for title, reason in race.left_out.items()] + [""]
        if len(race.chosen) < len(race.points):
            parts += ["### All settings\n", _table(race, race.points)]
    return "\n".join(parts)


def _table(race: Race, points: Sequence[Point]) -> str:
    modes = list(dict.fromkeys(mode for point in points for mode in point.times))
    head = [
        "system",
        "bytes a document",
        "trained on",
        "memory, MB",
        *race.measures,
        *(f"ms, {mode}" for mode in modes),
        "queries/s",
    ]
    rows = [head]
    for point in points:
        size = f"{point.bytes_per_document:.0f}"
        if point.rescored:
            size += f" + {point.disk_bytes_per_document:.0f} on disk"
        learnt = f"{point.training_vectors:,}"
        if point.training_queries:
            learnt += f" + {point.training_queries:,} queries"
        cells = [point.shown, size, learnt, f"{point.memory_bytes / 1e6:.0f}"]
        cells += [f"{point.effectiveness[measure]:.4f}" for measure in race.measures]
        cells += [_milliseconds(point.times.get(mode)) for mode in modes]
        rows.append([*cells, f"{max(time.qps for time in point.times.values()):.0f}"])
    return tables.as_markdown(rows) + "\n"


def _milliseconds(time: Timing | None) -> str:
    return "" if time is None else f"{time.median_ms:.3g} / {time.p95_ms:.3g}"


def draw(races: Sequence[Race], folder: Path) -> list[str]:
    """Draw what there is data for; returns the names of the PNG files. Nothing without matplotlib."""
    if importlib.util.find_spec("matplotlib") is None:
        return []
    with style.in_print():
        for race in races:
            if race.measures:
                return [*(_scatter(race, folder, measure) for measure in race.measures), _sizes(race, folder)]
        if len(races) > 1:
            return [_growth(races, folder)]
        return [_bars(race, folder) for race in races if race.points]


def _axes(title: str, x: str, y: str):
    figure, ((axes,),) = style.new_figure(width=12, height=7.5)
    axes.set(title=title, xlabel=x, ylabel=y)
    axes.grid(True)
    return figure, axes


def _plot(axes, lines: dict[str, list[tuple[float, float]]]) -> None:
    for number, (title, line) in enumerate(lines.items()):
        look = style.look(number)
        axes.plot(
            *zip(*line, strict=True),
            **(look if len(line) > 1 else look._replace(linestyle="none"))._asdict(),
            label=title,
        )
    style.log_axis(axes, "x", [x for line in lines.values() for x, _ in line])
    style.legend_below(axes.figure, axes.get_legend_handles_labels()[0])


def _save(figure, folder: Path, name: str) -> str:
    style.save(figure, folder / name, ["png"])
    return f"{name}.png"


def _scatter(race: Race, folder: Path, measure: str) -> str:
    figure, axes = _axes(race.collection, _TIME, measure)
    systems = grouped(race.points, "title")
    _plot(axes, {title: [(p.milliseconds, p.effectiveness[measure]) for p in each] for title, each in systems.items()})
    return _save(figure, folder, f"time-{measure.replace('@', '')}")


def _sizes(race: Race, folder: Path) -> str:
    measure = race.measures[0]
    figure, axes = _axes(race.collection, "bytes a document", measure)
    lines = {}
    for group, points in grouped(race.points, "group").items():
        best = [max(each, key=lambda p: p.quality) for each in grouped(points, "name").values()]
        lines[group] = sorted((point.bytes_per_document, point.quality) for point in best)
    _plot(axes, lines)
    return _save(figure, folder, f"bytes-{measure.replace('@', '')}")


def _growth(races: Sequence[Race], folder: Path) -> str:
    figure, axes = _axes("growth", "documents", _TIME)
    systems = grouped((point for race in races for point in race.points), "title")
    lines = {title: [(float(point.documents), point.milliseconds) for point in each] for title, each in systems.items()}
    _plot(axes, lines)
    style.log_axis(axes, "y", [y for line in lines.values() for _, y in line])
    return _save(figure, folder, "growth")


def _bars(race: Race, folder: Path) -> str:
    figure, axes = _axes(race.collection, _TIME, "")
    milliseconds = {point.shown: point.milliseconds for point in reversed(race.points)}
    bars = axes.barh(list(milliseconds), list(milliseconds.values()), color=style.COLOURS[0])
    axes.bar_label(bars, fmt="%.3g", padding=3)
    style.log_axis(axes, "x", list(milliseconds.values()))
    return _save(figure, folder, "time")


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            name = next(line.partition(":")[2].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor()
    return f"{name}, {platform.machine()}"
