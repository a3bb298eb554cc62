"""What ``eval.latency`` writes: JSON, a Markdown table, and the plots of the paper's figures 4 and 5."""

import contextlib
import importlib.util
import json
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from jpq_pyserini.bench.latency.runs import shown_name
from jpq_pyserini.bench.systems import SYSTEMS
from jpq_pyserini.eval.figures import style
from jpq_pyserini.index import library_versions
from jpq_pyserini.tables import as_markdown as markdown_table


def as_json(runs: Sequence[dict], settings, command: str) -> str:
    """Return everything measured, with the command, the settings and the versions."""
    facts = {
        "command": command,
        "date": time.strftime("%Y-%m-%d"),
        "processor": _processor(),
        "settings": asdict(settings),
        "versions": versions(),
    }
    return json.dumps({**facts, "runs": list(runs)}, indent=2) + "\n"


def versions() -> dict[str, str]:
    """Return the versions of what was compared, and of what we stand on."""
    found = library_versions()
    for name in {each.package or each.module for each in SYSTEMS.values()} - {"faiss"}:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def as_markdown(runs: Sequence[dict], command: str) -> str:
    """Return tables: milliseconds a query, median and, behind the stroke, 95th percentile.

    One a run, with the chosen setting of each system, and one of all settings where there are more.
    """
    parts = [f"`{command}`\n"]
    for run in runs:
        parts.append(f"## {run['collection']}, dimension {run['dimension']}\n")
        points = run["points"]
        chosen = [point for point in points if point.get("chosen", True)]
        parts.append(_table(chosen))
        parts += [f"- left out: {title}: {reason}" for title, reason in run["left_out"].items()] + [""]
        if len(chosen) < len(points):
            parts += ["### All settings\n", _table(points)]
    return "\n".join(parts)


def _table(points: Sequence[dict]) -> str:
    modes = list(points[0]["times"]) if points else []
    measures = list(points[0]["effectiveness"]) if points else []
    rows = [["system", "bytes a document", "memory, MB", *measures, *(f"ms, {mode}" for mode in modes), "queries/s"]]
    for point in points:
        times = point["times"]
        rows.append(
            [
                shown_name(point),
                f"{point['bytes_per_document']:.0f}",
                f"{point['memory_bytes'] / 1e6:.0f}",
                *(f"{point['effectiveness'][measure]:.4f}" for measure in measures),
                *(f"{times[mode]['median_ms']:.3g} / {times[mode]['p95_ms']:.3g}" for mode in modes),
                f"{max(each['qps'] for each in times.values()):.0f}",
            ]
        )
    return markdown_table(rows) + "\n"


def draw(runs: Sequence[dict], folder: Path) -> list[str]:
    """Draw what there is data for; returns the names of the PNG files. Nothing without matplotlib."""
    if importlib.util.find_spec("matplotlib") is None:
        return []
    with style.in_print():
        judged = [run for run in runs if run["points"] and run["points"][0]["effectiveness"]]
        if judged:
            measures = judged[0]["points"][0]["effectiveness"]
            return [_scatter(judged[0], folder, measure) for measure in measures] + [_memory(judged[0], folder)]
        if len(runs) > 1:
            return [_growth(runs, folder)]
        return [_bars(runs[0], folder)] if runs and runs[0]["points"] else []


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


def _by_system(run: dict) -> dict[str, list[dict]]:
    systems = {}
    for point in run["points"]:
        systems.setdefault(point["title"], []).append(point)
    return systems


def _first_mode(point: dict) -> dict:
    return next(iter(point["times"].values()))


def _scatter(run: dict, folder: Path, measure: str) -> str:
    figure, axes = _axes(run["collection"], "milliseconds a query, one thread, one by one", measure)
    lines = {
        title: [(_first_mode(point)["median_ms"], point["effectiveness"][measure]) for point in points]
        for title, points in _by_system(run).items()
    }
    _plot(axes, lines)
    return _save(figure, folder, f"time-{measure.replace('@', '')}")


def _memory(run: dict, folder: Path) -> str:
    measure = next(iter(run["points"][0]["effectiveness"]))
    figure, axes = _axes(run["collection"], "bytes a document", measure)
    best = {
        title: max(points, key=lambda point: point["effectiveness"][measure])
        for title, points in _by_system(run).items()
    }
    _plot(axes, {title: [(p["bytes_per_document"], p["effectiveness"][measure])] for title, p in best.items()})
    return _save(figure, folder, f"bytes-{measure.replace('@', '')}")


def _growth(runs: Sequence[dict], folder: Path) -> str:
    figure, axes = _axes("growth", "documents", "milliseconds a query, one thread, one by one")
    lines = {}
    for run in runs:
        for point in run["points"]:
            lines.setdefault(point["title"], []).append((run["documents"], _first_mode(point)["median_ms"]))
    _plot(axes, lines)
    style.log_axis(axes, "y", [y for line in lines.values() for _, y in line])
    return _save(figure, folder, "growth")


def _bars(run: dict, folder: Path) -> str:
    figure, axes = _axes(run["collection"], "milliseconds a query, one thread, one by one", "")
    points = run["points"][::-1]
    names = [shown_name(point) for point in points]
    milliseconds = [_first_mode(point)["median_ms"] for point in points]
    axes.bar_label(axes.barh(names, milliseconds, color=style.COLOURS[0]), fmt="%.3g", padding=3)
    style.log_axis(axes, "x", milliseconds)
    return _save(figure, folder, "time")


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            name = next(line.partition(":")[2].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor()
    return f"{name}, {platform.machine()}"
