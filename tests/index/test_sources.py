"""Documents from texts and embeddings: add, build and merge on the command line, and what is told of bad sources."""

import bz2
import gzip
import json
import lzma
import shutil
import time

import numpy as np
import pytest

from jpq_pyserini import JPQIndex
from jpq_pyserini.data.corpus import Corpus
from jpq_pyserini.data.flat import FlatFolder
from jpq_pyserini.errors import JPQError
from jpq_pyserini.index.record import IndexRecord, write_record

from helpers.forked import Forked
from helpers.processes import call_module, run_module
from helpers.tiny import tiny_corpus, tiny_flat


def index_command(*arguments, check=True, **options):
    """In this process, or in one of its own with a folder or environment of its own."""
    run = run_module if options else call_module
    return run("jpq_pyserini.index", *arguments, check=check, **options)


def refused(message, *arguments, **options):
    done = index_command(*arguments, check=False, **options)
    assert done.returncode == 1
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    return done


def write_corpus(path, texts, first=0):
    with gzip.open(path, "wt") if path.suffix == ".gz" else open(path, "w") as file:
        for i, text in enumerate(texts, first):
            file.write(json.dumps({"id": f"d{i}", "contents": text}) + "\n")
    return path


@pytest.mark.slow
def test_add_on_the_command_line(tiny, tmp_path):
    texts, _ = tiny_corpus(330)
    corpus = write_corpus(tmp_path / "more.jsonl.gz", texts[300:], 300)
    new = tmp_path / "new"
    said = index_command("add", "--index", tiny / "index", "--corpus", corpus, "--output", new)
    assert "330 documents, 30 of them new" in said.stdout
    assert "encode" in said.stderr
    flat = tiny_flat(tmp_path / "flat", tiny / "encoder", texts[300:])
    (flat / "docid").write_text("".join(f"d{i}\n" for i in range(300, 330)))
    index_command("add", "--index", tiny / "index", "--embeddings", flat, "--output", tmp_path / "same")
    assert (tmp_path / "same" / "index").read_bytes() == (new / "index").read_bytes()
    opened, old = JPQIndex.open(new), JPQIndex.open(tiny / "index")
    assert opened.docids == [f"d{i}" for i in range(330)]
    assert np.array_equal(opened.codes[:300], old.codes)
    assert np.array_equal(opened.codes[300:], old.codec.encode(FlatFolder.open(flat).embeddings))
    assert (new / "query_encoder" / "model.safetensors").read_bytes() == (
        tiny / "index" / "query_encoder" / "model.safetensors"
    ).read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["flat", "more.jsonl.gz", "new", "same"]
    described = index_command("describe", "--index", new, "--verify").stdout
    assert f"added 30 documents, {corpus}" in described
    refused("docid d300 is in", "add", "--index", new, "--corpus", corpus, "--output", tmp_path / "again")
    refused("new exists already", "add", "--index", new, "--corpus", corpus, "--output", new)


@pytest.mark.slow
def test_in_place_keeps_what_is_not_ours(tiny, tmp_path):
    index = tmp_path / "index"
    shutil.copytree(tiny / "index", index)
    (index / "notes.txt").write_text("mine")
    (tmp_path / "link").symlink_to(index)
    texts, _ = tiny_corpus(310)
    folder = tmp_path / "corpus"
    folder.mkdir()
    write_corpus(folder / "b.jsonl", texts[305:], 305)
    write_corpus(folder / "a.json", texts[300:305], 300)
    (folder / "README.md").write_text("no documents")
    index_command("add", "--index", tmp_path / "link", "--corpus", folder, "--in-place")
    opened = JPQIndex.open(index)
    assert opened.docids == [f"d{i}" for i in range(310)]
    assert (index / "notes.txt").read_text() == "mine"
    assert (index / "query_encoder" / "modules.json").is_file()
    assert (tmp_path / "link").is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus", "index", "link"]


