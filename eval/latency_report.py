"""What ``eval.latency`` writes: JSON, a Markdown table, and the plots of the paper's figures 4 and 5."""

import contextlib
import json
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from jpq_pyserini.eval.systems import SYSTEMS

from jpq_pyserini.index import library_versions


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
    rows.append(["---", *["---:"] * (len(rows[0]) - 1)])
    for point in points:
        times = point["times"]
        rows.append(
            [
                f"{point['title']} {point['setting']}".strip(),
                f"{point['bytes_per_document']:.0f}",
                f"{point['memory_bytes'] / 1e6:.0f}",
                *(f"{point['effectiveness'][measure]:.4f}" for measure in measures),
                *(f"{times[mode]['median_ms']:.3g} / {times[mode]['p95_ms']:.3g}" for mode in modes),
                f"{max(each['qps'] for each in times.values()):.0f}",
            ]
        )
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def draw(runs: Sequence[dict], folder: Path) -> list[str]:
    """Draw what there is data for; returns the names of the PNG files. Nothing without matplotlib."""
    try:
        import matplotlib
    except ImportError:
        return []
    matplotlib.use("Agg")
    written = []
    judged = [run for run in runs if run["points"] and run["points"][0]["effectiveness"]]
    if judged:
        written += [_scatter(judged[0], folder, measure) for measure in judged[0]["points"][0]["effectiveness"]]
        written.append(_memory(judged[0], folder))
    elif len(runs) > 1:
        written.append(_growth(runs, folder))
    elif runs and runs[0]["points"]:
        written.append(_bars(runs[0], folder))
    return written


def _axes(title: str, x: str, y: str):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 5), layout="constrained")
    axes = figure.add_subplot(title=title, xlabel=x, ylabel=y)
    axes.grid(alpha=0.3, which="both")
    return figure, axes


def _save(figure, folder: Path, name: str) -> str:
    figure.savefig(folder / name, dpi=120)
    return name


def _by_system(run: dict) -> dict[str, list[dict]]:
    systems = {}
    for point in run["points"]:
        systems.setdefault(point["title"], []).append(point)
    return systems


def _first_mode(point: dict) -> dict:
    return next(iter(point["times"].values()))


def _scatter(run: dict, folder: Path, measure: str) -> str:
    figure, axes = _axes(run["collection"], "milliseconds a query, one thread, one by one", measure)
    for title, points in _by_system(run).items():
        xs = [_first_mode(point)["median_ms"] for point in points]
        axes.plot(xs, [point["effectiveness"][measure] for point in points], "o-", label=title)
    axes.set_xscale("log")
    axes.legend(fontsize="small")
    return _save(figure, folder, f"time-{measure.replace('@', '')}.png")


def _memory(run: dict, folder: Path) -> str:
    measure = next(iter(run["points"][0]["effectiveness"]))
    figure, axes = _axes(run["collection"], "bytes a document", measure)
    for title, points in _by_system(run).items():
        best = max(points, key=lambda point: point["effectiveness"][measure])
        axes.plot(best["bytes_per_document"], best["effectiveness"][measure], "o", label=title)
    axes.set_xscale("log")
    axes.legend(fontsize="small")
    return _save(figure, folder, f"bytes-{measure.replace('@', '')}.png")


def _growth(runs: Sequence[dict], folder: Path) -> str:
    figure, axes = _axes("growth", "documents", "milliseconds a query, one thread, one by one")
    lines = {}
    for run in runs:
        for point in run["points"]:
            lines.setdefault(point["title"], []).append((run["documents"], _first_mode(point)["median_ms"]))
    for title, line in lines.items():
        axes.plot(*zip(*line, strict=True), "o-", label=title)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.legend(fontsize="small")
    return _save(figure, folder, "growth.png")


def _bars(run: dict, folder: Path) -> str:
    figure, axes = _axes(run["collection"], "milliseconds a query, one thread, one by one", "")
    points = run["points"][::-1]
    names = [f"{point['title']} {point['setting']}".strip() for point in points]
    bars = axes.barh(names, [_first_mode(point)["median_ms"] for point in points])
    axes.bar_label(bars, fmt="%.3g", padding=3)
    axes.set_xscale("log")
    return _save(figure, folder, "time.png")


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            name = next(line.partition(":")[2].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor()
    return f"{name}, {platform.machine()}"
