"""``python -m jpq_pyserini.bench.distributed``: what a job on several machines costs besides encoding.

The time Ray takes to start a worker and to hand out a piece of work that does nothing, and the time and memory in
which finished shards of random codes are put together and written, all on one machine. With ``--like`` and
``--corpus`` also the documents a worker codes in a second.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from jpq_pyserini import cli, tables
from jpq_pyserini.bench import procfs
from jpq_pyserini.bench.records import check_record, write_record
from jpq_pyserini.data.corpus import Corpus
from jpq_pyserini.distributed.cluster import Pool, connected
from jpq_pyserini.distributed.work import Task, Worker, counted_file, docids_file, shard_folder
from jpq_pyserini.encoders.limits import BATCH_SIZE
from jpq_pyserini.index.record import encoder_settings
from jpq_pyserini.lazy import Later
from jpq_pyserini.timing import timed

if TYPE_CHECKING:
    from jpq_pyserini.distributed.job import Job
    from jpq_pyserini.index.collection import JPQIndex

collection, jobs = Later("jpq_pyserini.index.collection"), Later("jpq_pyserini.distributed.job")
quantizer = Later("jpq_pyserini.codec.quantizer")

_MODULE = "jpq_pyserini.bench.distributed"
_BITS, _DIMENSION = 8, 768
_SHARDS = 4  # that the speed of a worker is taken from


class _Nothing:
    """A worker that only says that it is there."""

    def work(self, number: int) -> int:
        return number


def measure_ray(workers: int, pieces: int) -> dict[str, float]:
    """Return seconds to start Ray and all workers, and per piece of work that does nothing."""
    started = time.perf_counter()
    with connected(None, workers) as ray:
        up = time.perf_counter()
        actor = ray.remote(_Nothing).options(num_cpus=1)
        pool = Pool(ray, actor.remote, workers)
        pool.run([("work", (number,)) for number in range(pieces)], lambda number: None)
        first = time.perf_counter()
        pool = Pool(ray, actor.remote, 1)
        arrived: list[float] = []
        pool.run([("work", (number,)) for number in range(pieces)], lambda number: arrived.append(time.perf_counter()))
    return {
        "start_ray": up - started,
        "start_workers": first - up,
        "per_piece": (arrived[-1] - arrived[0]) / (pieces - 1),
    }


def measure_merge(rows: int, m: int, work: Path, seed: int) -> dict[str, float]:
    """Return what it takes to put shards of so many random codes together, as ``distributed build`` does at its end."""
    rng = np.random.default_rng(seed)
    centroids = rng.standard_normal((m, 1 << _BITS, _DIMENSION // m), dtype=np.float32)
    codec = quantizer.ProductQuantizer(centroids, centroids, np.eye(_DIMENSION, dtype=np.float32))
    like = collection.JPQIndex(codec, np.zeros((1, m), np.uint8), ["d"])
    job = _counted(rows, work)
    _, check = timed(job.cut)
    for number, part in enumerate(job.parts):
        folder = shard_folder(job.folder, number)
        folder.mkdir()
        rng.integers(0, 1 << _BITS, (len(part), m), dtype=np.uint8).tofile(folder / "codes")
    procfs.start_peak()
    (codes, _), gather = timed(job.coded, codec, None)
    built, build = timed(lambda: _with_faiss_index(like.zero_shot(codes, job.docids)))
    path, write = timed(built.save, work / "index")
    return {
        "rows": rows,
        "m": m,
        "shards": len(job.parts),
        "check_docids": check,
        "gather": gather,
        "build": build,
        "write": write,
        "bytes": sum(file.stat().st_size for file in path.iterdir()),
        "peak_memory": procfs.peak(),
    }


def _counted(rows: int, work: Path) -> "Job":
    """Return the job of a collection that is said to have so many documents, with their docids."""
    (work / "corpus.jsonl").write_text('{"id": "d", "contents": "d"}\n', encoding="utf-8")
    job = jobs.Job(Corpus(work / "corpus.jsonl"), work / "out", {}, resume=False)
    job.work.claim()
    with open(docids_file(job.folder, 0), "w", encoding="utf-8") as file:
        file.writelines(f"msmarco_passage_{row:09d}\n" for row in range(rows))
    counted = {"path": str(work / "corpus.jsonl"), "count": rows, "marks": [[0, 0, 0]]}
    counted_file(job.folder, 0).write_text(json.dumps(counted), encoding="utf-8")
    return job


def _with_faiss_index(index: "JPQIndex") -> "JPQIndex":
    index.faiss_index  # noqa: B018 (built and kept)
    return index


def measure_worker(like: str, corpus: str, work: Path, batch_size: int) -> dict[str, float]:
    """Return the documents a second that one worker of one thread counts and codes, after its model is loaded."""
    task = Task(encoder_settings(like), batch_size, like=os.path.abspath(like))
    job = jobs.Job(Corpus(corpus), work / "out", {}, resume=False)
    worker = Worker(task, job.folder)
    counts, count = timed(lambda: [worker.count(*each) for _, each in job.counting()])
    job.cut()
    (_, first), *others = job.coding()
    worker.shard(*first)
    documents, code = timed(lambda: [worker.shard(*each) for _, each in others[:_SHARDS]])
    return {"count_per_second": sum(counts) / count, "code_per_second": sum(documents) / code}


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, show and write."""
    args = _parser().parse_args(argv)
    check_record(args)
    figures: dict = {"cpus": os.cpu_count(), "ray": measure_ray(args.workers, args.pieces)}
    cli.say(", ".join(f"{name.replace('_', ' ')} {value:.4f} s" for name, value in figures["ray"].items()))
    if args.like and args.corpus:
        with tempfile.TemporaryDirectory(dir=args.work) as work:
            figures["worker"] = measure_worker(args.like, args.corpus, Path(work), args.batch_size)
        cli.say(", ".join(f"{name.replace('_', ' ')} {value:,.0f}" for name, value in figures["worker"].items()))
    figures["merge"] = []
    for rows in args.rows:
        with tempfile.TemporaryDirectory(dir=args.work) as work:
            figures["merge"].append(measure_merge(rows, args.m, Path(work), args.seed))
    cli.say(tables.as_text([tuple(figures["merge"][0]), *(_cells(row) for row in figures["merge"])], "r"))
    if args.output:
        write_record(args.output, _MODULE, argv, versions={"ray": version("ray")}, **figures)


