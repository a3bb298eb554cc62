"""Topics and qrels: the same as Pyserini reads, one clear line for what is wrong, pairs for training."""

import bz2
import gzip
import lzma

import pytest

from jpq_pyserini.data.topics import TrainingQuery, read_qrels, read_topics, training_pairs
from jpq_pyserini.errors import JPQError

from helpers.processes import BRINGS_LISTS, run_python

# What Pyserini reads, odd things included: sorting, zeros, superfluous columns, blanks, line ends, non-ASCII ids.
READABLE = {
    "numbers.tsv": b"10\tten\n9\tnine\n",
    "words.tsv": b"x\tex\n10\tten\n9\tnine\n",
    "zeros.tsv": b"007\tbond\n12\tdozen\n",
    "signs.tsv": b"+5\tplus\n-2\tminus\n",
    "signs_and_words.tsv": b"+5\tplus\nx\tex\n",
    "columns.tsv": b"1\tone\tuno\n2\ttwo\t\t\n",
    "windows.tsv": b"1\tone\r\n2\ttwo\r\n",
    "mac.tsv": b"1\tone\r2\ttwo",
    "blanks.txt": " 1 \t one \n2\ttwo \u00a0\u2028 end\x0b\n".encode(),
    "unicode.tsv": "\u0663\tthree\n\uff14\tfour\n\u00e9\te\n".encode(),
    "long.tsv": b"99999999999\tlong\n2\ttwo\n",
    "packed.tsv.gz": gzip.compress(b"1\tone\n2\ttwo\n"),
    "packed.txt.gz": gzip.compress(b"b\tbe\na\tay\n"),
    "beir.tsv": b"10\tten\n9\tnine\n",
    "object.json": b'{"9": {"title": "nine"}, "10": {"title": "ten"}, "007": {"title": "bond"}}',
    "lines.jsonl": b'{"id": "9", "title": "nine"}\n{"id": "10", "title": "ten"}\n',
    "adhoc.trec": b"<top>\n<num> Number: 301\n<title> crime\n\n<desc> Description:\nx\n</top>\n",
}


def test_topics_are_what_pyserini_reads(tmp_path):
    from pyserini.query_iterator import TopicsFormat, get_query_iterator

    for name, content in READABLE.items():
        (tmp_path / name).write_bytes(content)
        theirs = get_query_iterator(str(tmp_path / name), TopicsFormat.DEFAULT)
        assert list(read_topics(tmp_path / name).items()) == [(str(qid), text) for qid, text in theirs], name


def test_plain_files_need_no_java(tmp_path):
    (tmp_path / "t.tsv").write_text("1\tone\n")
    (tmp_path / "q.txt").write_text("1 0 d 1\n")
    code = (
        "import sys; from jpq_pyserini.data.topics import read_qrels, read_topics\n"
        "read_topics(sys.argv[1]), read_qrels(sys.argv[2])\n"
        "print([name for name in ('pyserini', 'jnius') if name in sys.modules])"
    )
    assert run_python("-c", code, tmp_path / "t.tsv", tmp_path / "q.txt").stdout == "[]\n"


def _told(read, name) -> str:
    """Return the line that reading ends with."""
    with pytest.raises(JPQError) as caught:
        read(name)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.skipif(not BRINGS_LISTS, reason="served by a stand-in in tests/plugin/test_catalogues.py")
