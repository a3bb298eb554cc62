"""The arguments of ``python -m jpq_pyserini.index`` and its sub-commands."""

from jpq_pyserini import cli
from jpq_pyserini.encoders.limits import BATCH_SIZE
from jpq_pyserini.index.imported import command as imported
from jpq_pyserini.index.vectors import DEFAULT_DTYPE, DTYPES
from jpq_pyserini.lazy import Later
from jpq_pyserini.names import LAYOUTS

_commands = Later("jpq_pyserini.index.commands")

_BACKENDS = ("torch", "onnx", "onnx-int8", "openvino")

_ADD = """\
The document encoder recorded in jpq.json encodes the new documents. They are assigned to the same centroids as the
first documents were, and scored with the trained ones; existing codes stay. A docid that is in the index already is
refused.

example:
  jpq index add --index jpq48 --corpus more.jsonl --output jpq48-more
"""
_MERGE = """\
The indexes must have the same codec, query encoder and layout, and no docid in common. Documents keep their order.
Shards that `index build --shard-id` made are put in the order of their numbers, all of them have to be there, and the
result is what `index build` makes in one go.

example:
  jpq index merge --indexes shard0 shard1 shard2 --output whole
"""
_SHARDS = """\
Nothing is copied: the folder names the indexes, which stay where they are, and takes their place in `--index DIR` of
Pyserini's commands. They must have the same codec, query encoder and layout, and no docid in common. Hits are those of
the merged index; layouts with inverted lists visit lists of each shard.

example:
  jpq index shards --indexes shard0 shard1 --output shards
  python -m pyserini.search.faiss --encoder jpq --index shards --topics test.tsv --output run.txt --threads 2
"""
_BUILD = """\
Nothing is trained: documents are encoded and coded as those of the trained index were, and searched with its query
encoder. A collection too large for one process can be built in shards, for instance as a Slurm job array, and merged:
the result is the same, byte by byte. `jpq distributed build` does all of this on the machines of a Ray cluster.

examples:
  jpq index build --like jpq48 --corpus scifact.jsonl --output scifact48
  jpq index build --like jpq48 --corpus corpus/ --output shard3 --shard-id 3 --shard-num 8    # 8 times, 0 to 7
"""
_CONVERT = """\
layouts:
  pq            every document scored in float32; 4 or 8 bits (the paper's index)
  fastscan      every document, some ten times faster; 4 bits
  ivf           the documents of the nprobe nearest inverted lists; 4 or 8 bits
  ivf-fastscan  both; 4 bits

example:
  jpq index convert --index jpq96x4 --layout fastscan --output jpq96x4-fast
"""
_VECTORS = """\
With its document vectors on disk an index is searched in two stages: the codes, in memory, propose candidates, whose
vectors are read and rank them. Pyserini's commands do so with --encoder jpq. The environment variable JPQ_RESCORE sets
the number of candidates; 0 searches the codes alone.

example:
  jpq index vectors --index jpq48 --embeddings flat
  jpq index vectors --index jpq48 --rescore 500     # vectors stay as they are
"""
_EMBED = """\
The folder can be searched by Pyserini, and trained from: jpq train --embeddings FLAT. It records the
encoder and the passage length, which training then takes from it. A stopped command continues with --resume.

example:
  jpq index embed --corpus passages.jsonl --encoder sentence-transformers/all-MiniLM-L6-v2 \\
    --output flat
"""


def add_commands(commands) -> None:
    """Add all sub-commands to what ``add_subparsers`` returned."""
    for build in (
        _describe_parser,
        _embed_parser,
        _add_parser,
        _merge_parser,
        _shards_parser,
        _build_parser,
        _convert_parser,
        _vectors_parser,
    ):
        build(commands)
    imported.add_parser(commands).set_defaults(run=imported.run)


