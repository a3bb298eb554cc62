"""Experiments as files: those that come with the package, and every mistake that one can hold."""

import json
import re
import shlex
import subprocess
import sys

import pytest

from jpq_pyserini.errors import JPQError
from jpq_pyserini.eval.reproduce.loading import FOLDER, known_experiments, load
from jpq_pyserini.eval.reproduce.published import read_published
from jpq_pyserini.eval.reproduce.scoring import judge

GOOD = """\
title: a title
variables: {collection: {}}
topics:
  - {topic_key: t, topics: $collection/t.tsv, eval_key: $collection/q.txt}
steps:
  - {name: a, needs: [], command: make $output}
  - {name: b, needs: a, command: make --from a $output}
conditions:
  - name: c-$m
    matrix: {m: [8, 16]}
    needs: b
    command: search --m ${m} $topics $output
    topics:
      - topic_key: t
        scores:
          - {m: 8, RR@10: 0.5}
          - {m: 16, RR@10: 0.6, R(rel=2)@100: 0.9}
"""


def _load(tmp_path, text):
    (tmp_path / "e.yaml").write_text(text)
    return load(tmp_path / "e.yaml")


def test_a_matrix_makes_conditions_with_scores_of_their_own(tmp_path):
    conditions = _load(tmp_path, GOOD).conditions
    assert list(conditions) == ["c-8", "c-16"]
    assert conditions["c-16"].commands == ("search --m 16 $topics $output",)
    assert conditions["c-8"].expected["t"].scores == {"RR@10": 0.5}
    assert conditions["c-16"].expected["t"].scores == {"RR@10": 0.6, "R(rel=2)@100": 0.9}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("title: a title\n", ""), "e.yaml:1: the experiment: 'title' is missing"),
        (("title:", "titel:"), "e.yaml:1: the experiment: unknown key 'titel': .* did you mean 'title'?"),
        (("title: a title", "title: [a"), "e.yaml:2: not YAML: "),
        (("title: a title", "title: a\ntitle: b"), "e.yaml:2: 'title' is given twice"),
        (("title: a title", "title: 3"), "e.yaml:1: the experiment: title is 3: it must be a text"),
        (("    needs: b\n", "    need: b\n"), "e.yaml:11: condition c-$m: unknown key 'need': .*'needs'?"),
        (("command: make $output}", "makes: x}"), "e.yaml:6: step a: 'command' is missing"),
        (("command: make $output", "command: make"), "e.yaml:6: step a: no $output in the command"),
        (("needs: []", "needs: [b]"), "e.yaml:6: steps need each other in a circle: a needs b needs a"),
        (("needs: b\n", "needs: bb\n"), "e.yaml:9: condition c-8: needs 'bb', which is no step; did you mean 'b'?"),
        (("$topics $output", "$topic $output"), "e.yaml:9: condition c-8: unknown variable $topic .*$topics?"),
        (("make --from a $output", "make $topics $output"), "e.yaml:7: step b: unknown variable $topics"),
        (("make --from a", "make 5$"), "e.yaml:7: step b: .* holds a '$' that begins no variable"),
        (("make --from a", "'make \"\"\" '"), "e.yaml:7: "),
        (("search --m", "search '"), "e.yaml:9: condition c-8: the command .* cannot be split"),
        (("topic_key: t\n", "topic_key: u\n"), "e.yaml:14: condition c-8: no topics 'u' above: there are t"),
        (("RR@10: 0.5", "RRR: 0.5"), "e.yaml:16: condition c-8: unknown measure 'RRR'"),
        (("RR@10: 0.5", "RR@10: high"), "e.yaml:16: condition c-8: RR@10 is 'high': it must be a number"),
        (("RR@10: 0.5", "RR@10: 50"), "e.yaml:16: condition c-8: RR@10 is 50: it must be a number between 0 and 1"),
        (("{m: 8, RR@10: 0.5}", "{RR@10: 0.5}"), "e.yaml:17: condition c-16: RR@10 is given twice"),
        (("{m: 16, RR", "{m: 17, RR"), "e.yaml:17: condition c-8: m is 17: the matrix has [8, 16]"),
        (("scores:\n", "scores: []\n      - topic_key: t\n        scores:\n"), "e.yaml:16: condition c-8: the topics"),
        (("name: b,", "name: b, makes: a,"), "e.yaml:7: step b makes 'a', as step a does"),
        (("m: [8, 16]", "m: 8"), "e.yaml:10: condition c-$m: matrix m is 8: it must be a list"),
        (("c-$m", "c"), "e.yaml:9: the condition 'c' is there already, at .*e.yaml:9: rename one"),
        (("needs: b\n", "against: d\n    needs: b\n"), "e.yaml:9: condition c-8: against 'd': no condition"),
        (("needs: b\n", "system: X\n    needs: b\n"), "e.yaml:9: condition c-8: no published table has .*'X'"),
        (("title: a title", "title: t\npublished: none"), "e.yaml:1: published: there is no 'none' in .*jpq-cikm2021"),
        (("name: a,", "name: a, makes: ../a,"), "e.yaml:6: step a: makes '../a': it must be inside the directory"),
        (("{collection: {}}", "{output: {}}"), "e.yaml:2: variable output: every experiment has it"),
    ],
)  # fmt: skip
def test_mistakes_have_a_line_and_a_remedy(tmp_path, change, message):
    assert change[0] in GOOD
    with pytest.raises(JPQError) as caught:
        _load(tmp_path, GOOD.replace(*change))
    assert re.search(".*".join(map(re.escape, message.split(".*"))), str(caught.value)), caught.value
    assert "\n" not in str(caught.value)