def test_pyserinis_names_and_readers_report_in_one_line():
    topics, qrels, hopeless = (
        _told(read, name)
        for read, name in ((read_topics, "dl19-pasage"), (read_qrels, "dl19-pasage"), (read_qrels, "zzz"))
    )
    assert "neither a file nor one of Pyserini's topics" in topics
    assert "dl19-passage" in topics
    assert "neither a file nor one of Pyserini's qrels" in qrels
    assert "dl19-passage" in qrels
    assert "did you mean" not in hopeless


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.tsv", b"", "holds no topics"),
        ("t.tsv", b"1\tone\nwhat is two\n", r"t\.tsv:2: one column in 'what is two'"),
        ("t.tsv", b"1\tone\n\n", r"t\.tsv:2: one column in ''"),
        ("t.tsv", b"1\t \n", r"t\.tsv:1: one column"),
        ("t.tsv", b"1\t\xc2\xa0\n", r"t\.tsv:1: query '1' has no text"),
        ("t.tsv", b"1\tone\n2\ttwo\n1\tuno\n", r"t\.tsv:3: query id '1' occurs twice"),
        ("t.tsv", b"7\tseven\n007\tbond\n", r"t\.tsv:2: query id '7' occurs twice .Pyserini reads 007 as 7"),
        ("t.tsv", b"1\tone\n2\tcaf\xe9\n", r"t\.tsv:2: not UTF-8"),
        ("t.tsv.gz", gzip.compress(b"1\tone\n", mtime=0)[:-9], "damaged gzip file"),
        ("t.tsv.gz", b"1\tone\n", "damaged gzip file"),
        ("t.json", b"", "holds no topics"),
        ("t.json", b'{"1": {"title": "one"}\n', r"t\.json: not JSON \(.*line \d"),
        ("t.json", b'["one"]', "object 1: 'one' is not like"),
        ("t.json", b'{"1": ["one"]}', "query '1' is no object"),
        ("t.tsv", "1\tone\n".encode("utf-16"), r"t\.tsv is in UTF-16"),
        ("t.tsv", b"version https://git-lfs.github.com/spec/v1\n", r"is a Git LFS pointer"),
        ("t.tsv.zst", b"\x28\xb5\x2f\xfd\x00\x00", r"compressed with zstd"),
        ("t.tsv", lzma.compress(b"1\tone\n")[:40], "damaged lzma file"),
        ("t.tsv", bz2.compress(b"1\tone\n")[:20], "damaged bz2 file"),
        ("t.json", b'{"1": {"text": "one"}}', "query '1' has no text"),
        ("t.json", b'{"1": {"title": "one"}, "1": {"title": "uno"}}', "query id '1' occurs twice"),
    ],
)
def test_bad_topics(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(JPQError, match=message) as caught:
        read_topics(tmp_path / name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("q.csv", 'qid,query\n10,"ten, or so"\n9,nine\n'),
        ("q.csv", '10,"ten, or so"\n9,nine\n'),
        ("queries.data", 'text,id\n"ten, or so",10\nnine,9\n'),
        ("queries.tsv", "query_id\ttext\n10\tten, or so\n9\tnine\n"),
        ("queries.dev", "10\tten, or so\n9\tnine\n"),
        ("q.json", '{"_id": "10", "text": "ten, or so", "metadata": {}}\n\n{"_id": "9", "text": "nine"}\n'),
        ("q.jsonl", '\ufeff{"query_id": 10, "query": "ten, or so"}\n{"query_id": 9, "query": "nine"}\n'),
        ("list.json", '[{"qid": 10, "query": "ten, or so"},\n {"qid": 9, "query": "nine"}]'),
        ("texts.json", '{"10": "ten, or so", "9": "nine"}'),
        ("titles.trec", "<top>\n<num> Number: 10\n<title> ten, or so\n</top>\n<top>\n<num> Number: 9\n<title> nine\n"
         "</top>\n"),  # without <desc>, of which Pyserini reads the first alone
        ("queries", '{"10": {"title": "ten, or so"},\n "9": {"title": "nine"}}\n'),
        ("topics.txt", "<top>\n<num> Number: 10\n<title> ten,\nor so\n<desc>\nx\n</top>\n\n<top><num>9</num>\n"
         "<title>nine</title></top>\n"),
        ("topics.tsv", '<?xml version="1.0"?>\n<topics><topic number="10"><query>ten, or so</query><narrative>x'
         '</narrative></topic>\n<topic number="9"><query>nine</query></topic></topics>'),
        ("topics2021", '<topics task="ct"><topic number="10">\nten,\nor so\n</topic><topic number="9">nine</topic>'
         "</topics>"),
        ("web.xml", '<webtrack><topic number="10"><query>ten, or so</query><description>x</description><subtopic '
         'number="1">x</subtopic></topic><topic number="9"><query>nine</query></topic></webtrack>'),
        ("cds.xml", '<topics><topic number="10"><description>x</description><summary>ten, or so</summary></topic>'
         '<topic number="9"><summary>nine</summary></topic></topics>'),
        ("t.xml", "<topics><topic><num>10</num><title>ten, or so</title></topic><topic><num>9</num><title>nine</title>"
         "</topic></topics>"),
    ],
)  # fmt: skip
def test_topics_as_published_are_told_by_their_content(tmp_path, name, content):
    (tmp_path / name).write_text(content, encoding="utf-8")
    topics = read_topics(tmp_path / name)
    assert topics == {"9": "nine", "10": "ten, or so"}