def _describe_parser(commands) -> None:
    parser = cli.add_command(commands, "describe", "show what an index directory holds")
    cli.add_index(parser)
    parser.add_argument("--verify", action="store_true", help="compare every file with its recorded SHA-256")
    parser.add_argument("--json", action="store_true", help="print the whole record as JSON")
    parser.set_defaults(run=lambda args: _commands.describe(args))


def _embed_parser(commands) -> None:
    parser = cli.add_command(commands, "embed", "encode a corpus into a flat Faiss folder", epilog=_EMBED)
    cli.add_corpus(parser, "passages")
    cli.add_fields(parser)
    add_passage_encoder(parser)
    cli.add_output(parser, "flat Faiss folder to write (index, docid); must not exist", "FLAT")
    cli.add_batch_size(parser, BATCH_SIZE)
    cli.add_device(parser)
    cli.add_resume(parser)
    _add_shard(parser)
    parser.set_defaults(run=lambda args: _commands.embed(args))


def add_passage_encoder(parser) -> None:
    """Add the encoder of passages and how it is used."""
    add = parser.add_argument
    add("--encoder", required=True, metavar="NAME", help="passage encoder: Hugging Face or sentence-transformers model")
    add("--pooling", choices=("cls", "mean", "lasttoken"), help="pooling, for a plain Hugging Face model")
    add("--l2-norm", "--l2-normalise", "--l2-normalize", action="store_true", help="normalise the embeddings")
    add(
        "--max-length",
        type=cli.bounded(int, 1),
        metavar="N",
        help="maximum passage length in tokens (default: the model's)",
    )
    add("--prefix", metavar="TEXT", help="text put before every passage, with a space (default: the model's prompt)")
    words = "keep the first D dimensions of a Matryoshka model (default: what the model says)"
    add("--truncate-dim", type=cli.positive_int, metavar="D", help=words)
    _add_passage_backend(parser, default="torch")


def add_recorded_encoder(parser) -> None:
    """Add ``--encoder`` where a trained index has recorded the encoder of its documents."""
    words = "load the document encoder from here instead of the recorded name or path (must be the same model)"
    parser.add_argument("--encoder", metavar="NAME", help=words)


def add_vectors(parser) -> None:
    """Add ``--vectors`` of a new index."""
    words = "store the document vectors, for two-stage search (default: as the trained index does)"
    parser.add_argument("--vectors", choices=("none", *DTYPES), help=words)


def _add_shard(parser) -> None:
    words = "only the documents of shard I, counted from 0; each shard is a command of its own"
    parser.add_argument("--shard-id", type=cli.natural_int, metavar="I", help=f"{words} (default: all documents)")
    words = "number of shards of about the same size that the documents are split into, with --shard-id"
    parser.add_argument("--shard-num", type=cli.positive_int, metavar="N", help=words)


def _add_passage_backend(parser, default: str | None = None) -> None:
    words = (
        "what runs the passage encoder; all but torch need the CPU. auto is the faster of torch and onnx, measured on "
        "the first passages; their vectors are equal up to rounding"
    )
    more = "" if default else " (default: torch)"
    parser.add_argument("--encoder-backend", choices=("auto", *_BACKENDS), default=default, help=words + more)


def _add_source(parser) -> None:
    given = parser.add_mutually_exclusive_group(required=True)
    cli.add_corpus(given, "documents, to be encoded", required=False)
    cli.add_embeddings(given, "embeddings of the documents by the recorded encoder", required=False)
    cli.add_fields(parser)
    cli.add_docids(parser)
    add_recorded_encoder(parser)
    cli.add_device(parser, what="with --corpus: torch device of the encoder")
    words = f"with --corpus: documents encoded at once (default: {BATCH_SIZE})"
    parser.add_argument("--batch-size", type=cli.positive_int, metavar="N", help=words)
    _add_passage_backend(parser)
    cli.add_resume(parser, "with --corpus: continue from what a stopped command left, if there is anything")


