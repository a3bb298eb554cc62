"""Submissions to TREC: what the checker finds, what it mends on request, and that it changes nothing else."""

import gzip
import subprocess
import sys

import pytest

from jpq_pyserini.data.runs import read_run
from jpq_pyserini.errors import JPQError
from jpq_pyserini.eval.submission import __main__ as submission

from helpers.processes import run_python

GOOD = """\
q1 Q0 d1 1 2.5 any
q1 Q0 d2 2 1.50 any
q2 Q0 d3 1 7 any
q2 Q0 d1 2 6e-3 any
"""


@pytest.fixture
def submit(tmp_path, capsys):
    """Return a function of (run's content, options): (what was written or None, stdout, stderr, error line or None)."""
    (tmp_path / "topics.tsv").write_text("q1\tone\nq2\ttwo\n")
    (tmp_path / "docids").write_text("".join(f"d{i}\n" for i in range(1, 6)))

    def run(content, *options, name="run.txt"):
        content = content if isinstance(content, bytes) else content.encode()
        (tmp_path / name).write_bytes(content)
        words = [str(tmp_path / name), "--topics", str(tmp_path / "topics.tsv"), "--tag", "mine"]
        output, error = tmp_path / "mine", None
        output.unlink(missing_ok=True)
        before = set(tmp_path.iterdir())
        try:
            submission.main([*words, "--output", str(output), *map(str, options)])
        except JPQError as caught:
            error = str(caught)
            assert "\n" not in error
        printed = capsys.readouterr()
        assert set(tmp_path.iterdir()) - before <= {output}
        assert (error is None or "--check" in options) or not output.exists()
        return output.read_text() if output.exists() else None, printed.out, printed.err, error

    run.folder = tmp_path
    return run


def test_a_sound_run_gets_its_tag_and_nothing_else(submit):
    written, out, err, error = submit(GOOD, "--corpus-docids", submit.folder / "docids")
    assert (written, err, error) == (GOOD.replace("any", "mine"), "", None)
    assert f"4 lines for 2 of 2 topics in {submit.folder / 'mine'}, tag mine" in out


BROKEN = [
    # content, options, what the error line says, the repair, what is then written (tags apart)
    (GOOD[:-10], [], "1 last line that breaks off: the file is truncated", None, None),
    (GOOD[:-3], [], "1 last line that breaks off", None, None),
    (GOOD + "q2 Q0 d4 3 1\n", [], "1 lines without exactly six columns", None, None),
    (GOOD + "q2 Q0 d4 3 1 any more\n", [], "line 5: 7 in 'q2 Q0 d4 3 1 any more'", None, None),
    (GOOD.replace("1.50", "nan"), [], "line 2: nan of document d2", None, None),
    (GOOD.replace("1.50", "-inf"), [], "line 2: -inf of document d2", None, None),
    (GOOD.replace("1.50", "1e39"), [], "line 2: 1e39 of document d2", None, None),
    (GOOD.replace("1.50", "1_0"), [], "line 2: 1_0 of document d2", None, None),
    (GOOD.replace("1.50", "1,5"), [], "line 2: 1,5 of document d2", None, None),
    (
        GOOD.encode() + b"q2 Q0 d\xe9 3 0 any\n",
        [],
        "1 lines that are not UTF-8; line 5: 'q2 Q0 d\ufffd 3 0 any'",
        None,
        None,
    ),
    (GOOD.replace("\n", "\r\n"), [], "4 lines with a Windows end", "line-ends", GOOD),
    ("\ufeff" + GOOD, [], "line 1: a byte order mark", "line-ends", GOOD),
    ("# ir_metadata.start\n# six words as in a line\n" + GOOD, [], "2 comment lines", "comments", GOOD),
    (GOOD.replace("q2 Q0", "q2 0"), [], "2 lines whose second column is not Q0; lines 3, 4: 0", "q0", GOOD),
    (GOOD + "q9 Q0 d1 1 1 any\n", [], "1 lines of queries that are not among the topics; line 5", "topics", GOOD),
    (
        GOOD + "q2 Q0 d3 3 0 any\n",
        [],
        "1 lines with a docid that its query has already; line 5: document d3, query q2",
        "duplicates",
        GOOD,
    ),
    (
        GOOD.replace("d2 2 1.50", "d9 2 1.50"),
        ["--corpus-docids", "{}/docids"],
        "1 lines with a docid that is not in the corpus; line 2: d9",
        "corpus",
        GOOD.replace("q1 Q0 d2 2 1.50 any\n", ""),
    ),
    (
        GOOD,
        ["--depth", "1"],
        "2 lines beyond --depth; lines 2, 4: query q1 has 2",
        "depth",
        "q1 Q0 d1 1 2.5 any\nq2 Q0 d3 1 7 any\n",
    ),
    ("".join(GOOD.splitlines(True)[i] for i in (0, 2, 1, 3)), [], "2 queries whose lines are not tog", "order", GOOD),
    (GOOD.replace("d2 2 1.50", "d2 1.5 2"), [], "1 ranks that are no whole numbers; line 2: 1.5", "ranks", None),
    (
        GOOD.replace("1.50", "3.50"),
        [],
        "1 lines with a greater score than the line ranked above; line 2: query q1, rank 1 scores 2.5, rank 2 3.50",
        "ranks",
        GOOD.replace("d1 1 2.5 any\nq1 Q0 d2 2 1.50", "d2 1 3.50 any\nq1 Q0 d1 2 2.5"),
    ),
    (GOOD.replace("1.50", "3.50"), [], "line ranked above", "scores", GOOD.replace("2.5", "1").replace("1.50", "0.5")),
    ("q1 Q0 d1 1 2 any\n", [], "1 topics without a result: q2", None, None),
]


