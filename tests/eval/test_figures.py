"""The paper's figures: their numbers, what the SVG shows, words that cover nothing, and what is told of bad input."""

import json
import random
import re
import sys

import pytest

from jpq_pyserini.errors import JPQError
from jpq_pyserini.eval import compare
from jpq_pyserini.eval.facts import Facts, write_facts
from jpq_pyserini.eval.figures import ablation, points, style, tradeoff
from jpq_pyserini.eval.figures.__main__ import main

from helpers.figure_files import drawn
from helpers.processes import call_module

FACTS = {
    "flat": Facts(group="flat", documents=1000, bytes_per_document=3072.0, ms_per_query=8.0, threads=1),
    "jpq48": Facts("JPQ, M=48", "JPQ", 1000, 48.0, ms_per_query=1.0, encode_ms_per_query=3.0, threads=1),
    "jpq96": Facts("JPQ, M=96", "JPQ", 1000, 96.0, ms_per_query=2.0, threads=1),
}


@pytest.fixture
def runs(tmp_path):
    """A folder with qrels.txt, three random runs of 20 queries and their facts."""
    draw = random.Random(1)
    documents = [f"d{i}" for i in range(50)]
    qids = [f"q{i}" for i in range(20)]
    (tmp_path / "qrels.txt").write_text("".join(f"{qid} 0 {draw.choice(documents)} 1\n" for qid in qids))
    for name, facts in FACTS.items():
        lines = [f"{q} Q0 {d} 0 {-i} t\n" for q in qids for i, d in enumerate(draw.sample(documents, 30))]
        (tmp_path / f"{name}.txt").write_text("".join(lines))
        write_facts(tmp_path / f"{name}.txt", facts)
    return tmp_path


def _arguments(folder, figure="size", names=FACTS):
    chosen = [word for name in names for word in ("--run", str(folder / f"{name}.txt"))]
    return [figure, "--qrels", str(folder / "qrels.txt"), "--output", str(folder / "out"), *chosen]


def test_size_on_the_command_line(runs):
    published = [{"title": "theirs", "group": "JPQ", "values": {"MRR@10": 0.5, "r@100": 0.9}, "bytes_per_document": 50}]
    (runs / "published.json").write_text(json.dumps([{**published[0], "source": "a paper"}]))
    measures = ("--measures", "RR@10", "R@100")
    done = call_module(
        "jpq_pyserini.eval.figures", *_arguments(runs), *measures, "--published", runs / "published.json"
    )
    assert re.fullmatch(r"wrote \S+out\.png, \S+out\.svg, \S+out\.json\n", done.stdout)
    assert done.stderr == ""
    record, words, markers = drawn(runs)
    compare.main(
        [*_arguments(runs)[1:3], *_arguments(runs)[5:], *measures, "--format", "json", "--output", str(runs / "c")]
    )
    expected = [run["means"] for run in json.loads((runs / "c").read_text())["runs"]]
    assert [point["values"] for point in record["points"]] == [*expected, {"RR@10": 0.5, "R@100": 0.9}]
    assert [point["x"] for point in record["points"]] == [3072, 48, 96, 50]
    assert record["queries"] == 20
    assert record["points"][-1]["source"] == "a paper"
    for panel in ("flat", "JPQ, M=48", "JPQ, M=96", "theirs", "RR@10", "R@100", "hollow: published", record["x"]):
        assert panel in words
    assert markers == {
        f"{series}:{measure}": count
        for series, count in (("run:flat", 1), ("run:JPQ", 2), ("published:JPQ", 1))
        for measure in ("RR@10", "R@100")
    }


@pytest.mark.slow
def test_same_figure_same_bytes(runs, capsys):
    written = []
    for _ in range(2):
        main(_arguments(runs))
        written.append((runs / "out.svg").read_bytes())
    assert written[0] == written[1]
    assert b"<dc:date>" not in written[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("figure", "options", "label", "xs"),
    [
        ("size", ["--total"], "MB", [3.072, 0.048, 0.096]),
        ("memory", [], "bytes a document", [3072, 48, 96]),
        ("memory", ["--uncompressed", "flat"], "compression ratio (flat = 1)", [1, 64, 32]),
        ("speed", [], "queries a second, search alone", [125, 1000, 500]),
        ("speed", ["--uncompressed", "flat"], "speed-up (flat = 1)", [1, 8, 4]),
    ],
)
def test_scales(runs, capsys, figure, options, label, xs):
    main([*_arguments(runs, figure), *options])
    record, words, markers = drawn(runs)
    assert label in record["x"]
    assert record["x"] in words
    assert [point["x"] for point in record["points"]] == pytest.approx(xs)
    assert sum(markers.values()) == 3


def test_encoding_counts_if_asked(runs, capsys):
    main([*_arguments(runs, "speed", ["jpq48"]), "--with-encoding"])
    assert drawn(runs)[0]["points"][0]["x"] == 250


def test_smaller_is_on_the_right(runs):
    found = points.of_runs({"jpq48": runs / "jpq48.txt", "flat": runs / "flat.txt"})
    found = points.scored(found, {"q1": {"d1": 1}}, ["RR@10"])
    with style.in_print():
        figure, _ = tradeoff.draw(found, ["RR@10"], tradeoff.memory(found))
    left, right = figure.axes[0].get_xlim()
    assert left > 3072 > 48 > right


