"""The quickstart's options, and one run of the whole at a small size."""

import os
import shlex
import subprocess
import sys

import pytest

from jpq_pyserini.encoders import minilm as encoder
from jpq_pyserini.errors import JPQError
from jpq_pyserini.quickstart.fusion import balanced_alpha
from jpq_pyserini.quickstart.settings import Settings


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

    from jpq_pyserini.data.runs import read_run
    from jpq_pyserini.data.topics import read_topics
    from jpq_pyserini.encoders.text_encoder import embed_queries, load_text_encoder

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
