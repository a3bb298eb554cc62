"""Shards held in memory by Ray actors, wherever there is room, and searched as one."""

import argparse
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from jpq_pyserini import cli
from jpq_pyserini.data.docids import Docids
from jpq_pyserini.data.topics import read_topics
from jpq_pyserini.distributed.cluster import join
from jpq_pyserini.distributed.servers import ShardServers
from jpq_pyserini.errors import JPQError
from jpq_pyserini.index.record import IndexRecord
from jpq_pyserini.index.sharded import ShardedIndex, shard_directories
from jpq_pyserini.index.shards import check_shards
from jpq_pyserini.names import DOCID
from jpq_pyserini.plugin.searcher import JPQFaissSearcher
from jpq_pyserini.storage import check_outputs, new_file

_TAG = "Faiss"  # of Pyserini's own runs


class RaySearcher(JPQFaissSearcher):
    """A :class:`~jpq_pyserini.plugin.searcher.JPQFaissSearcher` whose shards are held by the actors of a Ray cluster.

    This process encodes the queries, once, and puts the hits of the shards in order; hits are those of the index that
    the shards would merge to. A shard whose process or machine is lost is loaded elsewhere and asked again.

    Args:
        shards: index directories made with one codec, or a folder of ``jpq index shards``; all machines have to see
            them under these names.
        query_encoder: as for :class:`~jpq_pyserini.plugin.searcher.JPQFaissSearcher`.
        address: of the cluster, ``HOST:PORT`` or ``auto``; None starts Ray on this machine.
        threads: CPU threads of each shard.
        device, encoder_backend, rescore: as for :class:`~jpq_pyserini.plugin.searcher.JPQFaissSearcher`.

    Raises:
        JPQError: no cluster answers, or the shards do not fit together.

    Example:
        >>> with RaySearcher("shards", address="auto") as searcher:  # doctest: +SKIP
        ...     searcher.search("what is product quantization", k=3)
    """

    def __init__(
        self,
        shards: str | os.PathLike | Sequence[str | os.PathLike],
        query_encoder=None,
        *,
        address: str | None = None,
        threads: int = 1,
        device: str = "cpu",
        encoder_backend: str | None = None,
        rescore: int | None = None,
    ):
        directories = shard_directories(shards) or [Path(os.fspath(shards))]  # type: ignore[arg-type]
        self._checked = len(directories) < 2 or isinstance(shards, str | os.PathLike)
        for directory in directories:  # so that a wrong name is told at once
            IndexRecord.read(directory)
        self._ray, self._server_threads = join(address, len(directories) * threads), threads
        super().__init__(directories, query_encoder, device=device, encoder_backend=encoder_backend, rescore=rescore)

    def close(self) -> None:
        """End the actors; the cluster goes on."""
        self.servers.close()

    def __enter__(self) -> "RaySearcher":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def _open_together(self, rescore: int | None) -> ShardedIndex:
        directories = self._shards
        assert directories is not None
        self.servers = ShardServers(self._ray, directories, rescore, self._server_threads)
        try:
            return self._opened_together(rescore)
        except BaseException:
            self.close()
            raise

    def _opened_together(self, rescore: int | None) -> ShardedIndex:
        opened = self.servers.open()
        for shard in opened:
            shard.docids = Docids(Path(shard.path) / DOCID)
        if not self._checked:
            check_shards(opened, "searched as one")
        first, docids = opened[0].record, [shard.docids for shard in opened]
        lacking = [shard.name for shard in opened if shard.vectors != opened[0].vectors]
        if lacking:
            raise JPQError(
                f"only some shards have the documents' vectors, {lacking[0]} unlike {opened[0].name}: "
                "write them, or remove them all, with `python -m jpq_pyserini.index vectors`"
            )
        self.record = replace(first, count=sum(map(len, docids)))
        return ShardedIndex(self.servers, docids, first.dimension, bool(opened[0].vectors), rescore)


def search(args: argparse.Namespace) -> None:
    """Search topics and write the run that Pyserini's own command writes."""
    check_outputs([args.output], [args.topics])
    topics = list(read_topics(args.topics).items())
    shards = args.shards[0] if len(args.shards) == 1 else args.shards
    options = {"address": args.address, "threads": args.threads, "device": args.device, "rescore": args.rescore}
    with RaySearcher(shards, **options) as searcher, new_file(args.output) as file:
        for start in tqdm(range(0, len(topics), args.batch_size), desc="search", unit="batch"):
            batch = dict(topics[start : start + args.batch_size])
            for qid, hits in searcher.batch_search(batch, k=args.hits).items():
                for rank, hit in enumerate(hits, 1):
                    file.write(f"{qid} Q0 {hit.docid} {rank} {hit.score:.6f} {_TAG}\n")
    cli.say(f"{args.output}: {len(topics):,} queries, {searcher.num_docs:,} documents")
