"""Draw the figures of the documentation from the committed scores: ``python docs/tradeoff.py``.

``tradeoff.svg``, the README's: the index alone, by its bytes a passage. ``rescoring.svg``: two-stage search, by the
bytes that stay in memory; what is on disk, the same for all its points, is said in the legend. ``encoders.svg``: query
encoders, by the time of a query. ``rivals.svg``: other ways to make an index small, on SciFact, each alone and with the
second stage.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from jpq_pyserini.eval.figures import style

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent / "eval" / "results"
FLAT_BYTES = 4 * 384
INT8_BYTES = 388
ALONE = {
    "JPQ, --neighbours 8": "apart-{}",
    "JPQ, the default": "jpq-{}",
    "JPQ, the paper's": "paper-{}",
    "OPQ, untrained": "opq-{}",
}
RESCORED = {
    "codes alone": "codes-{}-0",
    f"100 candidates, {INT8_BYTES} bytes on disk": "codes-{}-100",
    f"200 candidates, {INT8_BYTES} bytes on disk": "codes-{}-200",
    f"500 candidates, {INT8_BYTES} bytes on disk": "codes-{}-500",
}

#: Title to systems of ``jpq latency``; by a size of their own, or with the bytes of a code at dimension 384.
RIVALS = {
    "JPQ's codes, untrained": "JPQ-{}",
    "OPQ": "opq-{}",
    "PQ": "pq-{}",
    "ScaNN, 4 bits": "scann-{}",
    "LSH": "lsh-{}",
    "binary, float queries": {"binary": 48},
    "RaBitQ": {"rabitq": 56, "rabitq2": 116, "rabitq4": 212},
    "TurboQuant": {"turboquant1": 48, "turboquant2": 96, "turboquant4": 192},
    "EDEN": {"eden1": 56, "eden2": 104, "eden4": 200},
    "scalar": {"sq4": 192, "sq8": 384},
}
SIZES = [8, 16, 32, 48, 96]


#: Conditions of the experiment query-encoders-squad, by the name that the times have for index and backend.
ENCODERS = {
    "full torch": ("full", "6 layers, torch"),
    "full onnx": ("full", "6 layers"),
    "layers2 onnx": ("layers2", "2 layers"),
    "static torch": ("static", "token vectors"),
}


def main() -> None:
    """Read, draw, write."""
    with style.in_print():
        values = scores(RESULTS / "ablation-squad" / "ablation-squad.json")
        draw(
            "tradeoff.svg", values, ALONE, [16, 24, 48, 96], values["flat"], "uncompressed (flat)", "bytes per passage"
        )
        values = scores(RESULTS / "rescoring-squad.json")
        sizes = sorted({int(name.split("-")[1]) for name in values if name.startswith("codes-")})
        draw(
            "rescoring.svg",
            values,
            RESCORED,
            sizes,
            values["adore"],
            "uncompressed (ADORE)",
            "bytes per passage in memory",
        )
        draw_rivals(RESULTS / "rivals-scifact" / "latency.json")
        draw_encoders(scores(RESULTS / "query-encoders-squad.json"), RESULTS / "query-encoders-squad-times.json")


def draw_encoders(values: Mapping[str, float], times: Path) -> None:
    """Draw RR@10 against the time of a query, of what ranks in the end a line."""
    backends = json.loads(times.read_text(encoding="utf-8"))["backends"]
    drawn = {name: what for name, what in ENCODERS.items() if f"{what[0]}-0" in values}
    taken = {name: backends[name]["end to end"]["median_ms"] for name in drawn}
    figure, ((axes,),) = style.new_figure(width=13, height=6.5)
    for number, (candidates, label) in enumerate({200: "200 candidates, ranked by vectors", 0: "codes alone"}.items()):
        line = [(taken[name], values[f"{encoder}-{candidates}"]) for name, (encoder, _) in drawn.items()]
        axes.plot(*zip(*line, strict=True), label=label, **style.look(number)._asdict())
        for (_, words), place in zip(drawn.values(), line, strict=True):
            if candidates:
                axes.annotate(words, place, xytext=(0, 5), textcoords="offset points", ha="center", fontsize=6.5)
    style.log_axis(axes, "x", list(taken.values()))
    axes.set_xlabel("milliseconds of one thread for a query, encoded and searched")
    axes.set_ylabel("RR@10, SQuAD, 10,529 questions")
    axes.grid(axis="y")
    axes.legend(loc="lower right")
    figure.savefig(HERE / "encoders.svg", metadata={"Date": None})


def scores(path: Path) -> dict[str, float]:
    """Return RR@10 by condition."""
    conditions = json.loads(path.read_text(encoding="utf-8"))["conditions"]
    return {each["name"]: each["scores"]["RR@10"]["value"] for each in conditions}


def draw(
    name: str,
    values: Mapping[str, float],
    series: Mapping[str, str],
    sizes: Sequence[int],
    flat: float,
    flat_label: str,
    size_label: str,
) -> None:
    """Draw a figure: a line for each of ``series``, label to name of a condition with its size, and the flat index."""
    figure, ((axes,),) = style.new_figure(width=13, height=6.5)
    for number, (label, condition) in enumerate(series.items()):
        line = [(size, values[condition.format(size)]) for size in sizes if condition.format(size) in values]
        axes.plot(*zip(*line, strict=True), label=label, **style.look(number)._asdict())
    axes.axhline(flat, color=style.GREY, linestyle=":")
    axes.plot([FLAT_BYTES], [flat], label=flat_label, color="black", marker="*", linestyle="")
    style.log_axis(axes, "x", [sizes[0], FLAT_BYTES])
    axes.set_xticks([*sizes, FLAT_BYTES])
    axes.set_xlabel(f"{size_label} (codes; float32 vectors of the uncompressed index)")
    axes.set_ylabel("RR@10, SQuAD, 10,529 questions")
    axes.grid(axis="y")
    axes.legend(loc="lower right")
    figure.savefig(HERE / name, metadata={"Date": None})


def draw_rivals(path: Path) -> None:
    """Draw RR@10 by bytes a passage of each system alone, and beside it with a second stage."""
    (race,) = json.loads(path.read_text(encoding="utf-8"))["runs"]
    values = {point["name"]: point["effectiveness"]["RR@10"] for point in race["points"]}
    figure, (panels,) = style.new_figure(columns=2, width=20, height=7.5)
    for axes, ending, title, lowest in (
        (panels[0], "", "codes alone", 0.3),
        (panels[1], "-rescored", f"200 candidates, {INT8_BYTES} bytes on disk", 0.54),
    ):
        for number, (label, systems) in enumerate(RIVALS.items()):
            sized = systems if isinstance(systems, dict) else {systems.format(size): size for size in SIZES}
            line = [(size, values[name + ending]) for name, size in sized.items() if name + ending in values]
            look = style.look(number)
            look = look if len(line) > 1 else look._replace(linestyle="none")
            axes.plot(*zip(*line, strict=True), label=label, **look._asdict())
        axes.axhline(values["flat"], color=style.GREY, linestyle=":")
        style.log_axis(axes, "x", [SIZES[0], INT8_BYTES])
        axes.set_xticks([*SIZES, 192, 384])
        axes.set(title=title, xlabel="bytes per passage in memory (codes)", ylabel="RR@10, SciFact, 300 claims")
        axes.set_ylim(bottom=lowest)
        axes.grid(axis="y")
    style.legend_below(figure, panels[0].get_legend_handles_labels()[0])
    figure.savefig(HERE / "rivals.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
