"""Every command with every argument wrong in type, range or kind of file: one line each, no input touched.

The cases come from the commands' own parsers, so that a new option is tried without a word here. A run takes a sample,
with ``JPQ_CAMPAIGN=1`` all of them.
"""

import argparse
import os
import random
import shutil
import signal

import pytest

from helpers import stock as files
from helpers.commands import call, commands

_QUICK = 120
_SECONDS = 120  # a case that takes longer hangs
_RUNS = {"--run": ["{good}/run.a.txt"], "--qrels": ["{good}/qrels.txt"]}
_JUDGED = {"--topics": ["{good}/topics.tsv"], "--qrels": ["{good}/qrels.txt"]}
_OUTPUT = {"--output": ["{out}/made"]}
_NOWHERE = {"--address": ["nowhere"]}  # so that no Ray is started
_ADDED = {"--embeddings": ["{good}/flat"], "--output": ["{out}/made"]}
#: A small call of each command that would succeed, or nearly; each argument is then replaced by bad ones.
BASES = {
    "quickstart": {"--dry-run": [], **_OUTPUT},
    "doctor": {"--bad": []},
    "prebuilt list": {},
    "prebuilt show": {"": ["missing"]},
    "prebuilt fetch": {"": ["missing"]},
    "prebuilt verify": {"": ["{good}/index"]},
    "prebuilt pack": {"": ["{good}/index"], "--name": ["a-b"], "--url": ["http://x/y"], **_OUTPUT},
    "prebuilt remove": {"": ["missing"]},
    "prebuilt import": {"--encoder": ["{good}/encoder"], **_OUTPUT},
    "train": {
        **{"--embeddings": ["{good}/flat"], "--encoder": ["{good}/encoder"], **_JUDGED, **_OUTPUT},
        **{"--m": ["8"], "--nbits": ["4"], "--max-steps": ["1"], "--opq-iterations": ["1"], "--negatives": ["3"]},
        **{"--batch-size": ["4"], "--device": ["cpu"]},
    },
    "index describe": {"--index": ["{good}/index"]},
    "index embed": {"--corpus": ["{good}/corpus.jsonl"], "--encoder": ["{good}/encoder"], **_OUTPUT},
    "index add": {"--index": ["{out}/other"], **_ADDED},
    "index merge": {"--indexes": ["{good}/index", "{good}/other"], **_OUTPUT},
    "index shards": {"--indexes": ["{good}/index", "{good}/other"], **_OUTPUT},
    "index build": {"--like": ["{good}/index"], **_ADDED},
    "index convert": {"--index": ["{good}/index"], "--layout": ["ivf"], **_OUTPUT},
    "index vectors": {"--index": ["{out}/index"], "--embeddings": ["{good}/flat"]},
    "index import": {"--encoder": ["{good}/encoder"], **_OUTPUT},
    "distributed build": {"--like": ["{good}/index"], "--corpus": ["{good}/corpus.jsonl"], **_OUTPUT, **_NOWHERE},
    "distributed embed": {"--encoder": ["{good}/encoder"], "--corpus": ["{good}/corpus.jsonl"], **_OUTPUT, **_NOWHERE},
    "distributed search": {
        **{"--shards": ["{good}/index"], "--topics": ["{good}/topics.tsv"], **_OUTPUT, **_NOWHERE},
    },
    "compare": _RUNS,
    "fusion": {"--run": ["{good}/run.a.txt", "--run", "{good}/run.b.txt"], **_OUTPUT},
    "rerank": {
        **{"--run": ["{good}/run.a.txt"], "--topics": ["{good}/topics.tsv"], "--corpus": ["{good}/same.jsonl"]},
        **{"--model": ["{good}/cross"], "--depth": ["2"], **_OUTPUT},
    },
    "rerank-train": {
        **{"--model": ["{good}/cross"], **_JUDGED, "--run": ["{good}/run.a.txt"], "--corpus": ["{good}/same.jsonl"]},
        **{"--negatives": ["1"], "--epochs": ["1"], **_OUTPUT},
    },
    "figures size": {**_RUNS, **_OUTPUT},
    "figures memory": {**_RUNS, **_OUTPUT},
    "figures speed": {**_RUNS, **_OUTPUT},
    "figures ablation": {"--scores": ["{good}/scores.json"], **_OUTPUT},
    "figures negatives": {
        **{"--index": ["{good}/index"], "--embeddings": ["{good}/flat"], **_JUDGED, "--negatives": ["5"], **_OUTPUT},
    },
    "submission": {"": ["{good}/run.a.txt"], "--topics": ["{good}/topics.tsv"], "--tag": ["tag"], **_OUTPUT},
    "expansion predict": {
        **{"--corpus": ["{good}/corpus.jsonl"], "--model": ["{good}/t5"], "--output": ["{out}/predicted.jsonl"]},
        **{"--samples": ["1"], "--max-query-length": ["2"]},
    },
    "expansion queries": {"--corpus": ["{good}/corpus.jsonl"], "--predictions": ["{good}/predicted.jsonl"], **_OUTPUT},
    "expansion deepct": {"--corpus": ["{good}/corpus.jsonl"], "--weights": ["{good}/weights.jsonl"], **_OUTPUT},
    "expansion hdct": {"--passages": ["{good}/passages.jsonl"], "--weights": ["{good}/weights.jsonl"], **_OUTPUT},
    "reproduce": {"": ["{good}/experiment.yaml"], "--dry-run": [], "--directory": ["{out}/made"]},
    "latency": {
        **{"--documents": ["300"], "--dimension": ["16"], "--queries": ["4"], "--rounds": ["1"], **_OUTPUT},
        **{"--systems": ["flat"], "--bytes": ["8"], "--queries-a-round": ["2"]},
    },
    "gpu": {"--parts": ["none"], "--minutes": ["0.05"], **_OUTPUT},  # not run: it would measure for minutes
    "backends": {"--index": ["{good}/index"], **_JUDGED, "--rounds": ["1"]},
    "nprobe": {"--index": ["{good}/index"], **_JUDGED, "--sizes": ["100"]},
    "scale": {"--rows": ["none"]},  # would start Ray
    "memory": {"--documents": ["none"]},  # starts processes of its own, which take long
    "train-step": {"--encoder": ["{good}/none"], "--topics": ["{good}/topics.tsv"], "--documents": ["100"]},
}
_NUMBERS = ("x", "", "-1", "0", "nan", "inf", "-inf", "1e400", "9" * 25, "9" * 5000, "1_0", "٣", "-0", "1e-400")
_TEXTS = (
    *("", " ", ".", "..", "/", "-", "=", "a=", "=b", "a=b", "none/none", "{bad}/none.tsv", "{bad}/folder"),
    *("a\x1b[31mb", "\udcff", "x" * 300, "a\nb", "a\tb", "名", "%s", "{{}}", "/dev/null", "http://[", "@a", "../.."),
)
#: Inputs, which no output of a command that reads them may replace.
_READ = ("{good}/topics.tsv", "{good}/qrels.txt", "{good}/run.a.txt")
#: Files that are tried where a file or folder may be meant.
_GLOBS = ("*.txt", "*.tsv", "*.json", "*.jsonl", "*.yaml", "*.bin", "*.gz", "flat-*", "index-*")


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    root = tmp_path_factory.mktemp("campaign")
    good = files.good(root / "good")
    return {"good": good, "bad": files.bad(root / "bad", good)}