def test_unsafe_tags_are_no_yaml(tmp_path):
    with pytest.raises(JPQError, match="could not determine a constructor"):
        _load(tmp_path, GOOD.replace("a title", "!!python/object/apply:os.getcwd []"))


@pytest.mark.parametrize(
    ("value", "expected", "tolerance", "mark"),
    [
        (0.79248749, 0.7925, 0.0, "OK"),
        (0.79261, 0.7925, 0.0, "OKish"),
        (0.79304, 0.7925, 0.0, "OKish"),
        (0.79306, 0.7925, 0.0, "FAIL"),
        (0.79196, 0.7925, 0.0, "OKish"),
        (0.6174, 0.6124, 0.005, "OK"),
        (0.6024, 0.6124, 0.005, "OKish"),
        (0.6225, 0.6124, 0.005, "FAIL"),  # better is not what was expected either
        (0.3, None, 0.0, "measured"),
    ],
)
def test_judgement(value, expected, tolerance, mark):
    assert judge(value, expected, tolerance) == mark


@pytest.mark.parametrize("name", known_experiments())
def test_shipped_experiments_load(name):
    experiment = load(name)
    assert experiment.conditions
    assert experiment.about


def _commands():
    experiments = [load(name) for name in known_experiments()]
    entries = [entry for each in experiments for entry in (*each.steps.values(), *each.conditions.values())]
    return [shlex.split(command) for entry in entries for command in entry.commands]


def test_flags_of_our_own_commands_exist():
    used: dict[tuple, set[str]] = {}
    for words in _commands():
        if words[:2] == ["python", "-m"] and words[2].startswith("jpq_pyserini."):
            command = tuple(words[2:3] if words[3].startswith("-") else words[2:4])
            used.setdefault(command, set()).update(word for word in words if word.startswith("--"))
    assert len(used) >= 4
    for command, flags in used.items():
        done = subprocess.run(
            [sys.executable, "-m", *command, "--help"], capture_output=True, text=True, check=True, timeout=300
        )
        assert flags <= set(re.findall(r"--[a-z][a-z0-9-]*", done.stdout)), command


def test_prebuilt_names_are_of_our_catalogue_or_pyserinis():
    from jpq_pyserini.prebuilt.catalogue import BUILT_IN

    ours = json.loads(BUILT_IN.read_text(encoding="utf-8"))
    named = {word for words in _commands() for word in words if re.search(r"\.jpq-m\d+$", word)}
    assert len(named) == 12
    assert named <= set(ours)


def test_published_numbers_as_they_are_printed():
    numbers = read_published("jpq-cikm2021", "here")
    by_place = {(n.source[-7:], n.system, n.topic_key or n.of, n.measure or n.fact): n for n in numbers}
    annoy = by_place["table 1", "Annoy", "msmarco-v1-passage.dev", "RR@10"]
    assert (annoy.text, annoy.value, annoy.mark, annoy.group) == ("0.150**", 0.15, "**", "Non-exhaust. ANNS")
    falconn = by_place["table 1", "FALCONN", "passage", "index GB"]
    assert (falconn.text, falconn.value) == (">25.34", None)
    colbert = by_place["table 5", "ColBERT", "msmarco-v1-passage.dev", "RR@10"]
    assert (colbert.text, colbert.value) == ("+6%", None)
    assert by_place["table 3", "HDCT", "dl19-doc", "nDCG@10"].text == "n.a."


def test_the_authors_numbers_are_those_of_the_catalogue():
    from jpq_pyserini.prebuilt.catalogue import BUILT_IN

    entry = json.loads(BUILT_IN.read_text(encoding="utf-8"))["msmarco-v1-passage.jpq-m96"]["jpq"]
    theirs = sorted(scores["NDCG@10"] for scores in entry["dual_encoder"]["expected"].values())
    ours = load("beir").conditions["jpq-m96"].expected
    assert sorted(each.scores["nDCG@10"] for each in ours.values()) == theirs
    assert sorted(each.published["nDCG@10"].value for each in ours.values()) == theirs


def test_experiments_are_package_data():
    assert (FOLDER / "squad.yaml").is_file()
    assert (FOLDER / "published" / "jpq-cikm2021.yaml").is_file()
