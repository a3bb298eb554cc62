"""The facts beside a run file."""

import pytest

from jpq_pyserini.errors import JPQError
from jpq_pyserini.eval.facts import Facts, facts_path, read_facts, write_facts


def test_facts_come_back_as_written(tmp_path):
    run = tmp_path / "hnsw.ef64.txt.gz"
    facts = Facts("HNSW", "HNSW", documents=10, bytes_per_document=1.5, ms_per_query=0.25, versions={"faiss": "1"})
    assert write_facts(run, facts) == facts_path(run) == tmp_path / "hnsw.ef64.facts.json"
    assert read_facts(run) == facts
    assert "source" not in facts_path(run).read_text()


def test_a_run_without_facts_has_none(tmp_path):
    assert read_facts(tmp_path / "run.txt") == Facts()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "not JSON"),
        ("[]", "a list or a lone value"),
        ('{"byte": 1}', "'byte' is no fact"),
        ('{"ms_per_query": "1"}', "ms_per_query is '1'"),
    ],
)
def test_bad_facts_are_told(tmp_path, text, told):
    (tmp_path / "run.facts.json").write_text(text)
    with pytest.raises(JPQError, match=told):
        read_facts(tmp_path / "run.txt")
