"""Experiments as files: those that come with the package, and every mistake that one can hold."""

import json
import re
import shlex

import pytest

from jpq_pyserini.errors import JPQError
from jpq_pyserini.eval.reproduce import published
from jpq_pyserini.eval.reproduce.loading import FOLDER, known_experiments, load
from jpq_pyserini.eval.reproduce.published import read_published
from jpq_pyserini.eval.reproduce.scoring import judge

from helpers.commands import options_of

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
    experiment = _load(tmp_path, GOOD)
    conditions = experiment.condition
    assert list(conditions) == ["c-8", "c-16"]
    assert conditions["c-16"].command == ("search --m 16 $topics $output",)
    assert experiment.expected(conditions["c-8"]) == {"t": {"RR@10": 0.5}}
    assert experiment.expected(conditions["c-16"]) == {"t": {"RR@10": 0.6, "R(rel=2)@100": 0.9}}


def test_pieces_of_commands_are_named_in_commands(tmp_path):
    pieces = "commands: {tail: --to $output, make: make $tail}\n"
    experiment = _load(tmp_path, GOOD.replace("steps:", pieces + "steps:").replace("make $output", "$make --m 3"))
    assert experiment.step["a"].command == ("make --to $output --m 3",)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("title: a title\n", ""), "e.yaml: title: missing"),
        (("title:", "titel:"), "e.yaml: unknown key 'titel': .* did you mean 'title'?"),
        (("title: a title", "title: [a"), "e.yaml:2: not YAML: "),
        (("title: a title", "title: a\ntitle: b"), "e.yaml:2: not YAML: 'title' is given twice"),
        (("title: a title", "title: [3]"), "e.yaml: title: 'a list': "),
        (("    needs: b\n", "    need: b\n"), "e.yaml: conditions.c-8: unknown key 'need': .*'needs'?"),
        (("command: make $output}", "makes: x}"), "e.yaml: steps.a.command: missing"),
        (("command: make $output", "command: make"), "e.yaml: steps.a.command: no $output in the command"),
        (("needs: []", "needs: [b]"), "e.yaml: steps.a.needs: steps need each other in a circle: a needs b needs a"),
        (("needs: []", "needs: [[a]]"), "e.yaml: steps.a.needs.0: 'a list': "),
        (("needs: b\n", "needs: bb\n"), "e.yaml: conditions.c-8.needs: there is no 'bb'; did you mean 'b'?"),
        (("$topics $output", "$topic $output"), "e.yaml: conditions.c-8.command: unknown variable $topic.*$topics?"),
        (("make --from a $output", "make $topics $output"), "e.yaml: steps.b.command: unknown variable $topics"),
        (("make --from a", "make 5$"), "e.yaml: steps.b.command: .* holds a '$' that begins no variable"),
        (("make --from a", "'make \"\"\" '"), "e.yaml:7: not YAML"),
        (("search --m", "search '"), "e.yaml: conditions.c-8.command: .* cannot be split"),
        (("topic_key: t\n", "topic_key: u\n"), "e.yaml: conditions.c-8.topics: there is no 'u'"),
        (("RR@10: 0.5", "RRR: 0.5"), "e.yaml: conditions.c-8.topics.t.scores.RRR.*: unknown measure 'RRR'"),
        (("RR@10: 0.5", "RR@10: high"), "e.yaml: conditions.c-8.topics.t.scores.RR@10: 'high': "),
        (("RR@10: 0.5", "RR@10: 50"), "e.yaml: conditions.c-8.topics.t.scores.RR@10: '50': .*less than or equal to 1"),
        (("RR@10: 0.5", "RR@10: nan"), "e.yaml: conditions.c-8.topics.t.scores.RR@10: 'nan': "),
        (("{m: 8, RR@10: 0.5}", "{RR@10: 0.5}"), "e.yaml: conditions.c-16.topics.t.scores: RR@10 is given twice"),
        (("{m: 16, RR", "{m: 17, RR"), "e.yaml: conditions.c-$m.topics: m is '17': the matrix has 8, 16"),
        (("scores:\n", "scores: []\n      - topic_key: t\n        scores:\n"), "conditions.c-8.topics: 't' is there 2"),
        (("name: b,", "name: b, makes: a,"), "e.yaml: steps make: 'a' is there 2 times"),
        (("m: [8, 16]", "m: 8"), "e.yaml: conditions.c-$m.matrix.m: '8': "),
        (("m: [8, 16]", f"m: [{','.join('123456')}], n: [{','.join('123456' * 10)}]"), "matrix: more than 200 comb"),
        (("m: [8, 16]", "8: [16]"), "e.yaml: conditions.c-$m.matrix.8.*: '8': "),
        (("c-$m", "c"), "e.yaml: conditions: 'c' is there 2 times"),
        (("c-$m", "../c-$m"), "e.yaml: conditions.../c-8.name: '../c-8': "),
        (("topic_key: t,", "topic_key: ../t,"), "e.yaml: topics.../t.topic_key: '../t': "),
        (("needs: b\n", "against: d\n    needs: b\n"), "e.yaml: conditions.c-8.against: there is no 'd'"),
        (("needs: b\n", "tolerance: nan\n    needs: b\n"), "e.yaml: conditions.c-8.tolerance: 'nan': "),
        (("needs: b\n", "tolerance: -1\n    needs: b\n"), "e.yaml: conditions.c-8.tolerance: '-1': "),
        (("needs: b\n", "system: X\n    needs: b\n"), "e.yaml: conditions.c-8.system: there is no 'X'"),
        (("needs: b\n", "runs: d\n    needs: b\n"), "e.yaml: conditions.c-8.runs: there is no 'd'"),
        (("title: a title", "title: t\npublished: none"), "e.yaml: published: there is no 'none' in .*jpq-cikm2021"),
        (("name: a,", "name: a, makes: ../a,"), "e.yaml: steps.a.makes: '../a' must be inside the directory"),
        (("{collection: {}}", "{output: {}}"), "e.yaml: variables.output: there is one of that name"),
        (("title: a title", "title: t\ncommands: {a: {}}"), "e.yaml: commands.a: 'a dict': "),
        (("title: a title", "title: t\nabout: \0"), "e.yaml: not YAML: unacceptable character"),
        (("title: a title", "title: &a [*a]"), "e.yaml:1: not YAML: no value is called &a above, or it is inside it"),
        (("title: a title", "title: " + "[" * 20_000), "e.yaml:1: not YAML: nested more than 20 deep"),
        (("title: a title", "a: &a [1,1,1,1,1,1,1,1]\n" + "".join(
            f"{b}: &{b} [{','.join([f'*{a}'] * 8)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
        )), "e.yaml:5: not YAML: more than 20,000 values, aliases written out"),
        (("title: a title", "commands: {a: " + "x" * 9000 + ", b: " + "$a" * 99 + "}"), "longer than 100,000 char"),
    ],
)  # fmt: skip
def test_mistakes_have_a_line_and_a_remedy(tmp_path, change, message):
    assert change[0] in GOOD
    with pytest.raises(JPQError) as caught:
        _load(tmp_path, GOOD.replace(*change))
    assert re.search(".*".join(map(re.escape, message.split(".*"))), str(caught.value)), caught.value
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["2024-13-45", "!!int x", "!!timestamp x", "1" * 5000, "!!python/name:os.getcwd x"])
def test_every_value_is_a_text(tmp_path, text):
    """Whatever YAML might make of it: nothing is constructed, so nothing can fail or run."""
    assert _load(tmp_path, GOOD.replace("a title", text)).title == text.split()[-1]


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
    entries = [entry for each in experiments for entry in (*each.steps, *each.conditions)]
    return [shlex.split(command) for entry in entries for command in entry.command]


