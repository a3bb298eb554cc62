"""The quickstart: its options, and one run of the whole at a small size."""

import contextlib
import io

import pytest

from jpq_pyserini import quickstart
from jpq_pyserini.encoders import minilm
from jpq_pyserini.errors import JPQError

from helpers.forked import fork_steps
from helpers.processes import run_python


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--topics", "t.tsv"], "train_topics t.tsv needs corpus"),
        (["--corpus", "c.jsonl", "--topics", "t.tsv"], "needs train_qrels"),
        (["--corpus", "c", "--topics", "t", "--qrels", "q", "--dev-topics", "d"], "dev_topics d needs dev_qrels"),
        (["--epochs", "0"], "epochs '0': it must be a whole number of at least 1"),
        (["--pooling", "max"], "pooling 'max': choose one of cls, mean"),
    ],
)
def test_bad_options_end_in_one_line(tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(JPQError, match=message):
        quickstart.main([*options, "--dry-run"])
    assert not list(tmp_path.iterdir())


def test_a_number_of_threads_is_checked_by_the_parser(capsys):
    with pytest.raises(SystemExit, match="2"):
        quickstart.main(["--threads", "0", "--dry-run"])
    assert "argument --threads: 0 is not a whole number from 1" in capsys.readouterr().err


def test_options_become_words_of_commands(tmp_path, capsys):
    own = ["--corpus", "c.jsonl", "--topics", "t.tsv", "--qrels", "q.txt", "--test-topics", "t2", "--test-qrels", "q2"]
    here = ["--dry-run", "--output", str(tmp_path / "out")]
    quickstart.main([*own, "--m", "24", "--pooling", "cls", "--l2-norm", *here])
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("python -m ")]
    made, embed = lines[0], next(line for line in lines if " embed " in line)
    assert made.endswith(
        " --corpus c.jsonl --topics t.tsv --qrels q.txt --test-topics t2 --test-qrels q2 --output collection"
    )
    assert "--pooling cls --l2-norm --max-length 256 " in embed
    trained = [line for line in lines if line.startswith("python -m jpq_pyserini.train ")]
    assert all("--pooling cls --l2-norm" in line and "--m 24 --passage-max-length 256" in line for line in trained)
    assert "--eval-steps" not in trained[-1]
    quickstart.main(here)
    plain = capsys.readouterr().out
    assert "--pooling" not in next(line for line in plain.splitlines() if " embed " in line)
    assert "--corpus c" not in plain.split("# step bm25")[0]
    assert "--eval-steps 40" in plain


SYSTEMS = ("BM25", "flat", "OPQ", "JPQ", "hybrid")
SMALL = ("--max-passages", 300, "--epochs", 1, "--m", 24, "--threads", 1)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A whole quickstart at a small size, each step in a process of its own; returns its directory and what it printed.

    The steps are forked from a process that has the libraries: eleven times their import is most of what they cost.
    """
    pytest.importorskip(minilm.CARRIER)
    directory = tmp_path_factory.mktemp("quickstart") / "out"
    printed, messages = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        fork_steps(patch)
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(messages):
            assert quickstart.main([*map(str, SMALL), "--output", str(directory)]) == 0
    return directory, printed.getvalue(), messages.getvalue()


def _table(printed):
    """Return the rows of the table, by system."""
    rows = [line.split() for line in printed.splitlines()]
    return {
        words[0]: words[1:]
        for words in rows
        if len(words) == 6 and words[0] in ("BM25", "flat", "OPQ", "JPQ", "hybrid")
    }


@pytest.mark.slow
def test_the_whole_ends_in_a_table(finished):
    _, printed, messages = finished
    rows = _table(printed)
    assert tuple(rows) == SYSTEMS
    assert (rows["flat"][2], rows["OPQ"][2], rows["JPQ"][2]) == ("1,536", "24", "24")
    for name, (rr, recall, _, search, total) in rows.items():
        assert 0.3 < float(rr.strip("*")) <= float(recall.strip("*")) <= 1, name
        assert 0 < float(search) <= float(total), name
    assert messages.count("+ python -m pyserini.search.faiss ") == 3


@pytest.mark.slow
def test_the_flat_run_is_exact_search_with_the_encoder_as_it_came(finished):
    import faiss

    from jpq_pyserini.data.runs import read_run
    from jpq_pyserini.data.topics import read_topics
    from jpq_pyserini.encoders.text_encoder import embed_queries, load_text_encoder

    directory, _, _ = finished
    topics = read_topics(directory / "collection" / "queries.test.tsv")
    run = read_run(directory / "run.quickstart.flat.test.txt")
    docids = (directory / "flat" / "docid").read_text().split()
    passages = faiss.read_index(str(directory / "flat" / "index")).reconstruct_n(0, len(docids))
    model = load_text_encoder(str(minilm.carried_encoder()))
    scores = embed_queries(model, list(topics.values())) @ passages.T
    for row, qid in enumerate(topics):
        expected = dict(zip(docids, scores[row].tolist(), strict=True))
        assert run[qid] == pytest.approx({docid: expected[docid] for docid in run[qid]}, abs=1e-5)


@pytest.mark.slow
def test_a_second_run_makes_nothing_again_also_where_the_directory_was_moved(finished):
    directory, printed, _ = finished
    moved = directory.rename(directory.with_name("moved"))
    again = run_python("-m", "jpq_pyserini.quickstart", *SMALL, "--output", moved)
    assert "[1/" not in again.stderr
    assert _table(again.stdout) == _table(printed)
