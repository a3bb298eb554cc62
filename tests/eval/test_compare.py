"""The command: its options, its notes and its errors."""

import json
import re
import subprocess
import sys

import pytest

from jpq_pyserini.errors import JPQError
from jpq_pyserini.eval import compare
from jpq_pyserini.eval.facts import Facts, write_facts
from jpq_pyserini.eval.measures import DEFAULT_MEASURES


def _write_qrels(path, qrels):
    path.write_text("".join(f"{q} 0 {d} {r}\n" for q, docs in qrels.items() for d, r in docs.items()))
    return path


@pytest.fixture
def files(tmp_path):
    """Write qrels of 12 queries, a run ``best`` that ranks the relevant document first, and ``half`` second."""
    _write_qrels(tmp_path / "qrels.txt", {str(q): {"rel": 1} for q in range(12)})
    for name, score in (("best", 3), ("half", 1)):
        lines = (f"{q} Q0 rel 1 {score} t\n{q} Q0 other 2 {2 + q % 2 / 2} t\n" for q in range(12))
        (tmp_path / f"{name}.txt").write_text("".join(lines))
    return tmp_path


def _arguments(files, *more):
    return [
        "--qrels",
        str(files / "qrels.txt"),
        "--run",
        str(files / "half.txt"),
        "--run",
        f"JPQ={files}/best.txt",
        *more,
    ]


def test_terminal_table(files, capsys):
    compare.main(_arguments(files, "--against", "half", "--measures", "RR@10", "R@100"))
    header, half, jpq, _, queries, legend = capsys.readouterr().out.splitlines()
    assert header.split() == ["run", "RR@10", "R@100"]
    assert half.split() == ["half", "0.5000", ">1.0000"]
    assert jpq.split() == ["JPQ", ">1.0000**", ">1.0000"]
    assert queries == "12 queries; > best"
    assert "against half" in legend
    assert half.index(".5000") == jpq.index(".0000")


def test_markdown_and_json(files, capsys):
    compare.main(_arguments(files, "--against", "half", "--format", "markdown", "--measures", "RR@10"))
    lines = capsys.readouterr().out.splitlines()
    assert lines[:4] == ["| run | RR@10 |", "| --- | ---: |", "| half | 0.5000 |", r"| JPQ | **1.0000**\*\* |"]
    compare.main(_arguments(files, "--format", "json", "--output", str(files / "out" / "table.json")))
    assert capsys.readouterr().out == ""
    record = json.loads((files / "out" / "table.json").read_text())
    assert record["queries"] == 12
    assert [run["name"] for run in record["runs"]] == ["half", "JPQ"]
    assert list(record["runs"][0]["means"]) == list(DEFAULT_MEASURES)
    assert record["runs"][0]["means"]["RR@10"] == 0.5


def test_per_query_values(files):
    compare.main(_arguments(files, "--per-query", str(files / "values.tsv"), "--output", str(files / "t.txt")))
    header, *rows = [line.split("\t") for line in (files / "values.tsv").read_text().splitlines()]
    assert header == ["qid", "run", "measure", "value"]
    assert len(rows) == 12 * 2 * 4
    assert ["11", "half", "RR@10", "0.5"] in rows


def test_unanswered_queries_are_mentioned(files, capsys):
    (files / "best.txt").write_text("3 Q0 rel 1 1 t\n")
    compare.main(_arguments(files))
    assert (
        "note: JPQ: no result for 11 of the 12 judged queries, which count zero (first: 0)" in capsys.readouterr().err
    )


