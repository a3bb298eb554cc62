"""Experiments as data through the real command line: prepared, judged, resumed, shown."""

import json
import re
from pathlib import Path

import pytest

from jpq_pyserini.data.topics import read_qrels
from jpq_pyserini.errors import JPQError
from jpq_pyserini.eval.comparison import compare
from jpq_pyserini.eval.facts import read_facts
from jpq_pyserini.eval.reproduce import __main__ as command

from helpers.forked import fork_steps
from helpers.processes import run_python

EXPERIMENT = """\
title: a tiny collection
variables:
  collection: {help: "folder with flat, topics.tsv and qrels.txt"}
  encoder: {}
  hits: {default: 50}
requires: [$collection/qrels.txt]
measures: [RR@10, R@5]
against: opq
topics:
  - {topic_key: all, topics: $collection/topics.tsv, eval_key: $collection/qrels.txt}
steps:
  - name: opq$m
    matrix: {m: [8, 16]}
    makes: indexes/opq$m
    command: python -m jpq_pyserini.train --embeddings $collection/flat --encoder $encoder --epochs 0 --m $m --nbits 4 --output $output
conditions:
  - name: opq
    display: OPQ, M=8
    group: OPQ
    tolerance: 0.01
    needs: opq8
    index: indexes/opq8
    command: python -m pyserini.search.faiss --encoder jpq --index indexes/opq8 --topics $topics --hits $hits --output $output
    topics:
      - topic_key: all
        scores:
          - RR@10: SCORE
  - name: top-$k
    matrix: {k: [2, 5]}
    command: sed -n "/ [1-$k] [-0-9.]* Faiss$$/w $output" run.tiny.opq.all.txt
"""  # noqa: E501


def _reproduce(capsys, *arguments, status=0):
    """Call the command in this process; return what it said as ``out`` and ``err``."""
    assert command.main([*map(str, arguments)]) == status
    return capsys.readouterr()


def _experiment(path: Path, score) -> Path:
    path.write_text(EXPERIMENT.replace("SCORE", str(score)))
    return path


@pytest.mark.slow
def test_prepared_run_judged_and_resumed(tiny, tmp_path, capsys):
    out = tmp_path / "out put"  # a blank, on purpose
    given = ("--collection", tiny, "--encoder", tiny / "encoder", "--directory", out, "--threads", 1)
    experiment = _experiment(tmp_path / "tiny.yaml", "null")

    first = run_python("-m", "jpq_pyserini.eval.reproduce", experiment, *given)
    assert "[4/4] condition top-5 on all" in first.stderr
    assert "6 measured" in first.stdout
    runs = {name: out / f"run.tiny.{name}.all.txt" for name in ("opq", "top-2", "top-5")}
    assert len(runs["top-5"].read_text().splitlines()) == 5 * 20
    comparison = compare(runs, read_qrels(tiny / "qrels.txt"), ["RR@10", "R@5"], against="opq")
    record = json.loads((out / "tiny.json").read_text())
    scores = {condition["name"]: condition["scores"] for condition in record["conditions"]}
    for name, means in comparison.means().items():
        assert {measure: score["value"] for measure, score in scores[name].items()} == means
    assert scores["top-2"]["RR@10"]["p_value"] == comparison.p_values()["top-2"]["RR@10"]
    assert scores["top-2"]["RR@10"]["against"] == "opq"
    assert [item["title"] for item in record["made"][:2]] == ["step opq8", "condition opq on all"]  # not opq16
    assert record["versions"]["jpq_pyserini"]
    assert record["variables"]["hits"] == "50"
    assert not list((out / ".reproduce" / "partial").iterdir())

    facts = read_facts(runs["opq"])
    size = (out / "indexes" / "opq8" / "index").stat().st_size
    assert (facts.documents, facts.title, facts.group) == (300, "OPQ, M=8", "OPQ")
    assert facts.bytes_per_document == round(size / 300, 1)
    assert facts.command.startswith("python -m pyserini.search.faiss --encoder jpq --index indexes/opq8")

    # the same again: nothing is made; now something is expected, and is found
    value = comparison.means()["opq"]["RR@10"]
    written = {path: path.stat().st_mtime_ns for path in runs.values()}
    _experiment(experiment, round(value, 4))
    second = _reproduce(capsys, experiment, *given)
    assert "[1/" not in second.err
    assert {path: path.stat().st_mtime_ns for path in runs.values()} == written
    assert "1 OK, 5 measured" in second.out
    assert f"{value:.4f} [OK]" in second.out
    assert "(before, " in second.out

    # within twice the tolerance, then beyond it
    _experiment(experiment, round(value, 4) - 0.015)
    assert "1 OKish, 5 measured" in _reproduce(capsys, experiment, *given).out
    _experiment(experiment, round(value, 4) - 0.05)
    failed = _reproduce(capsys, experiment, *given, status=1)
    assert f"[FAIL] expected {round(value, 4) - 0.05:.4f}" in failed.out
    assert json.loads((out / "tiny.json").read_text())["marks"] == {"FAIL": 1, "measured": 5}
    assert r"\[FAIL\] expected" in (out / "tiny.md").read_text()

    # one run taken away: only that is made; what another command has made is told
    runs["top-2"].unlink()
    third = _reproduce(capsys, experiment, *given, "--set", "hits=60", "--condition", "top-*", "--skip-eval")
    assert "[1/1] condition top-2 on all" in third.err
    assert "FAIL" not in third.out
    told = _reproduce(capsys, experiment, *given, "--set", "hits=60", status=1).out
    assert sum("by another command" in line for line in told.splitlines()) == 1