@pytest.mark.slow
def test_flags_of_our_own_commands_exist():
    used: dict[tuple, set[str]] = {}
    for words in _commands():
        if words[:2] == ["python", "-m"] and words[2].startswith("jpq_pyserini."):
            command = tuple(words[2:3] if words[3].startswith("-") else words[2:4])
            used.setdefault(command, set()).update(word for word in words if word.startswith("--"))
    assert len(used) >= 4
    for command, flags in used.items():
        assert flags <= options_of(*command), command


@pytest.mark.slow
def test_prebuilt_names_are_of_our_catalogue_or_pyserinis():
    from jpq_pyserini.prebuilt.catalogue import BUILT_IN

    ours = json.loads(BUILT_IN.read_text(encoding="utf-8"))
    named = {word for words in _commands() for word in words if re.search(r"\.jpq-m\d+$", word)}
    assert len(named) == 12
    assert named <= set(ours)


def test_published_numbers_as_they_are_printed():
    numbers = read_published("jpq-cikm2021")
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
    beir = load("beir")
    ours = beir.condition["jpq-m96"]
    assert sorted(scores["nDCG@10"] for scores in beir.expected(ours).values()) == theirs
    assert sorted(beir.published_of(ours, key)["nDCG@10"].value for key in beir.expected(ours)) == theirs


def test_experiments_are_package_data():
    assert (FOLDER / "squad.yaml").is_file()
    assert (published.FOLDER / "jpq-cikm2021.yaml").is_file()
