"""The commands on a real Ray cluster of two raylets on loopback, while workers, a raylet and commands are killed."""

import gzip
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from jpq_pyserini.data.topics import read_topics
from jpq_pyserini.distributed.__main__ import main
from jpq_pyserini.errors import JPQError

from helpers.collection import build_arguments, embed_arguments, files_of, lines

os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # loopback only; read when Ray is imported
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
pytest.importorskip("ray", reason="Ray is not installed: pip install 'jpq_pyserini[distributed]'")
pytestmark = pytest.mark.slow
_ATTEMPTS = 3  # of starting a raylet on a busy machine
_NODE = {"num_cpus": 2, "object_store_memory": 100 << 20}
_HEALTH = {"health_check_period_ms": 1000, "health_check_failure_threshold": 10, "worker_niceness": 0}


@pytest.fixture(scope="module")
def cluster():
    """Two raylets of two CPUs; the test process is connected."""

    import ray
    from ray.cluster_utils import Cluster

    made = Cluster()
    started(made, include_dashboard=False, _system_config=_HEALTH)
    started(made)
    ray.init(address=made.address, configure_logging=False, log_to_driver=False)
    yield made
    ray.shutdown()
    made.shutdown()


def started(cluster, **options):
    """Add a raylet, once more if the machine is too busy to start it in Ray's time."""
    for attempt in range(_ATTEMPTS):
        try:
            return cluster.add_node(**_NODE, **options)
        except Exception:
            if attempt == _ATTEMPTS - 1:
                raise


