"""Predicted queries and term weights: what they become, what a real Lucene index makes of it, and bad files."""

import gzip
import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from jpq_pyserini.data.runs import read_run
from jpq_pyserini.errors import JPQError
from jpq_pyserini.eval.expansion import __main__ as expansion
from jpq_pyserini.eval.expansion.predicted_queries import with_queries
from jpq_pyserini.eval.expansion.term_weights import AGGREGATES, frequencies, weighted_documents, word_weights

from helpers.processes import run_module

DOCUMENTS = [("d0", "zero"), ("d1", "one"), ("d2", "two")]


def test_samples_stand_side_by_side_and_chunks_follow_each_other(tmp_path):
    for sample, lines in enumerate((["a0", "a1", "a2"], ["b0", "", "b2"])):
        for chunk, part in ((0, lines[:2]), (1, lines[2:])):
            name = f"predicted_queries_topk_sample00{sample}.txt00{chunk}-1004000"
            (tmp_path / name).write_text("".join(line + "\n" for line in part))
    files = sorted(tmp_path.iterdir(), key=lambda path: path.name, reverse=True)
    found = list(with_queries(DOCUMENTS, files))
    assert [each[:2] for each in found] == DOCUMENTS
    assert [sorted(each[2]) for each in found] == [["a0", "b0"], ["", "a1"], ["a2", "b2"]]


def test_several_lines_a_document(tmp_path):
    (tmp_path / "beam.txt").write_text("a\nb\nc\nd\ne\nf\n")
    queries = [each[2] for each in with_queries(DOCUMENTS, [tmp_path / "beam.txt"], stride=2)]
    assert queries == [["a", "b"], ["c", "d"], ["e", "f"]]
    with pytest.raises(JPQError, match=r"beam\.txt:6 is the last line of its sample, too early: .* 4 lines"):
        list(with_queries(DOCUMENTS, [tmp_path / "beam.txt"], stride=4))
    with pytest.raises(JPQError, match=r"beam\.txt:4: .* 3 documents: .*--stride"):
        list(with_queries(DOCUMENTS, [tmp_path / "beam.txt"]))


def test_json_lines_may_leave_documents_out(tmp_path):
    records = [{"id": "d0", "predicted_queries": ["a", "b"]}, {"id": "d2", "predicted_queries": []}]
    path = tmp_path / "d2q.jsonl000.gz"
    path.write_bytes(gzip.compress("\n".join(map(json.dumps, records)).encode()))
    assert [each[2] for each in with_queries(DOCUMENTS, [path])] == [["a", "b"], [], []]
    with pytest.raises(JPQError, match=r"gz:1: document 'd0' does not come .* order of the corpus"):
        list(with_queries(DOCUMENTS[1:], [path]))


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"p.txt": "a\nb\n"}, r"p\.txt:2 is the last line, of document 2, but .*'d2'"),
        ({"p.txt": "a\nb\nc\n", "q.txt": "a\nb\n"}, r"q\.txt:2 is the last line of its sample"),
        ({"p.txt": ""}, "the predictions is the last line, of document 0"),
        ({"p.jsonl": '{"id": "d0"}\n'}, r"p\.jsonl:1: .* is not"),
        ({"p.jsonl": "[1]\n"}, r"p\.jsonl:1: .* is not"),
        ({"p.jsonl": "", "q.txt": "a"}, "either text or JSON lines"),
    ],
)
def test_predictions_of_another_corpus_are_told(tmp_path, files, told):
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    with pytest.raises(JPQError, match=told):
        list(with_queries(DOCUMENTS, [tmp_path / name for name in files]))


def test_pieces_become_words_and_weights_frequencies():
    line = "[CLS] 0.0\tlives 0.0153\tob 0.0064\t##lite 0.9\t##rated 0.0\t. -0.002\tLives 0.2\tlives 0.125\t[PAD] -0.0"
    words = word_weights(line, "here")
    assert words == [("lives", 0.0153), ("obliterated", 0.0064), (".", -0.002), ("Lives", 0.2), ("lives", 0.125)]
    assert frequencies(words) == {"lives": 12, "Lives": 20}  # 12.5 to even, as numpy rounds; 0.64 is below 1
    assert frequencies(words, square_root=True) == {"lives": 35, "obliterated": 8, "Lives": 45}
    assert frequencies(words, 1000) == {"lives": 125, "obliterated": 6, "Lives": 200}
    assert word_weights("", "here") == []
    for bad in ("word", "a 0.1\tb x", "##a 0.1", "a nan", " 0.5"):
        with pytest.raises(JPQError, match=r"f:3: .* is no word piece with a weight"):
            word_weights(bad, "f:3")