@pytest.mark.parametrize("qid", ["PAR1", "BZh1", "[1]"])
def test_a_qid_may_look_like_the_start_of_another_file(tmp_path, qid):
    (tmp_path / "topics.tsv").write_text(f"{qid}\tone\n2\ttwo\n")
    assert read_topics(tmp_path / "topics.tsv") == {qid: "one", "2": "two"}


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_compressed_whatever_the_name(tmp_path, compress):
    (tmp_path / "topics").write_bytes(compress(b"9\tnine\n10\tten\n"))
    (tmp_path / "qrels.txt").write_bytes(compress(b"9 0 d1 1\n"))
    assert read_topics(tmp_path / "topics") == {"9": "nine", "10": "ten"}
    assert read_qrels(tmp_path / "qrels.txt") == {"9": {"d1": 1}}


@pytest.mark.parametrize(
    "content",
    [
        'query-id,corpus-id,score\n9,"d,1",1\n9,d2,0\n',
        'qid,iter,docid,rel\r\n9,0,"d,1",1\r\n9,0,d2,0.0\r\n',
        '"query-id","corpus-id","score"\n"9","d,1","1"\n"9","d2","0"\n',
    ],
)
def test_qrels_with_commas(tmp_path, content):
    (tmp_path / "qrels.csv").write_text(content, newline="")
    assert read_qrels(tmp_path / "qrels.csv") == {"9": {"d,1": 1, "d2": 0}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("<top><num>1<desc>x</top>", "topic 1 has no <num> or no <title>"),
        ("<topics><topic>", "no well-formed XML"),
        ("qid,query\n1\n", ":2: 1 columns, no query in column 2"),
        ('{"_id": "1", "text": "a"}\n{"id": "2"}\n', ":2: .* is not like"),
        ('{"_id": "1", "text": null}\n', ":1: query '1' has no text"),
    ],
)
def test_damaged_topics_as_published(tmp_path, content, message):
    (tmp_path / "topics").write_text(content)
    with pytest.raises(JPQError, match=message):
        read_topics(tmp_path / "topics")


def test_bad_jsonl_and_unknown_endings(tmp_path):
    contents = {
        "twice.jsonl": '{"id": "1", "title": "one"}\n{"id": "1", "title": "uno"}\n',
        "untitled.jsonl": '{"id": "1", "narrative": "one"}\n',
        "keyless.jsonl": '{"name": "1", "text": "one"}\n',
        "t.topics": "1,one\n",
    }
    for name, content in contents.items():
        (tmp_path / name).write_text(content)
    twice, untitled, keyless, csv = (_told(read_topics, tmp_path / name) for name in contents)
    assert "2 lines hold only 1 different query ids" in twice
    assert "query '1' has no text" in untitled
    assert "wants lines like" in keyless
    assert "specify the file extension" in csv


@pytest.mark.parametrize("read", [read_topics, read_qrels])
def test_missing_file_and_directory(tmp_path, read):
    with pytest.raises(JPQError, match=r"no such file: .*absent\.tsv"):
        read(tmp_path / "absent.tsv")
    with pytest.raises(JPQError, match="is a directory"):
        read(tmp_path)