@pytest.mark.slow
def test_merge_and_zero_shot_on_the_command_line(tiny, tmp_path):
    texts, _ = tiny_corpus(60, seed=5)
    shards = []
    for number in range(2):
        corpus = write_corpus(tmp_path / f"c{number}.jsonl", texts[30 * number : 30 * number + 30], 30 * number)
        shards.append(tmp_path / f"shard{number}")
        index_command("build", "--like", tiny / "index", "--corpus", corpus, "--output", shards[-1])
    index_command("merge", "--indexes", *shards, "--output", tmp_path / "whole")
    flat = tiny_flat(tmp_path / "flat", tiny / "encoder", texts)
    index_command("build", "--like", tiny / "index", "--embeddings", flat, "--output", tmp_path / "once")
    for file in ("index", "docid", "codec.safetensors"):
        assert (tmp_path / "whole" / file).read_bytes() == (tmp_path / "once" / file).read_bytes()
    record = IndexRecord.read(tmp_path / "once")
    assert record.training["zero_shot_of"]["index"] == str(tiny / "index")
    assert record.encoder == IndexRecord.read(tiny / "index").encoder
    described = index_command("describe", "--index", tmp_path / "whole").stdout
    assert f"zero-shot: codec and encoders of {tiny / 'index'}" in described
    assert f"merged 30 of {shards[0]}, 30 of {shards[1]}" in described
    command = ("merge", "--indexes", *shards, "--output", tmp_path / "other")
    config = shards[1] / "query_encoder" / "config.json"
    config.write_text(config.read_text() + "\n")
    write_record(shards[1], IndexRecord.read(shards[1]))  # not damaged, but another encoder
    refused("their query encoders differ in query_encoder/config.json", *command)
    refused("docid d0 is in", "merge", "--indexes", shards[0], tmp_path / "once", "--output", tmp_path / "other")
    refused("1 index given to be merged", "merge", "--indexes", shards[0], "--output", tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_zero_shot_in_the_layout_of_the_other(tiny, tmp_path):
    JPQIndex.open(tiny / "index").convert("ivf-fastscan", nlist=5, nprobe=2).save(tmp_path / "ivf")
    texts, _ = tiny_corpus(80, seed=5)
    flat = tiny_flat(tmp_path / "flat", tiny / "encoder", texts)
    index_command("build", "--like", tmp_path / "ivf", "--embeddings", flat, "--output", tmp_path / "new")
    assert JPQIndex.open(tmp_path / "new").record.layout == "ivf-fastscan"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"id": "x"}', "line 2, document x, has no text in 'contents'"),
        ('{"contents": "ba"}', "line 2 has no id or _id"),
        ('{"id": "a\\nb", "contents": "ba"}', "line 2 has the id 'a\\nb'"),
        ('{"id": "x", "contents": "\\ud800"}', "has no text in 'contents'"),
        ("[1]", "line 2 is a JSON list, not an object"),
        ('{"id": ', "line 2 is no JSON"),
        ('{"id": "d0", "contents": "ba"}', "docid d0 is twice in"),
    ],
)
def test_lines_that_are_no_documents(tiny, tmp_path, line, message):
    path = write_corpus(tmp_path / "c.jsonl", ["ba ce"])
    path.write_text(path.read_text() + line + "\n")
    refused(message, "build", "--like", tiny / "index", "--corpus", path, "--output", tmp_path / "new")


@pytest.mark.slow
def test_bad_sources(tiny, tmp_path):
    def build(*arguments):
        return ("build", "--like", tiny / "index", "--output", tmp_path / "new", *arguments)

    good = write_corpus(tmp_path / "good.jsonl", ["ba ce"])
    refused("nowhere is no file or folder", *build("--corpus", tmp_path / "nowhere"))
    (tmp_path / "empty").mkdir()
    refused("holds no file that ends with .jsonl", *build("--corpus", tmp_path / "empty"))
    (tmp_path / "empty.jsonl").write_text("\n")
    refused("empty.jsonl holds no documents", *build("--corpus", tmp_path / "empty.jsonl"))
    (tmp_path / "cut.jsonl.gz").write_bytes(gzip.compress(good.read_bytes())[:-9])
    refused("cut.jsonl.gz: damaged gzip file", *build("--corpus", tmp_path / "cut.jsonl.gz"))
    refused("index.jsonl is no file", *build("--corpus", tmp_path / "index.jsonl"))
    refused("--resume goes with --corpus", *build("--embeddings", tiny / "flat", "--resume"))
    refused("--batch-size goes with --corpus", *build("--embeddings", tiny / "flat", "--batch-size", "8"))
    done = index_command(*build("--corpus", good, "--batch-size", "0"), check=False)
    assert done.returncode == 2
    assert "argument --batch-size: 0 is not a whole number" in done.stderr
    refused("has no jpq.json", "build", "--like", tiny / "flat", "--corpus", good, "--output", tmp_path / "new")
    bare = tmp_path / "bare"
    shutil.copytree(tiny / "index", bare)
    record = json.loads((bare / "jpq.json").read_text())
    del record["digest"]
    (bare / "jpq.json").write_text(json.dumps({**record, "encoder": {}}))
    refused("does not say which encoder", "build", "--like", bare, *build("--corpus", good)[3:])
    gone = {**record, "encoder": {**record["encoder"], "name_or_path": "/nowhere/model"}}
    (bare / "jpq.json").write_text(json.dumps({**gone, "written_by_a_later_release": 1}))
    corpus = write_corpus(tmp_path / "one.jsonl", ["ba ce"], 300)
    command = ("add", "--index", bare, "--corpus", corpus, "--output", tmp_path / "new")
    refused("/nowhere/model, recorded in", *command)
    index_command(*command, "--encoder", tiny / "encoder")
    assert len(JPQIndex.open(tmp_path / "new")) == 301


