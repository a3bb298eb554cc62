"""Draw ``docs/tradeoff.svg``, the figure of the README, from the committed scores: ``python docs/tradeoff.py``."""

import json
from pathlib import Path

from jpq_pyserini.eval.figures import style

HERE = Path(__file__).resolve().parent
SCORES = HERE.parent / "eval" / "results" / "ablation-squad" / "ablation-squad.json"
SERIES = {
    "apart": "JPQ, --neighbours 8",
    "jpq": "JPQ, the default",
    "paper": "JPQ, the paper's",
    "opq": "OPQ, untrained",
}
FLAT_BYTES = 4 * 384


def main() -> None:
    """Read, draw, write."""
    conditions = json.loads(SCORES.read_text(encoding="utf-8"))["conditions"]
    values = {each["name"]: each["scores"]["RR@10"]["value"] for each in conditions}
    with style.in_print():
        figure, ((axes,),) = style.new_figure(width=13, height=6.5)
        for number, (name, label) in enumerate(SERIES.items()):
            sizes = [16, 24, 48, 96]
            axes.plot(sizes, [values[f"{name}-{m}"] for m in sizes], label=label, **style.look(number)._asdict())
        axes.axhline(values["flat"], color=style.GREY, linestyle=":")
        axes.plot([FLAT_BYTES], [values["flat"]], label="uncompressed (flat)", color="black", marker="*", linestyle="")
        style.log_axis(axes, "x", [16, FLAT_BYTES])
        axes.set_xticks([16, 24, 48, 96, FLAT_BYTES])
        axes.set_xlabel("bytes per passage (codes; float32 vectors of the uncompressed index)")
        axes.set_ylabel("RR@10, SQuAD, 10,529 questions")
        axes.grid(axis="y")
        axes.legend(loc="lower right")
        figure.savefig(HERE / "tradeoff.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
