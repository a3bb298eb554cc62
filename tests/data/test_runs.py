"""Run files: what they become, and what bad ones say."""

import gzip

import pytest

from jpq_pyserini.data.runs import ends_abruptly, read_run, run_name
from jpq_pyserini.data.topics import read_qrels
from jpq_pyserini.errors import JPQError


def test_queries_need_not_be_together(tmp_path):
    (tmp_path / "run.txt").write_text("b Q0 d1 1 1 t\na Q0 d1 1 1 t\nb Q0 d2 2 .5 t\na Q0 d3 2 -1e-3 t\n")
    run = read_run(tmp_path / "run.txt", "name")
    assert dict(run) == {"b": {"d1": 1.0, "d2": 0.5}, "a": {"d1": 1.0, "d3": -0.001}}
    assert (run.name, len(run), "c" in run) == ("name", 2, False)


def test_ids_stay_as_they_are_written(tmp_path):
    path = tmp_path / "run.txt.gz"
    path.write_bytes(gzip.compress(b'007 Q0 01 1 2 t\r\n7\tQ0  1 1 2 t\r\n\r\n007 Q0 1 2 1 t\r\n7 Q0 "NA 2 1 t\r\n'))
    assert {qid: dict(docs) for qid, docs in read_run(path).items()} == {
        "007": {"01": 2.0, "1": 1.0},
        "7": {"1": 2.0, '"NA': 1.0},
    }
    assert run_name(path) == "run"


GOOD = "q1 Q0 d1 1 2.5 t\nq1 Q0 d2 2 1.5 t\n"
_PACKED = gzip.compress(GOOD.encode(), mtime=0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("q1 d1 1 2.5\n", r"run\.txt:1: 4 columns"),
        (GOOD + "q1 Q0 d3 3 1\n", r"run\.txt:3: 5 columns in 'q1 Q0 d3 3 1', not 6"),
        (GOOD + "q1 Q0 d3 3 1 t x\n", r"run\.txt:3: 7 columns"),
        (GOOD + "q1 Q0 d\n", r"run\.txt:3: 3 columns"),
        (GOOD + "q1 Q0 d3 3 nan t\n", r"run\.txt:3: score 'nan' of document 'd3' is not finite"),
        (GOOD + "q1 Q0 d3 3 -inf t\n", r"run\.txt:3: score '-inf' of document 'd3' is not finite"),
        (GOOD + "q1 Q0 d3 3 1,5 t\n", r"run\.txt:3: score '1,5' is no number"),
        (GOOD + "q1 Q0 d3 3 1_0 t\n", r"run\.txt:3: score '1_0' is no number"),
        (GOOD + "q1 Q0 d1 3 1 t\n", r":\d+: document 'd1' is listed twice for query 'q1' \(1 repetitions"),
        ("q1 d1 1\nq1 d2 0\n", r"run\.txt:2: rank '0' is no positive integer"),
        ("q1 d1 1\nq1 d2 x\n", r"run\.txt:2: rank 'x' is no positive integer"),
        ("q1 d1 1\nq1 d2\n", r"run\.txt:2: 2 columns"),
        (GOOD.encode() + b"q1 Q0 d\xe9 3 1 t\n", r"run\.txt:3: not UTF-8"),
        (GOOD.encode("utf-16"), r"run\.txt is in UTF-16"),
        (b"\x89PNG\r\n\x1a\n" + bytes(range(256)), r"run\.txt:1: not UTF-8"),
        (GOOD + "\0" * 512, r"run\.txt:3: 1 columns"),
        (GOOD + "q1 Q0 d3 3 1.", r"run\.txt:3: 5 columns in 'q1 Q0 d3 3 1\.', not 6"),
        (_PACKED, r"run\.txt: gzip data without the ending \.gz: name it \S*run\.txt\.gz"),
        (GOOD + "q1 Q0 d3 3 1e999 t\n", r"run\.txt:3: score '1e999' of document 'd3' is not finite"),
        ("# a comment\n\n" + GOOD + "q1 Q0 d3 3 1,5 t\n", r"run\.txt:5: score '1,5' is no number"),
        ("# a comment\n", "is empty"),
    ],
)
def test_bad_runs(tmp_path, content, message):
    (tmp_path / "run.txt").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(JPQError, match=message) as caught:
        read_run(tmp_path / "run.txt")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_comments_are_left_out(tmp_path, line_end):
    """The forms of trec_eval's test/results.comment.test and of ir_metadata's header; ids may hold a "#" anywhere."""
    lines = [
        "# ir_metadata.start",
        "# platform:",
        "#   hardware:",
        "301\tQ0\tFR940202-2-00150#3\t1\t  2.129133\t#1",
        "",
        "# And has another comment here.",  # six words, as a line of the run has
        "\t# 1 2 3 4 5",
        "301\tQ0\tFR940202-2-00151\t2\t  1.724760\t#1",
        "# ir_metadata.end",
    ]
    whole = {"301": {"FR940202-2-00150#3": 2.129133, "FR940202-2-00151": 1.72476}}
    (tmp_path / "run.txt").write_bytes(line_end.join(lines).encode())
    assert {qid: dict(docs) for qid, docs in read_run(tmp_path / "run.txt").items()} == whole
    (tmp_path / "six.txt").write_bytes(line_end.join(["# 1 2 3 4 5", *lines[3:5], lines[7]]).encode())
    assert {qid: dict(docs) for qid, docs in read_run(tmp_path / "six.txt").items()} == whole
    (tmp_path / "qrels.txt").write_text("# judged by one\n301\t0\tFR940202-2-00151\t1\n# two words 1\n")
    assert read_qrels(tmp_path / "qrels.txt") == {"301": {"FR940202-2-00151": 1}}


