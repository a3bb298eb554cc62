"""Ray is imported when a cluster is joined, and only then; without it there is one line, and shards go without."""

import socket
import subprocess
import sys

import pytest

from jpq_pyserini.data.corpus import Corpus
from jpq_pyserini.distributed.__main__ import main
from jpq_pyserini.distributed.job import Job
from jpq_pyserini.distributed.work import Task, Worker
from jpq_pyserini.errors import JPQError
from jpq_pyserini.index import JPQIndex
from jpq_pyserini.index.directory import query_encoder_copier
from jpq_pyserini.index.record import encoder_settings

from helpers.collection import build_arguments, files_of


@pytest.mark.slow
def test_ray_is_not_imported_before_it_is_needed():
    code = (
        "import sys, jpq_pyserini.distributed.build, jpq_pyserini.distributed.search, jpq_pyserini.distributed.job; "
        "sys.exit('ray' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_without_ray_a_line_says_so(tiny, collection, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(JPQError, match=r"Ray is not installed: .*jpq_pyserini\[distributed\].*--shard-id"):
        main([*build_arguments(tiny, collection), "--output", str(tmp_path / "out")])


def test_an_address_where_nothing_answers(tiny, collection, tmp_path):
    pytest.importorskip("ray", reason="Ray is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    arguments = [*build_arguments(tiny, collection), "--output", str(tmp_path / "out"), "--address"]
    for wrong in (address, "nowhere"):
        with pytest.raises(JPQError, match=f"no Ray cluster answers at {wrong} .*ray start --head"):
            main([*arguments, wrong, "--resume"])


def test_work_is_the_same_in_one_process_and_in_many_orders(tiny, collection, tmp_path):
    like = JPQIndex.open(tiny / "index")
    task = Task(encoder_settings(tiny / "index"), 32, like=str(tiny / "index"), vectors="int8")
    job = Job(Corpus(collection / "corpus"), tmp_path / "out", {}, resume=False)
    worker = Worker(task, job.folder)
    assert [worker.count(*each) for _, each in job.counting()] == [3000, 100, 3400]
    assert job.counting() == []
    job.cut()
    todo = job.coding()
    assert [len(part) for _, (_, part) in todo] == [2048, 2048, 2048, 356]
    for _, each in todo[::2]:
        worker.shard(*each)
    again = Job(Corpus(collection / "corpus"), tmp_path / "out", {}, resume=True)  # as after a stop
    again.cut()
    assert again.coding() == todo[1::2]
    for _, each in again.coding()[::-1]:
        Worker(task, again.folder).shard(*each)
    codes, vectors = again.coded(like.codec, "int8")
    built = like.zero_shot(codes, again.docids, source=str(collection / "corpus"), vectors=vectors)
    built.save(tmp_path / "out", query_encoder_copier(tiny / "index"))
    assert files_of(tmp_path / "out") == files_of(collection / "whole")


def test_a_machine_that_does_not_see_the_files(tmp_path):
    with pytest.raises(JPQError, match=r"out\.shards is not there on the machine .*all machines of the cluster share"):
        Worker(Task({}, 32), tmp_path / "out.shards").count(0, tmp_path / "a.jsonl")


def test_what_a_stopped_run_left_is_only_gone_on_with_when_it_fits(collection, tmp_path):
    left = Job(Corpus(collection / "corpus"), tmp_path / "out", {"codec": "a"}, resume=False)
    Worker(Task({}, 32), left.folder).count(*left.counting()[0][1])
    with pytest.raises(JPQError, match=r"out\.shards is what a stopped run left: add --resume"):
        Job(Corpus(collection / "corpus"), tmp_path / "out", {"codec": "a"}, resume=False)
    with pytest.raises(JPQError, match="comes from a run with codec='a', this one has 'b'"):
        Job(Corpus(collection / "corpus"), tmp_path / "out", {"codec": "b"}, resume=True)
    resumed = Job(Corpus(collection / "corpus"), tmp_path / "out", {"codec": "a"}, resume=True)
    assert [number for _, (number, _) in resumed.counting()] == [1, 2]
