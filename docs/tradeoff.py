"""Draw the figures of the documentation from the committed scores: ``python docs/tradeoff.py``.

``tradeoff.svg``, the README's: the index alone, by its bytes a passage. ``rescoring.svg``: two-stage search, by the
bytes that stay in memory; what is on disk, the same for all its points, is said in the legend. ``encoders.svg``: query
encoders, by the time of a query.
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


if __name__ == "__main__":
    main()