def test_damaged_gzip_and_missing_run(tmp_path):
    path = tmp_path / "run.txt.gz"
    packed = gzip.compress("".join(f"q{i} Q0 d{i} 1 {i} t\n" for i in range(9999)).encode())
    path.write_bytes(packed[: len(packed) // 2])
    with pytest.raises(JPQError, match="damaged gzip file"):
        read_run(path)
    with pytest.raises(JPQError, match="no such run file"):
        read_run(tmp_path / "absent.txt")


def test_lines_of_windows_are_lines(tmp_path):
    (tmp_path / "unix.txt").write_text(GOOD)
    (tmp_path / "windows.txt").write_bytes(GOOD.replace("\n", "\r\n").encode())
    assert (
        dict(read_run(tmp_path / "windows.txt"))
        == dict(read_run(tmp_path / "unix.txt"))
        == {"q1": {"d1": 2.5, "d2": 1.5}}
    )
    assert not ends_abruptly(tmp_path / "windows.txt")


def test_ranks_are_those_of_the_file(tmp_path):
    (tmp_path / "run.txt").write_text(
        "b Q0 x 2 9 t\na Q0 d1 03 1 t\nb Q0 y 1 5 t\na Q0 d2 1 0 t\na Q0 d3 4000000000 1 t\n"
    )
    (tmp_path / "run.tsv").write_text("a\td2\t1\na\td1\t3\na\td9\t4000000000\n")
    run = read_run(tmp_path / "run.txt")
    assert run.at_ranks("b", 3) == ["y", "x", None]
    assert read_run(tmp_path / "run.tsv").at_ranks("a", 3) == ["d2", None, "d1"]
    with pytest.raises(JPQError, match="rank of document 'd3' for query 'a'"):
        run.at_ranks("a", 3)


def test_a_cut_file_is_known_by_its_end(tmp_path):
    (tmp_path / "cut.txt").write_text("q1 Q0 d1 1 2.5 ta")
    (tmp_path / "whole.txt").write_text(GOOD)
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "run.txt.gz").write_bytes(gzip.compress(b"q1 Q0 d1 1 2.5 ta"))
    assert [ends_abruptly(tmp_path / f) for f in ("cut.txt", "whole.txt", "empty.txt", "run.txt.gz")] == [True] + [
        False
    ] * 3