@pytest.mark.parametrize(("content", "options", "told", "repair", "expected"), BROKEN)
def test_broken_runs_are_refused_with_a_line_each_and_mended_on_request(
    submit, content, options, told, repair, expected
):
    options = [option.format(submit.folder) for option in options]
    written, out, err, error = submit(content, *options)
    assert written is None
    assert "not fit to be submitted, nothing was written" in error
    assert [line for line in err.splitlines() if line.startswith("error: ") and told in line], err
    assert "repaired" not in out
    if repair is None:
        for line in err.splitlines():
            assert "--repair" not in line or "missing" in line
        assert submit(content, *options, "--repair", "all")[0] is None
        return
    assert f"--repair {repair}" in err
    written, out, err, error = submit(content, *options, "--repair", repair)
    assert error is None, (err, error)
    assert "error" not in err
    assert told.split(";")[0].split(":")[0] in out or repair in ("topics", "line-ends", "scores")
    assert out.startswith("repaired: ")
    if expected is not None:
        assert written == expected.replace("any", "mine")


def test_what_trec_passes_is_warned_of_and_left_as_it_is(submit):
    content = (
        "q1 Q0 d2 2 1 a\nq1 Q0 d1 1 2 a\n\nq2\tQ0\td1\t5\t3\tb\nq2 Q0 d2 6 3 b\n"  # order, blank, tags, steps, ties
    )
    written, out, err, error = submit(content)
    assert error is None
    assert written == "q1 Q0 d2 2 1 mine\nq1 Q0 d1 1 2 mine\nq2 Q0 d1 5 3 mine\nq2 Q0 d2 6 3 mine\n"
    assert "repaired" not in out
    told = [line.partition("run.txt: ")[2][:40] for line in err.splitlines()]
    assert all(line.startswith("warning: ") for line in err.splitlines())
    assert told == [
        "1 queries whose lines are not in the ord",
        "1 queries whose ranks do not go up by on",
        "1 equal scores (in single precision) tha",
        "2 tags other than the first line's; line",
        "1 blank lines, which are left out; line ",
    ]
    written, out, err, error = submit(content, "--repair", "all")
    assert written == "q1 Q0 d1 1 2 mine\nq1 Q0 d2 2 1 mine\nq2 Q0 d1 1 3 mine\nq2 Q0 d2 2 2.99999976 mine\n"
    assert out.count("repaired: ") == 3


def test_trec_eval_ranks_a_run_of_equal_scores_as_it_was_submitted(submit, tmp_path):
    import pytrec_eval

    docids = [f"d{i}" for i in range(1, 6)]
    content = "".join(f"q1 Q0 {docid} {rank} 0.1 a\n" for rank, docid in enumerate(docids, 1)) + "q2 Q0 d1 1 1 a\n"
    assert "warning" in submit(content)[2]
    (tmp_path / "mended").write_text(submit(content, "--repair", "ties")[0])
    hits = read_run(tmp_path / "mended")["q1"]
    for rank, docid in enumerate(docids, 1):
        scored = pytrec_eval.RelevanceEvaluator({"q1": {docid: 1}}, {"recip_rank"}).evaluate({"q1": hits})
        assert scored["q1"]["recip_rank"] == 1 / rank
    assert min(hits.values()) == pytest.approx(0.1, rel=1e-6)


def test_distances_are_not_turned_round_unless_one_says_so(submit):
    content = "q1 Q0 d1 1 0.1 a\nq1 Q0 d2 2 0.4 a\nq2 Q0 d1 1 0.2 a\nq2 Q0 d2 2 0.3 a\n"
    written, _, _, error = submit(content, "--repair", "all")
    assert written is None
    assert "scores rise with the ranks in 2 of 2 queries, as distances do" in error
    assert submit(content, "--repair", "all", "ranks")[0].split()[2::6] == ["d2", "d1", "d2", "d1"]
    assert submit(content, "--repair", "all", "scores")[0].split()[2::6] == ["d1", "d2", "d1", "d2"]
    assert submit(content, "--repair", "ranks")[0].split()[2::6] == ["d2", "d1", "d2", "d1"]