def test_bad_command_lines_end_in_one_line(files):
    def stderr_of(*arguments):
        command = [sys.executable, "-m", "jpq_pyserini.eval.compare", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 1
        return done.stderr

    (files / "old.tsv").write_text("precious")
    twice = stderr_of(*_arguments(files, "--run", f"JPQ={files}/half.txt"))
    assert re.fullmatch(r"error: two runs are called 'JPQ' .*name them with --run NAME=RUN\n", twice)
    (files / "best.txt").write_text("other Q0 rel 1 1 t\n")
    foreign = stderr_of(*_arguments(files, "--per-query", str(files / "old.tsv")))
    assert re.fullmatch(r"error: .*best\.txt: none of the run's 1 query ids .*\n", foreign)
    assert (files / "old.tsv").read_text() == "precious"


def test_against_and_measures_are_checked_before_reading(files):
    with pytest.raises(JPQError, match="--against OPQ: no run of that name, there are half, JPQ"):
        compare.main(_arguments(files, "--against", "OPQ"))
    with pytest.raises(JPQError, match="unknown measure 'NDGC@10'"):
        compare.main(["--qrels", "absent", "--run", "absent", "--measures", "NDGC@10"])


def test_forms_go_by_the_endings_of_the_outputs(files, capsys):
    names = ["t.txt", "t.md", "t.tex", "t.json", "t.html", "t"]
    compare.main(_arguments(files, *(word for name in names for word in ("--output", str(files / name)))))
    starts = [(files / name).read_text()[:4] for name in names]
    assert starts == ["run ", "| ru", "% \\u", "{\n  ", "<!do", "run "]
    assert capsys.readouterr().out == ""
    compare.main(_arguments(files, "--format", "latex"))
    assert capsys.readouterr().out == (files / "t.tex").read_text()


def test_gains_list_the_queries_won_and_lost(files, capsys):
    (files / "topics.tsv").write_text("".join(f"{q}\tquestion {q}\n" for q in range(12)))
    lines = (files / "best.txt").read_text().splitlines(keepends=True)
    (files / "best.txt").write_text("".join(line for line in lines if not line.startswith("7 ")))
    more = ("--against", "half", "--gains", "JPQ:2", "--topics", str(files / "topics.tsv"), "--measures", "RR@10")
    compare.main(_arguments(files, *more, "--format", "json"))
    record = json.loads(capsys.readouterr().out)["gains"]
    assert len(record) == 1
    gains = record[0]
    assert [gains[key] for key in ("run", "against", "measure", "wins", "ties", "losses")] == [
        *("JPQ", "half", "RR@10"),
        *(11, 0, 1),
    ]
    assert [change["qid"] for change in gains["won"]] == ["0", "1"]
    assert gains["lost"] == [
        {
            "qid": "7",
            "text": "question 7",
            "difference": -0.5,
            "value": 0.0,
            "other": 0.5,
            "hits": {"first": None, "relevant_rank": None},
            "other_hits": {"first": "other", "relevant_rank": 2},
        }
    ]
    compare.main(_arguments(files, *more))
    text = capsys.readouterr().out
    assert "JPQ against half, RR@10: 11 queries won, 0 tied, 1 lost" in text
    assert re.search(r"\n +7 +-0\.5000 +0\.0000 +0\.5000 +– / 2 +– +other +question 7\n", text)


def test_correction_is_over_all_tests_of_the_table(files, capsys):
    compare.main(_arguments(files, "--against", "half", "--correction", "bonferroni", "--format", "json"))
    record = json.loads(capsys.readouterr().out)
    jpq = record["runs"][1]
    assert (record["correction"], record["tests"]) == ("bonferroni", 4)
    assert jpq["corrected_p_values"] == {name: min(1, 4 * p) for name, p in jpq["p_values"].items()}
    compare.main(_arguments(files, "--against", "half", "--correction", "holm"))
    assert "Holm's correction over the 4 tests of this table, 1 run × 4 measures" in capsys.readouterr().out


def test_facts_become_columns_and_names(files, capsys):
    write_facts(files / "half.txt", Facts("Half as good", bytes_per_document=48.25, ms_per_query=0.123456, threads=1))
    compare.main(_arguments(files, "--measures", "RR@10", "--against", "Half as good"))
    header, half, jpq, *_, last = capsys.readouterr().out.splitlines()
    assert header.split() == ["run", "RR@10", "bytes/doc", "ms/query"]
    assert half.split() == ["Half", "as", "good", "0.5000", "48.2", "0.123"]
    assert jpq.split() == ["JPQ", ">1.0000**", "–", "–"]
    assert last == "ms/query: median of a search for one query, encoding apart, 1 thread"


def test_a_file_cut_short_is_mentioned(files, capsys):
    (files / "best.txt").write_text("".join(f"{q} Q0 rel 1 1 t\n" for q in range(12)).rstrip())
    compare.main(_arguments(files))
    assert re.search(r"note: JPQ: the last line of \S*best\.txt has no line end", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--correction", "holm"], "--correction holm needs --against"),
        (["--gains", "JPQ"], "--gains JPQ: name another run with --against"),
        (["--against", "JPQ", "--gains", "JPQ"], "--gains JPQ: name another run"),
        (["--against", "JPQ", "--gains", "half:0"], "--gains half:0: give NAME or NAME:K"),
        (["--against", "JPQ", "--gains", "best"], "runs are half, JPQ"),
    ],
)
def test_options_that_do_not_fit(files, more, told):
    with pytest.raises(JPQError, match=told):
        compare.main(_arguments(files, *more))