def test_qrels_keep_ids_and_order(tmp_path):
    path = tmp_path / "qrels.txt.gz"
    path.write_bytes(gzip.compress("007 0 NA 1\r\n\r\n007\t0\td\u00a01\t-2\r\n7 Q0 d 0\r\n".encode()))
    qrels = read_qrels(path)
    assert qrels == {"007": {"NA": 1, "d\u00a01": -2}, "7": {"d": 0}}
    assert list(qrels) == ["007", "7"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "holds no judgements"),
        ("1 0 d 1\n1 d 1\n", r"qrels\.txt:2: 3 columns in '1 d 1'"),
        ("1 docid relevance\n", r"qrels\.txt:1: 3 columns"),
        ("1 0 d 1 x\n", r"qrels\.txt:1: 5 columns"),
        ("1 0 d 0.5\n", r"qrels\.txt:1: relevance '0\.5' is no integer"),
        ("1 0 d 1\n2 0 d 1\n1 0 d 0\n", r"qrels\.txt:3: document 'd' is judged twice for query '1'"),
    ],
)
def test_bad_qrels(tmp_path, content, message):
    (tmp_path / "qrels.txt").write_text(content)
    with pytest.raises(JPQError, match=message):
        read_qrels(tmp_path / "qrels.txt")


def test_training_pairs():
    topics = {"1": "one", "2": "two", "3": "three", "4": "four"}
    qrels = {"4": {"c": 2, "a": 1}, "1": {"b": 1, "gone": 0}, "2": {"a": 0, "b": -1}, "other": {"gone": 1}}
    pairs, skipped = training_pairs(topics, qrels, {"a": 0, "b": 1, "c": 2})
    assert pairs == [TrainingQuery("1", "one", [1]), TrainingQuery("4", "four", [2, 0])]
    assert skipped == 2


def test_training_pairs_that_do_not_fit():
    docids = {"a": 0, "b": 1}
    message = r"document 'x', relevant to query '2' .* not in the index \(2 such judgements, 2 documents.*'a'"
    with pytest.raises(JPQError, match=message):
        training_pairs({"1": "one", "2": "two"}, {"1": {"a": 0}, "2": {"x": 1, "y": 1}}, docids)
    with pytest.raises(JPQError, match=r"none of the 1 topics .first id '7'.*first id '007'"):
        training_pairs({"7": "seven"}, {"007": {"a": 1}}, docids)


def test_judged_documents_that_the_collection_lacks_are_left_out_with_a_count(caplog):
    qrels = {"1": {"a": 1, "x": 1}, "2": {"y": 1}}
    pairs, skipped = training_pairs({"1": "one", "2": "two"}, qrels, {"a": 0, "b": 1})
    assert (pairs, skipped) == ([TrainingQuery("1", "one", [0])], 1)
    assert caplog.messages == [
        "2 judgements of relevant documents that are not in the index are left out; first: 'x' for query '1'"
    ]


def test_the_files_of_beir_and_byte_order_marks(tmp_path):
    (tmp_path / "queries.jsonl").write_text(
        '\ufeff{"_id": "PLAIN-2", "text": "two", "metadata": {}}\n{"_id": "PLAIN-1", "text": "one"}\n'
    )
    assert read_topics(tmp_path / "queries.jsonl") == {"PLAIN-1": "one", "PLAIN-2": "two"}
    (tmp_path / "test.tsv").write_text("query-id\tcorpus-id\tscore\nPLAIN-2\tMED-1\t2\nPLAIN-1\tMED-2\t0\n")
    assert read_qrels(tmp_path / "test.tsv") == {"PLAIN-2": {"MED-1": 2}, "PLAIN-1": {"MED-2": 0}}
    (tmp_path / "four.tsv").write_text("query_id\tQ0\tdoc_id\trel\nPLAIN-2\t0\tMED-1\t2\n")
    assert read_qrels(tmp_path / "four.tsv") == {"PLAIN-2": {"MED-1": 2}}
    (tmp_path / "mark.tsv").write_text("\ufeff7\tseven\n", encoding="utf-8")
    assert read_topics(tmp_path / "mark.tsv") == {"7": "seven"}
    (tmp_path / "queries.jsonl").write_text('{"_id": "1", "text": "one"}\n{"_id": "2"}\n')
    with pytest.raises(JPQError, match=r"queries.jsonl:2: .* is not like"):
        read_topics(tmp_path / "queries.jsonl")