def test_texts_as_pyserini_takes_them(tmp_path):
    lines = [
        {"_id": 7, "title": "t", "text": "x"},
        {"docid": "8", "title": "", "text": "x"},
        {"id": "9", "contents": "t\nx", "text": "other"},
    ]
    path = tmp_path / "c.jsonl"
    path.write_text("".join(json.dumps(line) + "\n\n" for line in lines))
    wanted = [("7", "t\nx"), ("8", "x"), ("9", "t\nx")]
    assert list(Corpus(path)) == wanted
    folder = tmp_path / "folder"
    (folder / "b").mkdir(parents=True)
    (folder / "a.json").write_text(json.dumps(lines[:2], indent=1))
    (folder / "b" / "one.json").write_text(json.dumps(lines[2], indent=1))
    assert list(Corpus(folder)) == wanted
    with gzip.open(tmp_path / "lines.json.gz", "wt") as file:
        file.write(path.read_text())
    assert list(Corpus(tmp_path / "lines.json.gz")) == wanted


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("collection.tsv", "7\tone text\n8\tother\n"),
        ("psgs.tsv", "id\ttext\ttitle\n7\ttext\tone\n8\tother\t\n"),
        ("docs.tsv", "7\thttp://x\tone\ttext\n8\thttp://y\t\tother\n"),
        ("v2.jsonl", '{"pid": "7", "passage": "one text", "spans": "(0,1)", "docid": "D1"}\n'
         '{"pid": "8", "passage": "other", "docid": "D1"}\n'),
        ("v2.segments", '{"docid": "7", "url": "u", "title": "one", "headings": "", "segment": "text"}\n'
         '{"docid": "8", "url": "u", "title": "", "headings": "", "segment": "other"}\n'),
        ("v2.docs", '{"docid": "7", "url": "u", "title": "one", "headings": "", "body": "text"}\n'
         '{"docid": "8", "url": "u", "title": "", "headings": "", "body": "other"}\n'),
    ],
)  # fmt: skip
def test_collections_as_published(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    with gzip.open(tmp_path / "packed.gz", "wt") as file:
        file.write(content)
    (tmp_path / "folder").mkdir()
    shutil.copy(tmp_path / "packed.gz", tmp_path / "folder")
    for path in (tmp_path / name, tmp_path / "packed.gz", tmp_path / "folder"):
        assert [(docid, text.replace("\n", " ")) for docid, text in Corpus(path)] == [("7", "one text"), ("8", "other")]


def test_fields_of_other_names(tmp_path):
    path = tmp_path / "c.jsonl"
    path.write_text('{"key": "7", "id": "no", "head": "one", "abstract": "text", "contents": "no"}\n')
    assert list(Corpus(path, "key", ["head", "abstract"])) == [("7", "one\ntext")]
    with pytest.raises(JPQError, match="document 7, has no text in 'summary'"):
        list(Corpus(path, "key", ["head", "summary"]))
    with pytest.raises(JPQError, match=r"line 1 has no name, but the fields 'key', 'id', .*--id-field"):
        list(Corpus(path, "name"))


@pytest.mark.slow
def test_killed_and_resumed(tiny, tmp_path):
    texts, _ = tiny_corpus(9000, seed=7)
    corpus = write_corpus(tmp_path / "more.jsonl", texts, 1000)
    arguments = ("add", "--index", tiny / "index", "--corpus", corpus, "--output", tmp_path / "new")
    process = Forked(["index", *arguments], tmp_path)
    log = tmp_path / "new.coding" / "codes"
    while not (log.is_file() and log.stat().st_size) and process.poll() is None:
        time.sleep(0.02)
    process.kill()
    assert not (tmp_path / "new").exists()
    assert 0 < log.stat().st_size < 9000 * 8
    refused("add --resume to continue from it", *arguments)
    index_command(*arguments, "--resume")
    assert not log.parent.exists()
    index_command(*arguments[:-1], tmp_path / "once")
    assert (tmp_path / "new" / "index").read_bytes() == (tmp_path / "once" / "index").read_bytes()


def test_a_folder_of_parts_packed_in_several_ways(tmp_path):
    lines = [f'{{"id": "d{row}", "contents": "text {row}"}}\n'.encode() for row in range(4)]
    for row, (ending, pack) in enumerate((("jsonl", bytes), ("jsonl.bz2", bz2.compress), ("json.xz", lzma.compress))):
        (tmp_path / f"part{row}.{ending}").write_bytes(pack(lines[row]))
    (tmp_path / "part3.json.bz2").write_bytes(bz2.compress(b"[" + lines[3] + b"]"))
    assert Corpus(tmp_path).docids() == ["d0", "d1", "d2", "d3"]
