"""The paper's figures: their numbers, what the SVG shows, words that cover nothing, and what is told of bad input."""

import json
import random
import re
import shutil
import sys
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from conftest import run_python
from jpq_pyserini.eval import compare
from jpq_pyserini.eval.facts import Facts, write_facts
from jpq_pyserini.eval.figures import ablation, negatives, points, style, tradeoff
from jpq_pyserini.eval.figures.__main__ import main

from jpq_pyserini import JPQIndex
from jpq_pyserini.errors import JPQError
from jpq_pyserini.flat import FlatFolder
from jpq_pyserini.text_encoder import embed_queries, load_text_encoder

SVG = "{http://www.w3.org/2000/svg}"
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


def _drawn(folder):
    """Return the JSON, the words of the SVG, and how many markers each of its series has."""
    tree = ET.parse(folder / "out.svg", ET.XMLParser(target=ET.TreeBuilder(insert_comments=True)))
    words = [each.text.strip() for each in tree.iter(ET.Comment)]
    markers = {g.get("id"): len(list(g.iter(f"{SVG}use"))) for g in tree.iter(f"{SVG}g") if ":" in g.get("id", "")}
    assert (folder / "out.png").read_bytes().startswith(b"\x89PNG")
    return json.loads((folder / "out.json").read_text()), words, markers


def test_size_on_the_command_line(runs):
    published = [{"title": "theirs", "group": "JPQ", "values": {"MRR@10": 0.5, "r@100": 0.9}, "bytes_per_document": 50}]
    (runs / "published.json").write_text(json.dumps([{**published[0], "source": "a paper"}]))
    measures = ("--measures", "RR@10", "R@100")
    done = run_python(
        "-m", "jpq_pyserini.eval.figures", *_arguments(runs), *measures, "--published", runs / "published.json"
    )
    assert re.fullmatch(r"wrote \S+out\.png, \S+out\.svg, \S+out\.json\n", done.stdout)
    assert done.stderr == ""
    record, words, markers = _drawn(runs)
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


def test_same_figure_same_bytes(runs, capsys):
    written = []
    for _ in range(2):
        main(_arguments(runs))
        written.append((runs / "out.svg").read_bytes())
    assert written[0] == written[1]
    assert b"<dc:date>" not in written[0]


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
    record, words, markers = _drawn(runs)
    assert label in record["x"]
    assert record["x"] in words
    assert [point["x"] for point in record["points"]] == pytest.approx(xs)
    assert sum(markers.values()) == 3


def test_encoding_counts_if_asked(runs, capsys):
    main([*_arguments(runs, "speed", ["jpq48"]), "--with-encoding"])
    assert _drawn(runs)[0]["points"][0]["x"] == 250


def test_smaller_is_on_the_right(runs):
    found = points.of_runs({"jpq48": runs / "jpq48.txt", "flat": runs / "flat.txt"})
    found = points.scored(found, {"q1": {"d1": 1}}, ["RR@10"])
    with style.in_print():
        figure, _ = tradeoff.draw(found, ["RR@10"], tradeoff.memory(found))
    left, right = figure.axes[0].get_xlim()
    assert left > 3072 > 48 > right


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


