"""Run files: what they become, and what bad ones say."""

import gzip

import pytest
from jpq_pyserini.eval.runs import read_run, run_name

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
        (GOOD + "q1 Q0 d1 3 1 t\n", r"document 'd1' is listed twice for query 'q1' \(1 repetitions"),
        ("q1 d1 1\nq1 d2 0\n", r"run\.txt:2: rank '0' is no positive integer"),
        ("q1 d1 1\nq1 d2 x\n", r"run\.txt:2: rank 'x' is no positive integer"),
        ("q1 d1 1\nq1 d2\n", r"run\.txt:2: 2 columns"),
        (GOOD.encode() + b"q1 Q0 d\xe9 3 1 t\n", r"run\.txt:3: not UTF-8"),
        ("\ufeff" + GOOD, r"run\.txt:1: starts with a byte order mark"),
    ],
)
def test_bad_runs(tmp_path, content, message):
    (tmp_path / "run.txt").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(JPQError, match=message) as caught:
        read_run(tmp_path / "run.txt")
    assert "\n" not in str(caught.value)


def test_damaged_gzip_and_missing_run(tmp_path):
    path = tmp_path / "run.txt.gz"
    packed = gzip.compress("".join(f"q{i} Q0 d{i} 1 {i} t\n" for i in range(9999)).encode())
    path.write_bytes(packed[: len(packed) // 2])
    with pytest.raises(JPQError, match="damaged gzip file"):
        read_run(path)
    with pytest.raises(JPQError, match="no such run file"):
        read_run(tmp_path / "absent.txt")
