"""The commands that code or embed a collection with the workers of a Ray cluster.

What they write is, byte by byte, what ``jpq index build`` and ``jpq index embed`` write with as many threads: shards
begin and end where those begin and end a chunk of texts that are encoded together.
"""

import argparse
import dataclasses
import os
from typing import Any

from tqdm import tqdm

from jpq_pyserini import cli
from jpq_pyserini.data.corpus import Corpus
from jpq_pyserini.distributed.cluster import Pool, connected, worker_count
from jpq_pyserini.distributed.job import Job
from jpq_pyserini.distributed.work import Task, Worker
from jpq_pyserini.errors import JPQError
from jpq_pyserini.index.attached import growing_dtype
from jpq_pyserini.index.coding import codec_digest
from jpq_pyserini.index.collection import JPQIndex
from jpq_pyserini.index.directory import query_encoder_copier
from jpq_pyserini.index.embedding import passage_settings, recorded_settings, write_embedded
from jpq_pyserini.index.record import encoder_settings
from jpq_pyserini.storage import locked, new_directory, refuse_existing


def build(args: argparse.Namespace) -> None:
    """Code a collection with a trained codec."""
    with locked(args.output):
        refuse_existing(args.output)
        like = JPQIndex.open(args.like, verify=True)
        dtype = args.vectors or ("none" if like.vectors is None else growing_dtype(like.vectors))
        vectors = None if dtype == "none" else dtype
        corpus = Corpus(args.corpus, args.id_field, args.text_fields)
        task = _task(args, corpus, encoder_settings(args.like, args.encoder))
        task = dataclasses.replace(task, like=os.path.abspath(args.like), vectors=vectors)
        made_from = {"codec": codec_digest(like.codec), "encoder": task.encoder, "vectors": vectors}
        job = _done(args, task, corpus, made_from)
        codes, kept = job.coded(like.codec, vectors)
        built = like.zero_shot(codes, job.docids, source=str(args.corpus), vectors=kept)
        built.save(args.output, query_encoder_copier(args.like))
        job.work.discard()
    cli.say(f"{args.output}: {len(built):,} documents, codec and encoders of {args.like}")


def embed(args: argparse.Namespace) -> None:
    """Encode a corpus into a flat folder."""
    names = ("encoder", "pooling", "l2_norm", "max_length", "prefix", "truncate_dim")
    settings = passage_settings(*(getattr(args, name) for name in names))
    recorded = recorded_settings(settings)
    backend = args.encoder_backend
    if backend == "auto":
        raise JPQError("--encoder-backend auto: each worker might find another one faster; name one for all")
    recorded |= {} if backend == "torch" else {"backend": backend}
    with locked(args.output):
        refuse_existing(args.output)
        corpus = Corpus(args.corpus, args.id_field, args.text_fields)
        task = _task(args, corpus, settings, backend)
        job = _done(args, task, corpus, {"encoder": recorded, "backend": task.backend})
        with new_directory(args.output) as folder:
            flat = write_embedded(folder, job.docids, job.embedded(_dimension(job)), recorded)
            N, D = flat.embeddings.shape
        job.work.discard()
    cli.say(f"{args.output}: {N:,} embeddings of dimension {D}")


def _task(args: argparse.Namespace, corpus: Corpus, encoder: dict[str, Any], backend: str = "torch") -> Task:
    name = encoder["name_or_path"]
    encoder = {**encoder, "name_or_path": os.path.abspath(name) if os.path.isdir(name) else name}
    device = args.device or ("cuda" if args.num_gpus else "cpu")
    return Task(encoder, args.batch_size, device, backend, args.threads, names=corpus.names)


def _done(args: argparse.Namespace, task: Task, corpus: Corpus, made_from: dict[str, Any]) -> Job:
    """Return the job with all its shards done, by the workers of the cluster."""
    job = Job(corpus, args.output, {**made_from, "batch_size": task.batch_size}, args.resume)
    with connected(args.address, (args.workers or 1) * args.threads) as ray:
        size = worker_count(ray, args.workers, args.threads, args.num_gpus)
        actor = ray.remote(Worker).options(num_cpus=args.threads, num_gpus=args.num_gpus)
        pool = Pool(ray, lambda: actor.remote(task, job.folder), size)
        with tqdm(desc="count", unit="doc", unit_scale=True) as bar:
            pool.run(job.counting(), bar.update)
        job.cut()
        todo = job.coding()
        count = len(job.docids)
        done = count - sum(len(part) for _, (_, part) in todo)
        with tqdm(total=count, initial=done, desc=f"encode, {size} workers", unit="doc") as bar:
            pool.run(todo, bar.update)
    return job


def _dimension(job: Job) -> int:
    """Return D, which the first shard's size tells."""
    first = len(job.parts[0])
    return os.path.getsize(job.folder / "shard-000000" / "embeddings") // (4 * first)
