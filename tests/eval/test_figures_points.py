"""Published points in the figures: those that are shipped, those of a file, and what is told of bad ones."""

import pytest

from jpq_pyserini.errors import JPQError
from jpq_pyserini.eval.figures import points
from jpq_pyserini.eval.figures.__main__ import main

from helpers.figure_files import drawn


def test_published_points_of_the_paper():
    for name, jpq, times in (("marco-passage", 0.341, 186), ("marco-doc", 0.401, 5833)):
        measure = "RR@10" if name == "marco-passage" else "RR@100"
        by_title = {point.title: point for point in points.of_publications(name, [measure, "R@100"])}
        assert by_title["JPQ"].values[measure] == jpq
        ratio = by_title["ColBERT"].fact("bytes_per_document") / by_title["JPQ"].fact("bytes_per_document")
        assert ratio == pytest.approx(times, rel=0.01)
        assert all(point.facts.source for point in by_title.values())
        assert len(by_title) == 24
    assert by_title["HDCT"].values == {"RR@100": 0.319, "R@100": 0.843}  # table 3
    assert by_title["TCT-ColBERT"].values == {"RR@100": round(0.401 * 0.83, 3), "R@100": round(0.914 * 0.95, 3)}
    assert (by_title["ADORE+STAR"].facts.ms_per_query, by_title["ADORE+STAR"].facts.threads) == (2500, 1)  # table 2
    assert by_title["STAR"].facts.bytes_per_document == 3072
    assert by_title["OPQ"].facts.bytes_per_document == pytest.approx(0.30 * 2**30 / 3_213_835, abs=0.05)
    assert by_title["OPQ"].facts.source == "Zhan et al. (CIKM 2021), table 1; Zhan et al. (CIKM 2021), table 2"


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
    record, words, markers = drawn(tmp_path)
    assert record["points"][0]["x"] == 3
    assert "x" in words
    assert markers == {"published:x:RR@10": 1}


@pytest.mark.slow
def test_published_points_without_the_fact_are_left_out(tmp_path, capsys):
    published = ["--published", "marco-passage", "--output", str(tmp_path / "out")]
    main(["speed", *published])
    record, _, _ = drawn(tmp_path)
    assert {point["title"]: point["x"] for point in record["points"]}["JPQ"] == pytest.approx(1 / 0.73)
    assert len(record["points"]) == 7
    assert "note: 17 published points have no ms_per_query, left out: Annoy, " in capsys.readouterr().err
    with pytest.raises(JPQError, match="no point has ms_per_query and encode_ms_per_query"):
        main(["speed", *published, "--with-encoding"])