@pytest.mark.slow
def test_names_cover_nothing():
    from matplotlib.text import Text

    found = points.of_publications("marco-passage", ["RR@10"])
    with style.in_print():
        figure, _ = tradeoff.draw(found, ["RR@10"], tradeoff.size(found))
        figure.draw_without_rendering()
        (axes,) = figure.axes
        boxes = [text.get_window_extent() for text in axes.texts]
        spots = [axes.transData.transform(spot) for line in axes.lines for spot in line.get_xydata()]
    assert len(spots) == len(found) == 24
    assert len(boxes) >= 15
    named = [text.get_text() for text in axes.texts]
    assert {"JPQ", "BM25", "ColBERT", "ADORE+STAR"} <= set(named)
    for i, text in enumerate(axes.texts):
        words = Text.get_window_extent(text)  # without the stroke to the point
        assert not words.count_overlaps(boxes[:i])
        assert not any(words.contains(*spot) for spot in spots)
        assert axes.get_window_extent().contains(words.x1, words.y1)
    (legend,) = figure.legends
    assert len(legend.get_texts()) == len({point.series for point in found})


def test_series_without_room_or_line_have_a_legend():
    found = points.of_publications("marco-passage", ["RR@10"])
    with style.in_print():
        figure, _ = tradeoff.draw(found, ["RR@10"], tradeoff.memory(found))
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == list(dict.fromkeys(point.series for point in found))
    assert not figure.axes[0].texts


@pytest.mark.parametrize(
    ("figure", "options", "message"),
    [
        ("speed", [], r"jpq96: .*jpq96.facts.json does not say ms_per_query, .* add \"ms_per_query\": NUMBER there"),
        ("memory", ["--uncompressed", "FLAT"], "--uncompressed FLAT: no point of that name, there are flat, jpq96"),
        ("memory", ["--published", "nowhere"], "--published nowhere: no such file, .* marco-doc, marco-passage"),
        ("memory", ["--published", "marco-doc"], "no point has values of RR@10"),
        ("memory", ["--measures", "MRR10"], "unknown measure 'MRR10'"),
    ],
)
def test_what_lacks_is_told(runs, figure, options, message):
    write_facts(runs / "jpq96.txt", Facts(bytes_per_document=96))
    (runs / "jpq96.txt").write_text("told before the run is read\n")
    with pytest.raises(JPQError, match=message):
        main([*_arguments(runs, figure, ["flat", "jpq96"]), *options])
    assert not (runs / "out.png").exists()


def test_times_with_different_threads_do_not_mix(runs):
    write_facts(runs / "jpq96.txt", Facts(ms_per_query=1, threads=2))
    with pytest.raises(JPQError, match="flat with 1, jpq96 with 2"):
        main(_arguments(runs, "speed", ["flat", "jpq96"]))


@pytest.mark.slow
def test_ablation_from_runs_and_from_scores(runs, capsys):
    named = {"OPQ@16": "jpq48", "OPQ@48": "flat", "JPQ@16": "jpq96", "JPQ@48": "jpq48", "flat": "flat"}
    chosen = [word for name, file in named.items() for word in ("--run", f"{name}={runs / file}.txt")]
    measures = ["--measures", "RR@10", "R@100"]
    main([*_arguments(runs, "ablation", []), *chosen, *measures])
    record, words, markers = drawn(runs)
    assert markers == {
        f"{line}:{measure}": count
        for line, count in (("strategy:OPQ", 2), ("strategy:JPQ", 2), ("ceiling:flat", 0))
        for measure in ("RR@10", "R@100")
    }
    assert {"OPQ", "JPQ", "flat", "16", "48", "RR@10", "R@100"} <= set(words)
    compare.main([*_arguments(runs)[1:3], *chosen, *measures, "--format", "json", "--output", str(runs / "s.json")])
    scored = {run["name"]: run["means"] for run in json.loads((runs / "s.json").read_text())["runs"]}
    for point in record["points"]:
        name = point.get("ceiling") or f"{point['strategy']}@{point['m']}"
        assert point["values"] == scored.pop(name)
    assert not scored
    first = (runs / "out.svg").read_bytes()
    main(["ablation", "--scores", str(runs / "s.json"), *measures, "--output", str(runs / "out")])
    assert (runs / "out.svg").read_bytes() == first


def test_bad_ablations_are_told(runs):
    with pytest.raises(JPQError, match=r"no run is called STRATEGY@M \(flat, jpq48\): .*OPQ@16=opq16.txt"):
        main(_arguments(runs, "ablation", ["flat", "jpq48"]))
    (runs / "s.json").write_text('{"runs": [{"name": "a@1", "means": {"AP": 1}}]}')
    with pytest.raises(JPQError, match=r"a@1 has no RR@10, there are AP"):
        ablation.read_scores(runs / "s.json", ["RR@10"])
    (runs / "s.json").write_text("[]")
    with pytest.raises(JPQError, match=r"not what .*compare --format json` writes"):
        ablation.read_scores(runs / "s.json", ["RR@10"])
    with pytest.raises(JPQError, match="give either --run"):
        main(["ablation", "--output", "x"])


def test_ticks_are_plain_numbers():
    for low, high in ((30, 2500), (0.02, 5000), (47, 50), (96, 97), (1, 1.2), (9e8, 3e10)):
        ticks = style.plain_numbers(low, high)
        assert 1 <= len(ticks) <= 7
        assert all(low <= tick <= high for tick in ticks)
        assert ticks == sorted(ticks)
    assert style.plain_numbers(30, 2500) == [30, 100, 300, 1000]
    looks = {style.look(number)[:2] for number in range(70)}
    assert len(looks) == 70


def test_without_matplotlib(runs, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(JPQError, match=r"figures need matplotlib .*pip install 'jpq_pyserini\[figures\]'"):
        main(_arguments(runs))