def test_msmarco_runs_become_trec_runs(submit):
    content = "q1\td2\t1\nq1\td1\t2\nq2\td1\t1\n"
    assert "--repair msmarco makes a TREC run of it" in submit(content)[3]
    written, out, _, _ = submit(content, "--repair", "msmarco")
    assert written == "q1 Q0 d2 1 1 mine\nq1 Q0 d1 2 0.5 mine\nq2 Q0 d1 1 1 mine\n"
    assert "repaired" in out


def test_topics_without_results(submit):
    content = "q1 Q0 d1 1 2 any\n"
    assert submit(content, "--allow-missing")[0] == "q1 Q0 d1 1 2 mine\n"
    assert "needs --dummy DOCID" in submit(content, "--repair", "missing")[3]
    written, out, _, _ = submit(content, "--repair", "missing", "--dummy", "d0")
    assert written == "q1 Q0 d1 1 2 mine\nq2 Q0 d0 1 0 mine\n"
    assert "1 topics without a result: q2; the dummy document listed" in out


def test_leading_zeros_that_pyserini_drops(submit):
    (submit.folder / "topics.tsv").write_text("007\tone\n")
    assert "query 007, read from the topics as 7: Pyserini drops" in submit("007 Q0 d1 1 1 any\n")[2]
    assert submit("7 Q0 d1 1 1 any\n")[3] is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        (b"\x1f\x8b\x08abc", "damaged gzip file"),
        (GOOD.encode("utf-16"), "is in UTF-16"),
        (b"PK\0\0", "is no text file"),
        ("x" * 70000, "longer than 65,536 bytes"),
        ('{"qid": 1}\n', "2 columns in"),
        ("q1,Q0,d1,1,2,t\n", "1 column in"),
    ],
)
def test_files_that_are_no_runs(submit, content, message):
    written, _, _, error = submit(content)
    assert written is None
    assert message in error


def test_gzipped_runs_in_and_out(submit):
    assert submit(gzip.compress(GOOD.encode()), name="run.gz")[0] == GOOD.replace("any", "mine")
    assert "damaged gzip file" in submit(gzip.compress(GOOD.encode() * 99)[:-9], name="run.gz")[3]
    output = submit.folder / "out" / "mine.gz"
    (submit.folder / "run.txt").write_text(GOOD)
    words = [submit.folder / "run.txt", "--topics", submit.folder / "topics.tsv", "--tag", "mine", "--output", output]
    submission.main(list(map(str, words)))
    assert gzip.decompress(output.read_bytes()).decode() == GOOD.replace("any", "mine")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--tag", "no spaces"], "--tag 'no spaces' of 9 characters"),
        (["--tag", "é"], "TREC wants 1 to 20 letters"),
        (["--tag", "a" * 21], "of 21 characters"),
        (["--corpus-docids", "{}"], "docid is missing"),
        (["--corpus-docids", "{}/topics.tsv"], "is no docid"),
        (["--corpus-docids", "{}/cut.gz"], "cut.gz: damaged gzip file"),
        (["--output", "{}/run.txt"], "is an input of this command"),
    ],
)
def test_bad_options(submit, words, message):
    (submit.folder / "cut.gz").write_bytes(gzip.compress(b"d1\nd2\n" * 99)[:-9])
    assert message in submit(GOOD, *(word.format(submit.folder) for word in words))[3]
    assert (submit.folder / "run.txt").read_text() == GOOD


def test_a_depth_must_be_positive(submit, capsys):
    with pytest.raises(SystemExit):
        submit(GOOD, "--depth", "0")
    assert "argument --depth: 0 is not a whole number from 1 to " in capsys.readouterr().err


def test_command_line(tmp_path):
    (tmp_path / "topics.tsv").write_text("q1\tone\nq2\ttwo\n")
    (tmp_path / "run.txt").write_text(GOOD)
    words = ["-m", "jpq_pyserini.eval.submission", "run.txt", "--topics", "topics.tsv", "--tag", "group-1.a"]
    run_python(*words, cwd=tmp_path)
    assert (tmp_path / "group-1.a").read_text() == GOOD.replace("any", "group-1.a")
    (tmp_path / "run.txt").write_text(GOOD + "q2 Q0 d1 3 0 any\n")
    done = subprocess.run(
        [sys.executable, *words, "--check"], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "error: run.txt: 1 lines with a docid that its query has already; line 5: document d1, query q2 (--repair "
        "duplicates)",
        "error: run.txt: not fit to be submitted",
    ]