def _cases(bad):
    """Yield (command, arguments) with one argument made bad."""
    found = sorted(str(path) for pattern in _GLOBS for path in bad.glob(pattern))
    for command in commands():
        base = BASES[" ".join(command.words)]
        for action in command.parser._actions:
            if isinstance(action, argparse._HelpAction):
                continue
            flag = action.option_strings[0] if action.option_strings else ""
            alone = [each for group in command.parser._mutually_exclusive_groups for each in group._group_actions]
            rest = {name: value for name, value in base.items() if name != flag}
            if action in alone:
                beside = [
                    each.option_strings[0]
                    for group in command.parser._mutually_exclusive_groups
                    for each in group._group_actions
                    if action in group._group_actions
                ]
                rest = {name: value for name, value in rest.items() if name not in beside}
            others = [word for name, words in rest.items() for word in ([name] if name else []) + words]
            for value in _values(action, flag, found, [word for word in _READ if word in others]):
                yield command, others + value


def _values(action, flag, found, read):
    lead = [flag] if flag else []
    if action.nargs == 0:
        yield lead
    elif action.type is not None and action.type is not str:
        yield from ([f"{flag}={value}" if flag else value] for value in _NUMBERS)
    else:
        texts = _TEXTS if action.choices else (*_TEXTS, *read, *found)
        yield from ([f"{flag}={value}" if flag.startswith("--") else value] for value in texts)