def test_published_points_of_the_paper():
    for name, jpq, times in (("marco-passage", 0.341, 186), ("marco-doc", 0.401, 5833)):
        assert name in points.shipped()
        measure = "RR@10" if name == "marco-passage" else "RR@100"
        by_title = {point.title: point for point in points.of_publications(name, [measure, "R@100"])}
        assert by_title["JPQ"].values[measure] == jpq
        ratio = by_title["ColBERT"].fact("bytes_per_document") / by_title["JPQ"].fact("bytes_per_document")
        assert ratio == pytest.approx(times, rel=0.01)
        assert all(point.facts.source for point in by_title.values())


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


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("\udcff", "not JSON"),
        ("{}", "must be a list of points"),
        ('[{"title": "x", "source": "y"}]', "point 1 has no 'values'"),
        ('[{"title": "x", "values": {"RR@10": 0.1}}]', "point 1 has no 'source'"),
        ('[{"values": {"RR@10": 0.1}, "source": "y"}]', "point 1 has no 'title'"),
        ('[{"title": "x", "values": {"RR@10": 0.1}, "source": "y", "size": 3}]', "'size' is no fact"),
        ('[{"title": "x", "values": {"RR@10": 0.1}, "source": "y", "bytes_per_document": 0}]', "must be positive"),
    ],
)
def test_bad_published_points_are_told(tmp_path, text, message):
    (tmp_path / "p.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(JPQError, match=message):
        main(["size", "--published", str(tmp_path / "p.json"), "--output", str(tmp_path / "out")])


def test_yaml_points(tmp_path, capsys):
    (tmp_path / "p.yaml").write_text("- {title: x, values: {RR@10: 0.1}, source: y, bytes_per_document: 3}\n")
    main(["size", "--published", str(tmp_path / "p.yaml"), "--output", str(tmp_path / "out")])
    record, words, markers = _drawn(tmp_path)
    assert record["points"][0]["x"] == 3
    assert "x" in words
    assert markers == {"published:x:RR@10": 1}


def test_published_points_without_the_fact_are_left_out(tmp_path, capsys):
    published = ["--published", "marco-passage", "--output", str(tmp_path / "out")]
    main(["speed", *published])
    record, _, _ = _drawn(tmp_path)
    assert {point["title"]: point["x"] for point in record["points"]}["JPQ"] == pytest.approx(1 / 0.73)
    assert len(record["points"]) == 7
    assert "note: 17 published points have no ms_per_query, left out: Annoy, " in capsys.readouterr().err
    with pytest.raises(JPQError, match="no point has ms_per_query and encode_ms_per_query"):
        main(["speed", *published, "--with-encoding"])


def test_times_with_different_threads_do_not_mix(runs):
    write_facts(runs / "jpq96.txt", Facts(ms_per_query=1, threads=2))
    with pytest.raises(JPQError, match="flat with 1, jpq96 with 2"):
        main(_arguments(runs, "speed", ["flat", "jpq96"]))


def test_ablation_from_runs_and_from_scores(runs, capsys):
    named = {"OPQ@16": "jpq48", "OPQ@48": "flat", "JPQ@16": "jpq96", "JPQ@48": "jpq48", "flat": "flat"}
    chosen = [word for name, file in named.items() for word in ("--run", f"{name}={runs / file}.txt")]
    measures = ["--measures", "RR@10", "R@100"]
    main([*_arguments(runs, "ablation", []), *chosen, *measures])
    record, words, markers = _drawn(runs)
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


def _negative_arguments(tiny, folder, *options):
    files = ["--topics", tiny / "topics.tsv", "--qrels", tiny / "qrels.txt", "--output", folder / "out"]
    return [
        "negatives",
        *map(str, ["--embeddings", tiny / "flat", "--index", f"tiny={tiny / 'index'}", *files, *options]),
    ]


def test_negatives(tiny, tmp_path, capsys):
    main(_negative_arguments(tiny, tmp_path, "--qid", "q3", "q5", "--negatives", "12"))
    record, words, markers = _drawn(tmp_path)
    index, flat = JPQIndex.open(tiny / "index"), FlatFolder.open(tiny / "flat")
    topics = dict(line.rstrip("\n").split("\t") for line in (tiny / "topics.tsv").open())
    printed = capsys.readouterr().out
    for panel, relevant in zip(record["panels"], (3, 5), strict=True):
        query = embed_queries(load_text_encoder(str(tiny / "encoder")), [topics[panel["qid"]]])
        exact = [row for row in np.argsort(-(query @ flat.embeddings.T)[0]) if row != relevant][:12]
        coded = [row for row in np.argsort(-index.codec.scores(query, index.codes)[0]) if row != relevant][:12]
        kinds = {f"d{row}": "both" if row in exact and row in coded else "bf" for row in exact}
        kinds |= {f"d{row}": "jpq" for row in coded if row not in exact} | {f"d{relevant}": "relevant"}
        assert {each["docid"]: each["kind"] for each in panel["documents"]} == kinds
        assert panel["shared"] == len(set(exact) & set(coded))
        assert f"tiny, query {panel['qid']}: {panel['shared']} of 12 negatives" in printed
        for kind in ("both", "bf", "jpq", "relevant"):
            expected = sum(each == kind for each in kinds.values())
            assert markers.get(f"{kind}:tiny:{panel['qid']}", 0) == expected
        assert markers[f"query:tiny:{panel['qid']}"] == 1
        assert np.isfinite([panel["query"], *(each["place"] for each in panel["documents"])]).all()
    assert {"BF negative only", "JPQ negative only", "negative of both", "relevant", "query"} <= set(words)


def test_few_negatives_and_the_same_seed(tiny, tmp_path, capsys):
    written = []
    for _ in range(2):
        main(_negative_arguments(tiny, tmp_path, "--qid", "q0", "--negatives", "1"))
        written.append((tmp_path / "out.svg").read_bytes())
    assert written[0] == written[1]


def test_distances_follow_inner_products():
    rng = np.random.default_rng(0)
    documents, query = rng.normal(size=(40, 8)).astype(np.float32), rng.normal(size=8).astype(np.float32)
    together = negatives.of_one_length(documents, query)
    assert np.linalg.norm(together, axis=1) == pytest.approx(np.linalg.norm(documents, axis=1).max())
    distances = np.linalg.norm(together[:-1] - together[-1], axis=1)
    assert np.argsort(distances).tolist() == np.argsort(-documents @ query).tolist()


def test_bad_negatives_are_told(tiny, tmp_path):
    with pytest.raises(JPQError, match=r"--qid q77: no such query .*20 have one, the first is q0"):
        main(_negative_arguments(tiny, tmp_path, "--qid", "q77"))
    shutil.copytree(tiny / "flat", tmp_path / "other")
    docids = (tiny / "flat" / "docid").read_text().split()
    (tmp_path / "other" / "docid").write_text("".join(f"{docid}\n" for docid in [*docids[:250], *docids[:249:-1]]))
    other = FlatFolder.open(tmp_path / "other")
    with pytest.raises(JPQError, match=r"not of one collection, document 250 is 'd250' in one and 'd299'"):
        negatives.check_same_collection(JPQIndex.open(tiny / "index"), other)


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
