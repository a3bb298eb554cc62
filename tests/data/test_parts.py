"""Parts of a corpus: put together they are the corpus, whatever the form of its files."""

import gzip
import json

import pytest

from jpq_pyserini.data.corpus import Corpus
from jpq_pyserini.data.parts import corpus_shard, rows_of_shard
from jpq_pyserini.errors import JPQError


def documents(first, stop):
    return [json.dumps({"id": f"d{n}", "contents": "é" * (n % 9)}, ensure_ascii=False) for n in range(first, stop)]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    blanks = ("\n\n" if n % 7 == 0 else "\n" for n in range(5000))
    text = "\ufeff" + "".join(map("".join, zip(documents(0, 5000), blanks, strict=True)))
    (folder / "a.jsonl").write_bytes(text.encode())
    (folder / "b.jsonl.gz").write_bytes(gzip.compress("\r\n".join(documents(5000, 7000)).encode()))
    (folder / "c.json").write_text(f"[{','.join(documents(7000, 7300))}]", encoding="utf-8")
    (folder / "d.jsonl").write_bytes("\r".join(documents(7300, 7600)).encode())
    return Corpus(folder)


@pytest.mark.parametrize("shards", [1, 2, 3, 9])
def test_parts_in_order_are_the_corpus(corpus, shards):
    parts = [corpus_shard(corpus, shard, shards, 500) for shard in range(shards)]
    assert [document for part in parts for document in part] == list(corpus)
    assert [len(part) for part in parts] == [len(part.docids()) for part in parts]


@pytest.mark.parametrize("header", ["", "docid\ttext\n"])
def test_parts_of_lines_with_tabs(tmp_path, header):
    (tmp_path / "c.tsv").write_text(header + "".join(f"{n}\tt{n}\n" for n in range(5000)))
    parts = [corpus_shard(Corpus(tmp_path / "c.tsv"), shard, 3, 500) for shard in range(3)]
    assert [document for part in parts for document in part] == [(str(n), f"t{n}") for n in range(5000)]


def test_what_is_wrong_with_a_line_is_told_with_its_number(tmp_path):
    lines = documents(0, 5000)
    lines[4500] = '{"id": "d4500"'
    (tmp_path / "a.jsonl").write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(JPQError, match=r"a\.jsonl line 4501 is no JSON"):
        corpus_shard(Corpus(tmp_path), 1, 2, 500).docids()
    assert len(corpus_shard(Corpus(tmp_path), 0, 2, 500).docids()) == 2500


def test_a_file_that_is_cut_short_meanwhile(tmp_path):
    file = tmp_path / "a.jsonl"
    file.write_text("\n".join(documents(0, 1000)), encoding="utf-8")
    part = corpus_shard(Corpus(tmp_path), 1, 2, 500)
    file.write_text("\n".join(documents(0, 900)), encoding="utf-8")
    with pytest.raises(JPQError, match="was cut short"):
        part.docids()


def test_rows_of_shards_are_whole_steps():
    ranges = [rows_of_shard(10_000, shard, 3, 2048, "x") for shard in range(3)]
    assert ranges == [(0, 2048), (2048, 6144), (6144, 10_000)]
