"""``python -m jpq_pyserini.distributed``: code, embed and search a collection on the machines of a Ray cluster."""

from collections.abc import Sequence

from jpq_pyserini import cli
from jpq_pyserini.encoders.limits import BATCH_SIZE
from jpq_pyserini.index.arguments import add_passage_encoder, add_recorded_encoder, add_vectors

_SHARED = """\
Without --address, Ray is started on this machine. On several, `ray start --head` on one and `ray start --address …` on
the others make a cluster. All machines have to see the same files under the same names. A worker or machine that is
lost is replaced; if this command itself is stopped, --resume continues."""
_BUILD = f"""\
{_SHARED} The result is what `jpq index build` makes with as
many threads, byte by byte.

example:
  jpq distributed build --like jpq48 --corpus 'corpus/part-*.jsonl.gz' --output new48 --address auto --num-gpus 1
"""
_EMBED = f"""\
{_SHARED} The result is what `jpq index embed` makes with as
many threads, byte by byte.

example:
  jpq distributed embed --corpus 'corpus/part-*.jsonl.gz' --encoder sentence-transformers/all-MiniLM-L6-v2 \\
    --output flat --address auto --num-gpus 1
"""
_SEARCH = """\
Each shard is held in memory by a process of its own, on whichever machine has room; one that is lost is loaded again.
The run is that of the merged index, byte by byte, as `python -m pyserini.search.faiss` writes it with the same
--batch-size.

example:
  jpq distributed search --shards shard0 shard1 --topics test.tsv --output run.txt --address auto
"""


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line and run the sub-command."""
    summary = "Code, embed and search a collection on the machines of a Ray cluster."
    parser = cli.new_parser("jpq_pyserini.distributed", summary)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _build_parser(commands)
    _embed_parser(commands)
    _search_parser(commands)
    args = parser.parse_args(argv)
    args.run(args)


def _run(name: str):
    """Return what imports and calls a command: not before its arguments are found right."""

    def call(args) -> None:
        from jpq_pyserini.distributed import build, search

        {"build": build.build, "embed": build.embed, "search": search.search}[name](args)

    return call


def _build_parser(commands) -> None:
    summary = "index another collection with the codec and encoders of a trained index"
    parser = cli.add_command(commands, "build", summary, epilog=_BUILD)
    cli.add_index(parser, "trained JPQ index directory", "--like")
    _add_corpus(parser)
    cli.add_new_directory(parser)
    add_recorded_encoder(parser)
    add_vectors(parser)
    _add_workers(parser)
    parser.set_defaults(run=_run("build"))


def _embed_parser(commands) -> None:
    parser = cli.add_command(commands, "embed", "encode a corpus into a flat Faiss folder", epilog=_EMBED)
    _add_corpus(parser)
    cli.add_output(parser, "flat Faiss folder to write (index, docid); must not exist", "FLAT")
    add_passage_encoder(parser)
    _add_workers(parser)
    parser.set_defaults(run=_run("embed"))


def _search_parser(commands) -> None:
    parser = cli.add_command(commands, "search", "search shards that are spread over machines as one", epilog=_SEARCH)
    add = parser.add_argument
    words = "JPQ index directories made with one codec, or one folder of `jpq index shards`"
    add("--shards", required=True, nargs="+", metavar="DIR", help=words)
    cli.add_topics(parser)
    cli.add_output(parser, "run to write")
    add("--hits", type=cli.positive_int, default=1000, metavar="N", help="hits per query")
    words = "candidates per query scored with their vectors; 0: none (default: as the index says)"
    add("--rescore", type=cli.natural_int, metavar="N", help=words)
    cli.add_batch_size(parser, 32, "queries searched at once")
    cli.add_device(parser, "cpu", "torch device of the query encoder")
    _add_address(parser)
    cli.add_threads(parser)
    parser.set_defaults(run=_run("search"))


def _add_corpus(parser) -> None:
    cli.add_corpus(parser, "documents; a quoted pattern such as 'part-*.jsonl.gz' names several files")
    cli.add_fields(parser)


def _add_workers(parser) -> None:
    add = parser.add_argument
    _add_address(parser)
    add("--workers", type=cli.positive_int, metavar="N", help="processes with a model each (default: as many as fit)")
    words = "GPUs of each; 0.5 puts two on one, 0 computes on CPUs"
    add("--num-gpus", type=cli.bounded(float, 0), default=0, metavar="X", help=words)
    cli.add_threads(parser)
    cli.add_batch_size(parser, BATCH_SIZE)
    cli.add_device(parser, what="torch device (default: cuda with --num-gpus, else cpu)")
    cli.add_resume(parser)


def _add_address(parser) -> None:
    words = "Ray cluster: HOST:PORT, or auto for the one this machine is part of (default: this machine alone)"
    parser.add_argument("--address", metavar="ADDRESS", help=words)


if __name__ == "__main__":
    cli.run_main(main)