def _cells(row: dict[str, float]) -> tuple[str, ...]:
    return tuple(f"{value:,.2f}" if isinstance(value, float) else f"{value:,}" for value in row.values())


def _parser() -> argparse.ArgumentParser:
    summary = (
        "Measure what coding a collection on several machines costs besides encoding, and how fast a worker codes."
    )
    parser = cli.new_parser(_MODULE, summary)
    add = parser.add_argument
    sizes = "numbers of documents whose codes are put together"
    add("--rows", type=cli.positive_int, nargs="+", default=[1_000_000, 8_800_000], metavar="N", help=sizes)
    add("--m", type=cli.positive_int, default=48, metavar="M", help="bytes per document; divides 768")
    add("--workers", type=cli.positive_int, default=2, metavar="N", help="workers that Ray starts")
    add("--pieces", type=cli.bounded(int, 2), default=500, metavar="N", help="pieces of work that do nothing")
    cli.add_index(parser, "trained JPQ index directory, for the speed of a worker", "--like", required=False)
    cli.add_corpus(parser, "documents for that", required=False)
    cli.add_batch_size(parser, BATCH_SIZE)
    add("--work", metavar="DIR", help="folder for synthetic shards, removed after (default: the system's)")
    cli.add_seed(parser)
    cli.add_output(parser, "JSON file for all figures", required=False)
    return parser


if __name__ == "__main__":
    cli.run_main(main)
