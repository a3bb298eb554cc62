"""The collection of the quickstart: docstrings as passages and queries, or the user's own files."""

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from jpq_pyserini.errors import JPQError
from jpq_pyserini.eval.reproduce import docstrings
from jpq_pyserini.eval.reproduce.collection import (
    PARTS,
    from_docstrings,
    main,
    part_of,
    read_passages,
    read_queries,
    write_collection,
)

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
        "import sys\nfrom pathlib import Path\nfrom jpq_pyserini.eval.reproduce.docstrings import collect\n"
        f"items = collect({{'xmlrpc': Path({str(standard_library['xml'].parent / 'xmlrpc')!r})}}, 50)\n"
        "print(len(items), 'xmlrpc' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    count, imported = done.stdout.split()
    assert int(count) > 5
    assert imported == "False"


@pytest.mark.slow
def test_the_same_packages_give_the_same_passages_and_a_smaller_limit_the_first_of_them(standard_library):
    items = docstrings.collect(standard_library, 80)
    again = docstrings.collect(dict(reversed(standard_library.items())), 80)
    assert items == again
    assert docstrings.collect(standard_library, 30) == items[:30]
    assert len(items) == 80


@pytest.mark.slow
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
    from jpq_pyserini.data.topics import read_qrels, read_topics

    items = docstrings.collect(standard_library, 150)
    passages, queries = from_docstrings(items)
    written = tmp_path / "written"
    write_collection(written, passages, queries)
    assert list(read_passages(written / "corpus")) == passages
    for part in PARTS:
        assert read_topics(written / f"queries.{part}.tsv") == {query.qid: query.text for query in queries[part]}
        assert read_qrels(written / f"qrels.{part}.txt") == {query.qid: dict(query.judged) for query in queries[part]}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("c.jsonl", "", "holds no passages"),
        (
            "c.jsonl",
            '{"id": "1", "contents": "a"}\n{"id": "1", "contents": "b"}\n',
            "c.jsonl line 2: passage id '1' occurs twice",
        ),
        ("c.jsonl", '{"id": 7.5, "contents": "a"}\n', "c.jsonl line 1 has the id '7.5'"),
        (
            "c.jsonl",
            '{"id": "a b", "contents": "a"}\n',
            "c.jsonl line 1 has the id 'a b': give each document an id without blanks",
        ),
        ("c.jsonl", '{"id": "1", "title": "a"}\n', "c.jsonl line 1, document 1, has no text in 'contents'"),
        ("c.jsonl", '{"id": "1"\n', "c.jsonl line 1 is no JSON"),
        ("c.jsonl", '["1", "a"]\n', "object 1 is a JSON str, not an object"),
        ("c.json", '[{"id": "1", "contents": "a"}, {"id": "", "contents": "b"}]', "c.json object 2 has the id ''"),
        ("c.json", '[1]\n{"id": "1", "contents": "a"}\n', "c.json line 1 is a JSON list"),
    ],
)
def test_a_bad_corpus_is_one_line(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(JPQError) as raised:
        list(read_passages(tmp_path / name))
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_corpus_that_is_not_there(tmp_path):
    with pytest.raises(JPQError, match="is no file or folder"):
        list(read_passages(tmp_path / "none.jsonl"))


def own_files(tmp_path, count=60):
    """Write a small collection; returns docids, topics file, qrels file."""
    (tmp_path / "topics.tsv").write_text("".join(f"{n}\tquestion number {n}\n" for n in range(count)))
    (tmp_path / "qrels.txt").write_text("".join(f"{n} 0 d{n} 1\n" for n in range(count)))
    return [f"d{n}" for n in range(count)], str(tmp_path / "topics.tsv"), str(tmp_path / "qrels.txt")


def test_own_queries_are_split_by_hash_once(tmp_path):
    docids, topics, qrels = own_files(tmp_path)
    queries = read_queries({"train": (topics, qrels), "dev": None, "test": None}, docids)
    ids = [query.qid for part in PARTS for query in queries[part]]
    assert sorted(ids, key=int) == [str(n) for n in range(60)]
    assert all(part_of("query " + query.qid) == part for part in PARTS for query in queries[part])


def test_the_command_splits_an_own_collection(tmp_path):
    from jpq_pyserini.data.topics import read_topics

    docids, topics, qrels = own_files(tmp_path)
    (tmp_path / "own.jsonl").write_text("".join(f'{{"id": "{d}", "contents": "text of {d}"}}\n' for d in docids))
    own = ["--corpus", str(tmp_path / "own.jsonl"), "--output", str(tmp_path / "out")]
    with pytest.raises(JPQError, match="needs --topics and --qrels"):
        main([*own, "--topics", topics])
    main([*own, "--topics", topics, "--qrels", qrels])
    parts = [read_topics(tmp_path / "out" / f"queries.{part}.tsv") for part in PARTS]
    assert sorted(qid for part in parts for qid in part) == sorted(read_topics(topics))
    assert [docid for docid, _ in read_passages(tmp_path / "out" / "corpus")] == docids


def test_own_test_queries_are_not_trained_on(tmp_path, capsys):
    docids, topics, qrels = own_files(tmp_path)
    (tmp_path / "test.tsv").write_text("5\tQuestion  number 7\n6\tanother question\n")
    queries = read_queries({"train": (topics, qrels), "dev": None, "test": (str(tmp_path / "test.tsv"), qrels)}, docids)
    assert [query.text for query in queries["test"]] == ["Question  number 7", "another question"]
    assert {query.qid for part in ("train", "dev") for query in queries[part]} == {str(n) for n in range(60) if n != 7}
    assert "1 train queries left out" in capsys.readouterr().out


def test_own_judgements_of_passages_that_are_not_there(tmp_path):
    docids, topics, qrels = own_files(tmp_path)
    chosen = read_queries({"train": (topics, qrels), "dev": None, "test": None}, docids[:-1])
    named = {docid for queries in chosen.values() for query in queries for docid in query.judged}
    assert named
    assert named <= set(docids[:-1])


def test_too_few_own_queries_to_split(tmp_path):
    docids, topics, qrels = own_files(tmp_path, 2)
    with pytest.raises(JPQError, match=r"2 judged queries leave 0 for .*--dev-topics"):
        read_queries({"train": (topics, qrels), "dev": None, "test": None}, docids)