def test_published_numbers_stand_beside_and_below(tmp_path, capsys):
    (tmp_path / "qrels.txt").write_text("1 0 a 1\n2 0 b 1\n")
    (tmp_path / "hits.txt").write_text("1 Q0 a 1 2 t\n1 Q0 x 2 1 t\n2 Q0 y 1 2 t\n2 Q0 b 2 1 t\n")
    (tmp_path / "paper.yaml").write_text(
        "title: published\npublished: jpq-cikm2021\nmeasures: [RR@10]\nvariables: {at: {}}\n"
        "topics: [{topic_key: msmarco-v1-passage.dev, topics: x, eval_key: $at/qrels.txt}]\n"
        "conditions: [{name: ours, system: JPQ, command: cp $at/hits.txt $output}]\n"
    )
    out = tmp_path / "out"
    assert command.main([str(tmp_path / "paper.yaml"), "--set", f"at={tmp_path}", "--directory", str(out)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "ours 0.7500 (0.341)" in [re.sub(" +", " ", line) for line in lines]
    assert "(Annoy) (0.150**)" in [re.sub(" +", " ", line) for line in lines]
    assert "| ours | 0.7500 (0.341) |" in (out / "paper.md").read_text()
    assert "`cp $at/hits.txt run.paper.ours.msmarco-v1-passage.dev.txt`" in (out / "paper.md").read_text()
    record = json.loads((out / "paper.json").read_text())
    score = record["conditions"][0]["scores"]["RR@10"]
    assert score["published"] == {"text": "0.341", "source": "Zhan et al. (CIKM 2021), table 1"}
    assert len(record["published"]) == 308


def test_measured_times_stand_in_the_table_and_those_of_a_hybrid_are_sums(tmp_path, capsys):
    (tmp_path / "qrels.txt").write_text("1 0 a 1\n2 0 b 1\n")
    (tmp_path / "hits.txt").write_text("1 Q0 a 1 2 t\n1 Q0 x 2 1 t\n2 Q0 y 1 2 t\n2 Q0 b 2 1 t\n")
    (tmp_path / "times" / "runs").mkdir(parents=True)
    for name, search, encoding in (("dense", 0.25, 12), ("sparse", 2, 0)):
        facts = {"ms_per_query": search, "encode_ms_per_query": encoding}
        (tmp_path / "times" / "runs" / f"{name}.facts.json").write_text(json.dumps(facts))
    (tmp_path / "timed.yaml").write_text(
        "title: timed\nmeasures: [RR@10]\nvariables: {at: {}}\ntiming: times\nnotes: see $at\n"
        "topics: [{topic_key: t, topics: x, eval_key: $at/qrels.txt}]\n"
        "steps: [{name: times, command: cp -r $at/times $output}]\n"
        "conditions:\n  - {name: dense, command: cp $at/hits.txt $output}\n"
        "  - {name: sparse, command: cp $at/hits.txt $output}\n"
        "  - {name: both, runs: [dense, sparse], command: cp $dense $output}\n"
    )
    out = tmp_path / "out"
    assert command.main([str(tmp_path / "timed.yaml"), "--set", f"at={tmp_path}", "--directory", str(out)]) == 0
    lines = [re.sub(" +", " ", line) for line in capsys.readouterr().out.splitlines()]
    assert " RR@10 ms/query search with encoding" in lines
    assert "dense 0.7500 0.25 12.25" in lines
    assert "both 0.7500 2.25 14.25" in lines
    assert f"see {tmp_path}" in lines
    assert read_facts(out / "run.timed.both.t.txt").ms_per_query == 2.25


def test_dry_run_shows_commands_and_makes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    experiment = _experiment(tmp_path / "tiny.yaml", 0.5)
    shown = _reproduce(capsys, experiment, "--dry-run").out.splitlines()
    assert shown[0] == f"cd {tmp_path}/runs/tiny"
    assert (
        "python -m jpq_pyserini.train --embeddings $collection/flat --encoder $encoder --epochs 0 --m 8 --nbits 4 "
        "--output indexes/opq8"
    ) in shown
    assert sum(line.startswith("# ") for line in shown) == 4
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "name an experiment: --list shows"),
        (("sqad",), "no experiment 'sqad': .*did you mean 'squad'"),
        (("TINY",), "tiny needs $collection (folder with flat, topics.tsv and qrels.txt): give --collection ..."),
        (("TINY", "--collection", "x"), "tiny needs $encoder: give --encoder ..."),
        (("TINY", "--collection", "x", "--encoder", "y"), "/x/qrels.txt, which is missing: check --collection ..."),
        (("TINY", "--set", "hit=3"), "tiny has no variable 'hit': there are .*did you mean 'hits'"),
        (("TINY", "--set", "hits"), "--set hits: write NAME=VALUE"),
        (("TINY", "--dry-run", "--condition", "jpq*"), "tiny: no condition 'jpq*': there are opq, top-2, top-5"),
        (("TINY", "--dry-run", "--threads", "0"), "--threads 0: must be at least 1"),
    ],
)  # fmt: skip
def test_bad_command_lines_end_in_one_line(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    experiment = _experiment(tmp_path / "tiny.yaml", 0.5)
    with pytest.raises(JPQError) as caught:
        command.main([str(experiment) if argument == "TINY" else argument for argument in arguments])
    for part in message.split(".*"):
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_condition_without_its_variable_is_left_out(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    command.main(["squad", "--dry-run"])
    assert "doc2query" not in capsys.readouterr().out
    command.main(["squad", "--dry-run", "--set", "doc2query=t5", "--condition", "docT5query"])
    shown = capsys.readouterr().out
    assert "expansion predict --model t5 --corpus $collection/corpus.jsonl --samples 40 --resume" in shown
    with pytest.raises(JPQError, match=r"docT5query needs \$doc2query \(.*\): give --set doc2query=\.\.\."):
        command.main(["squad", "--dry-run", "--condition", "docT5query"])


@pytest.mark.slow
def test_lists(capsys):
    command.main(["--list"])
    assert "msmarco-passage " in capsys.readouterr().out
    command.main(["squad", "--list"])
    shown = capsys.readouterr().out
    assert "hybrid BM25 + JPQ  (test)" in shown
    assert "docT5query  (test; only with --set doc2query=...)" in shown
    assert "--set alpha=..." in shown


@pytest.mark.slow
def test_vectors_on_disk_have_a_column_and_commands_an_environment(tiny, tmp_path, monkeypatch, capsys):
    fork_steps(monkeypatch)
    (tmp_path / "search.py").write_text(
        "import os, sys\n"
        "assert os.environ['JPQ_RESCORE'] == '7'\n"
        "open(sys.argv[1], 'w').writelines(f'q{i} Q0 d{i} 1 1.0 t\\n' for i in range(20))\n"
    )
    experiment = tmp_path / "stages.yaml"
    experiment.write_text(f"""
title: Two stages
variables: {{collection: {{}}, encoder: {{}}}}
measures: [RR@10]
codes_only: true
topics: [{{topic_key: all, topics: $collection/topics.tsv, eval_key: $collection/qrels.txt}}]
steps:
  - name: opq
    command: >-
      python -m jpq_pyserini.train --embeddings $collection/flat --encoder $encoder --epochs 0 --m 8 --nbits 4
      --vectors int8 --output $output
conditions:
  - {{name: two, needs: opq, index: opq, command: "env JPQ_RESCORE=7 python {tmp_path}/search.py $output"}}
""")
    out = tmp_path / "out"
    given = ("--collection", tiny, "--encoder", tiny / "encoder", "--directory", out)
    printed = _reproduce(capsys, experiment, *given).out
    header, row = (line.split() for line in printed.splitlines()[3:5])
    assert header == ["RR@10", "bytes/doc", "vectors", "on", "disk"]
    assert row == ["two", "1.0000", "4", "36"]  # 8 × 4 bits; a scale and 32 integers
    assert read_facts(out / "run.stages.two.all.txt").vector_bytes_per_document == 36
    assert "env JPQ_RESCORE=7 python " in read_facts(out / "run.stages.two.all.txt").command