def test_documents_get_their_passages_weights(tmp_path):
    ids = ["D1_0", "D1_1", "D1_2", "clue_web_0"]
    passages = [{"id": each, "title": f"title of {each}", "url": "u"} for each in ids]
    (tmp_path / "passages.jsonl").write_text("".join(json.dumps(each) + "\n" for each in passages))
    lines = ["a 0.25\tb 0.01", "b 0.04", "a 1.0\tc 0.0001", "d 0.0"]
    (tmp_path / "w.tsv").write_text("".join(line + "\n" for line in lines))
    tf = np.array([[50, 0, 100], [10, 20, 0], [0, 0, 1]])  # of a, b, c in the three passages: 100 √weight
    decay = 1 / np.arange(1, 4)
    expected = {
        "avg": tf.sum(1) / 3,
        "sum": tf.sum(1),
        "max": tf.max(1),
        "position_decay_sum": tf @ decay,
        "position_decay_avg": tf @ decay / decay.sum(),
    }
    assert expected.keys() == AGGREGATES.keys()
    for aggregate, sums in expected.items():
        found = list(weighted_documents(tmp_path / "passages.jsonl", [tmp_path / "w.tsv"], 100, aggregate))
        assert found[0][0] == {"id": "D1", "title": "title of D1_0", "url": "u"}
        assert found[0][1] == {word: int(value) for word, value in zip("abc", sums, strict=True) if int(value)}
        assert found[1] == ({"id": "clue_web", "title": "title of clue_web_0", "url": "u"}, {})
    (tmp_path / "more.tsv").write_text("e 1\n")
    with pytest.raises(JPQError, match=r"more\.tsv:1: more lines than passages"):
        list(weighted_documents(tmp_path / "passages.jsonl", [tmp_path / "w.tsv", tmp_path / "more.tsv"], 100, "avg"))
    with pytest.raises(JPQError, match=r"more\.tsv:1 is the last line of weights, but passage .*D1_1"):
        list(weighted_documents(tmp_path / "passages.jsonl", [tmp_path / "more.tsv"], 100, "avg"))


def test_a_collection_is_written_in_parts_or_not_at_all(tmp_path, capsys):
    records = [{"id": str(i), "contents": "ü"} for i in range(5)]
    expansion.write_collection(tmp_path / "out", records, part_size=2)
    parts = sorted((tmp_path / "out").iterdir())
    assert [path.name for path in parts] == ["docs00.jsonl", "docs01.jsonl", "docs02.jsonl"]
    assert [json.loads(line) for path in parts for line in path.read_text("utf-8").splitlines()] == records
    with pytest.raises(JPQError, match="nothing to write"):
        expansion.write_collection(tmp_path / "none", [])
    (tmp_path / "c.tsv").write_text("d0\tzero\nd1 one\n")
    (tmp_path / "p.txt").write_text("a\nb\n")
    flags = ["queries", "--corpus", str(tmp_path / "c.tsv"), "--predictions", str(tmp_path / "p.txt")]
    with pytest.raises(JPQError, match=r"c\.tsv line 2 has 1 columns, 2 expected"):
        expansion.main([*flags, "--output", str(tmp_path / "none")])
    with pytest.raises(SystemExit):
        expansion.main([*flags, "--output", str(tmp_path / "none"), "--num-queries", "0"])
    assert "argument --num-queries: 0 is not a whole number from 1 to " in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


@pytest.mark.slow
def test_lucene_finds_by_expansions_and_ranks_by_weights(tmp_path, monkeypatch, capsys):
    """The printed commands, run: a predicted query makes a passage findable, a weight changes the order."""
    corpus = {
        "p0": "the heart pumps blood through the body",
        "p1": "the blood of kings is red and kings are proud of their blood",
        "p2": "granite is a rock of quartz and feldspar",
    }
    (tmp_path / "plain").mkdir()
    lines = [json.dumps({"id": docid, "contents": text}) + "\n" for docid, text in corpus.items()]
    (tmp_path / "plain" / "docs.jsonl").write_text("".join(lines))
    (tmp_path / "topics.tsv").write_text("1\tcardiac circulation\n2\tblood\n")
    queries = [["what is cardiac function", "circulation"], ["kings"], ["what is granite"]]
    records = [{"id": docid, "predicted_queries": of} for docid, of in zip(corpus, queries, strict=True)]
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(each) + "\n" for each in records))
    weights = ["heart 0.4\tblood 0.3\tthe 0.0", "blood 0.02\tkings 0.4\tred 0.1", "granite 0.5"]
    (tmp_path / "w.tsv").write_text("\n".join(weights) + "\n")

    index = "--collection JsonCollection --input plain --index plain.lucene --generator DefaultLuceneDocumentGenerator"
    search = "--index plain.lucene --topics T --hits 1000 --bm25 --output run.txt"
    commands = {"plain": [f"python -m pyserini.index.lucene {index}", f"python -m pyserini.search.lucene {search}"]}
    monkeypatch.chdir(tmp_path)
    for name, flags in (("queries", ["--predictions", "q.jsonl"]), ("deepct", ["--weights", "w.tsv"])):
        expansion.main([name, "--corpus", "plain", *flags, "--output", name])
        said = capsys.readouterr().out
        assert said.startswith(f"wrote 3 documents to {name} (0 without")
        commands[name] = [line.strip() for line in said.splitlines() if line.startswith("  python -m")]
    assert "--k1 0.82 --b 0.68" in commands["queries"][1]
    assert "--k1 10 --b 0.9" in commands["deepct"][1]

    def chain(name):
        for command in commands[name]:
            words = command.replace(" T ", " topics.tsv ").replace("run.txt", f"{name}.txt").split()
            run_module(*words[2:], cwd=tmp_path)
        return {qid: list(hits) for qid, hits in read_run(tmp_path / f"{name}.txt").items()}

    with ThreadPoolExecutor(2) as pool:
        runs = dict(zip(commands, pool.map(chain, commands), strict=True))
    assert runs["plain"] == {"2": ["p1", "p0"]}  # twice "blood", and no passage has the words of query 1
    assert runs["queries"] == {"1": ["p0"], "2": ["p1", "p0"]}
    assert runs["deepct"] == {"2": ["p0", "p1"]}  # 30 times "blood" against 2