class _TooLongError(BaseException):
    """Not an Exception, so that no command takes it for one of its own errors."""


def _ring(*_):
    raise _TooLongError


def _try(cases, places, folder, monkeypatch):
    """Run the cases; return what is wrong with each that is not well, one line a case."""
    monkeypatch.setenv("PYSERINI_CACHE", str(folder / "cache"))
    monkeypatch.setenv("JPQ_VERIFY", "1")
    monkeypatch.chdir(folder)
    good, wrong = files.state_of(places["good"]), []
    signal.signal(signal.SIGALRM, _ring)
    for number, (command, words) in enumerate(cases):
        out = folder / f"out{number}"
        out.mkdir()
        for name in ("index", "other"):  # those that a command may change
            if f"{{out}}/{name}" in words:
                shutil.copytree(places["good"] / name, out / name)
        arguments = [word.replace("{out}", str(out)) for word in words]
        arguments = [
            word.replace("{good}", str(places["good"])).replace("{bad}", str(places["bad"])) for word in arguments
        ]
        told = f"{' '.join(command.words)} {' '.join(repr(word[:90]) for word in arguments)}"
        signal.alarm(_SECONDS)
        try:
            status, line = call(command, arguments)
        except _TooLongError:
            wrong.append(f"hang: {told}")
        except BaseException as error:
            wrong.append(f"{type(error).__name__}: {str(error)[:200]!r}: {told}")
        else:
            if status and not (line and line.isprintable()):
                wrong.append(f"unclear {line[:200]!r}: {told}")
        finally:
            signal.alarm(0)
        now = files.state_of(places["good"])
        if now != good:
            changed = sorted(name for name in now.keys() | good.keys() if now.get(name) != good.get(name))
            wrong.append(f"changed {changed[:3]}: {told}")
            good = now
        shutil.rmtree(out, ignore_errors=True)
        os.chdir(folder)
    return wrong


def test_every_command_is_in_the_campaign():
    assert {" ".join(command.words) for command in commands()} == BASES.keys()


@pytest.mark.slow
def test_a_sample_of_bad_arguments(places, tmp_path, monkeypatch):
    slow = {"train", "rerank-train", "latency", "backends", "nprobe", "memory", "train-step", "gpu", "scale"}
    cases = [case for case in _cases(places["bad"]) if case[0].words[0] not in slow]
    wrong = _try(random.Random(1).sample(cases, _QUICK), places, tmp_path, monkeypatch)
    assert not wrong, "\n".join(wrong)


@pytest.mark.slow
@pytest.mark.skipif("JPQ_CAMPAIGN" not in os.environ, reason="takes hours: set JPQ_CAMPAIGN=1")
@pytest.mark.parametrize("name", BASES)
def test_all_bad_arguments(places, tmp_path, monkeypatch, name):
    cases = [case for case in _cases(places["bad"]) if " ".join(case[0].words) == name]
    wrong = _try(cases, places, tmp_path, monkeypatch)
    assert not wrong, f"{len(wrong)} of {len(cases)}:\n" + "\n".join(wrong)