def _add_parser(commands) -> None:
    parser = cli.add_command(commands, "add", "add documents to an index directory", epilog=_ADD)
    cli.add_index(parser)
    _add_source(parser)
    target = parser.add_mutually_exclusive_group(required=True)
    cli.add_new_directory(target, required=False)
    target.add_argument("--in-place", action="store_true", help="replace DIR atomically when the new index is complete")
    parser.set_defaults(run=lambda args: _commands.add(args))


def _merge_parser(commands) -> None:
    parser = cli.add_command(commands, "merge", "merge index directories that share a codec", epilog=_MERGE)
    parser.add_argument("--indexes", required=True, nargs="+", metavar="DIR", help="JPQ index directories, in order")
    cli.add_new_directory(parser)
    parser.set_defaults(run=lambda args: _commands.merge(args))


def _shards_parser(commands) -> None:
    summary = "let several index directories be searched as one"
    parser = cli.add_command(commands, "shards", summary, epilog=_SHARDS)
    parser.add_argument("--indexes", required=True, nargs="+", metavar="DIR", help="JPQ index directories")
    cli.add_new_directory(parser, "folder")
    parser.set_defaults(run=lambda args: _commands.shards(args))


def _build_parser(commands) -> None:
    summary = "index another collection with the codec and encoders of a trained index (zero-shot)"
    parser = cli.add_command(commands, "build", summary, epilog=_BUILD)
    cli.add_index(parser, "trained JPQ index directory", "--like")
    _add_source(parser)
    cli.add_new_directory(parser)
    _add_shard(parser)
    add_vectors(parser)
    parser.set_defaults(run=lambda args: _commands.build(args))


def _convert_parser(commands) -> None:
    parser = cli.add_command(commands, "convert", "write an index directory in another layout", epilog=_CONVERT)
    add = parser.add_argument
    cli.add_index(parser)
    add("--layout", choices=LAYOUTS, help="layout to write (default: the one it has)")
    cli.add_new_directory(parser)
    add("--nlist", type=cli.bounded(int, 1), metavar="N", help="ivf: number of inverted lists (default: 4·√documents)")
    add(
        "--nprobe",
        type=cli.bounded(int, 1),
        metavar="N",
        help="ivf: lists a query visits, stored in the index (default: a 16th)",
    )
    cli.add_embeddings(parser, "ivf: embeddings to cluster instead of decoded documents", required=False)
    cli.add_docids(parser)
    cli.add_seed(parser, "ivf: random seed of the clustering")
    words = "export the query encoder for this backend, which then becomes the index's own (default: unchanged)"
    add("--encoder-backend", choices=_BACKENDS, help=words)
    parser.set_defaults(run=lambda args: _commands.convert(args))


def _vectors_parser(commands) -> None:
    parser = cli.add_command(commands, "vectors", "store document vectors for two-stage search", epilog=_VECTORS)
    cli.add_index(parser)
    given = parser.add_mutually_exclusive_group()
    cli.add_embeddings(given, "embeddings that the index was made from, in any order", required=False)
    cli.add_fields(parser)
    cli.add_docids(parser)
    cli.add_corpus(given, "documents, encoded again with the recorded encoder", required=False)
    given.add_argument("--remove", action="store_true", help="remove the vectors from the index")
    add = parser.add_argument
    add("--dtype", choices=DTYPES, help=f"type of number on disk (default: {DEFAULT_DTYPE})")
    add("--refer", action="store_true", help="with --embeddings: do not copy; the folder has to stay where it is")
    words = "candidates per query, stored in the index; 0 is off (default: chosen from the number of hits)"
    add("--rescore", type=cli.bounded(int, 0), metavar="N", help=words)
    add("--encoder", metavar="NAME", help="with --corpus: load the document encoder from here")
    cli.add_device(parser, what="with --corpus: torch device of the encoder")
    cli.add_batch_size(parser, BATCH_SIZE)
    cli.add_resume(parser, "with --corpus: continue from what a stopped command left, if there is anything")
    parser.set_defaults(run=lambda args: _commands.vectors(args))