def workers_of(name: str) -> list[int]:
    """The processes in which actors of a class run; they name themselves after it."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                if (folder / "cmdline").read_bytes().startswith(f"ray::{name}".encode()):
                    found.append(int(folder.name))
            except OSError:
                continue
    return found


class Killer(threading.Thread):
    """Kills one worker after another at random moments until it is told to stop."""

    def __init__(self, name: str, kills: int, seed: int = 0):
        super().__init__(daemon=True)
        self._of, self._wanted, self._chance, self._enough = name, kills, random.Random(seed), threading.Event()
        self.kills = 0

    def run(self):
        while self.kills < self._wanted and not self._enough.wait(self._chance.uniform(0.1, 1.5)):
            for pid in self._chance.sample(found, 1) if (found := workers_of(self._of)) else []:
                try:
                    os.kill(pid, signal.SIGKILL)
                    self.kills += 1
                except ProcessLookupError:
                    pass

    def __exit__(self, *_):
        self._enough.set()
        self.join()

    def __enter__(self):
        self.start()
        return self


def test_four_workers_build_what_one_process_builds(cluster, tiny, collection, tmp_path):
    arguments = [*build_arguments(tiny, collection), "--output", str(tmp_path / "built")]
    with Killer("Worker", 2) as killer:
        main([*arguments, "--address", cluster.address, "--workers", "4"])
    assert killer.kills
    assert files_of(tmp_path / "built") == files_of(collection / "whole")
    assert [path.name for path in tmp_path.iterdir()] == ["built"]


def test_workers_embed_what_one_process_embeds_when_a_raylet_dies(cluster, tiny, collection, tmp_path):
    third = started(cluster)
    arguments = [*embed_arguments(tiny, collection), "--output", str(tmp_path / "flat")]
    lost = threading.Timer(4, lambda: cluster.remove_node(third, allow_graceful=False))
    lost.start()
    main([*arguments, "--address", cluster.address, "--workers", "3"])
    lost.join()
    assert files_of(tmp_path / "flat") == files_of(collection / "flat")


@pytest.fixture(scope="module")
def shards(tiny, collection, tmp_path_factory):
    """Four shards of the index, and the topics."""
    from jpq_pyserini.index.__main__ import main as index

    root = tmp_path_factory.mktemp("shards")
    folders = [str(root / f"shard-{number}") for number in range(4)]
    for number, folder in enumerate(folders):
        shard = ["--shard-id", str(number), "--shard-num", "4", "--output", folder]
        index([*build_arguments(tiny, collection), *shard])
    return folders


@pytest.mark.parametrize("rescore", ["0", "6500"])
def test_a_run_over_shards_is_that_of_the_index(cluster, tiny, collection, shards, tmp_path, monkeypatch, rescore):
    monkeypatch.setenv("JPQ_RESCORE", rescore)
    topics = str(tiny / "topics.tsv")
    write_stock_run(collection / "whole", topics, tmp_path / "one.txt")
    arguments = ["--topics", topics, "--hits", "100", "--batch-size", "8", "--address", cluster.address]
    with Killer("ShardServer", 1) as killer:
        main(["search", "--shards", *shards, *arguments, "--output", str(tmp_path / "many.txt")])
    assert killer.kills or rescore == "6500"
    assert (tmp_path / "many.txt").read_bytes() == (tmp_path / "one.txt").read_bytes()


def write_stock_run(index, topics, output):
    """Write what ``python -m pyserini.search.faiss --hits 100 --batch-size 8`` writes."""
    from pyserini.output_writer import OutputFormat, get_output_writer
    from pyserini.search.faiss import FaissSearcher

    searcher = FaissSearcher(str(index), "jpq")
    queries = list(read_topics(topics).items())
    with get_output_writer(str(output), OutputFormat.TREC, "w", max_hits=100, tag="Faiss") as writer:
        for start in range(0, len(queries), 8):
            qids, texts = zip(*queries[start : start + 8], strict=True)
            for qid, hits in searcher.batch_search(list(texts), list(qids), 100).items():
                writer.write(qid, hits)


def test_a_searcher_answers_after_its_shards_died(cluster, collection, shards):
    from jpq_pyserini import JPQFaissSearcher
    from jpq_pyserini.distributed import RaySearcher

    one = JPQFaissSearcher(collection / "whole", rescore=0)
    with RaySearcher(shards, address=cluster.address, rescore=0) as searcher:
        for _ in range(2):
            mine, theirs = (each.search("ba ce di", k=20) for each in (searcher, one))
            assert [(hit.docid, hit.score) for hit in mine] == [(hit.docid, hit.score) for hit in theirs]
            for pid in workers_of("ShardServer"):
                os.kill(pid, signal.SIGKILL)


def test_bad_input_is_told_with_its_file(cluster, tiny, collection, shards, tmp_path):
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    (corpus / "part-0.jsonl").write_text(lines(0, 10))
    arguments = [*build_arguments(tiny, tmp_path), "--output", str(tmp_path / "out"), "--address", cluster.address]
    arguments += ["--workers", "2", "--resume"]
    whole = gzip.compress(lines(10, 5000).encode())
    (corpus / "part-1.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(JPQError, match=r"part-1\.jsonl\.gz: damaged gzip file .*fetch or write it again"):
        main(arguments)
    (corpus / "part-1.jsonl.gz").unlink()
    for folder in tmp_path.glob("out.shards"):
        remove(folder)
    (corpus / "part-1.jsonl").write_text(lines(10, 20) + "{broken\n" + lines(20, 30))
    with pytest.raises(JPQError, match=r"part-1\.jsonl line 11 is no JSON"):
        main(arguments)
    for folder in tmp_path.glob("out.shards"):
        remove(folder)
    (corpus / "part-1.jsonl").write_text(lines(9, 20))
    with pytest.raises(JPQError, match=r"docid x9 is in .*part-0\.jsonl and again in .*part-1\.jsonl"):
        main(arguments)
    with pytest.raises(JPQError, match=r"docid x0 is in .*shard-0 and again in .*whole"):
        main(
            [
                "search",
                "--shards",
                shards[0],
                str(collection / "whole"),
                "--topics",
                str(tiny / "topics.tsv"),
                "--output",
                str(tmp_path / "run"),
                "--address",
                cluster.address,
            ]
        )


def remove(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()


def test_many_dead_workers_and_commands(cluster, tiny, tmp_path):
    """Four workers and one command die; with ``JPQ_CAMPAIGN=1`` twenty and five."""
    from jpq_pyserini.index.__main__ import main as index

    dead, commands, workers, documents = (20, 5, 4, 16000) if "JPQ_CAMPAIGN" in os.environ else (4, 1, 2, 8000)
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "part-0.jsonl").write_text(lines(0, documents))
    index([*build_arguments(tiny, tmp_path), "--output", str(tmp_path / "one")])
    arguments = [*build_arguments(tiny, tmp_path), "--output", str(tmp_path / "many")]
    arguments += ["--address", cluster.address, "--workers", str(workers), "--resume"]
    command = [sys.executable, "-m", "jpq_pyserini.distributed", *arguments]
    chance = random.Random(0)
    with Killer("Worker", dead) as killer:
        for _ in range(commands):
            with subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True) as driver:
                time.sleep(chance.uniform(6, 15))
                driver.kill()
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert killer.kills == dead
    assert files_of(tmp_path / "many") == files_of(tmp_path / "one")


def test_what_handing_out_work_costs(cluster):
    from jpq_pyserini.bench.distributed import measure_ray

    found = measure_ray(workers=2, pieces=20)
    assert 0 < found["per_piece"] < found["start_workers"]
