"""``python -m jpq_pyserini.bench.train_step``: our training step against the published way of doing it, as a ratio.

Both steps start from the same encoder, batch, codes and centroids, in one process, in turns. The published way (the
paper's section 3.2, and the code its authors released) rebuilds the quantized embeddings of each query's candidates,
loops over the queries of a batch, and updates every parameter of the encoder.
"""

import argparse
import os
from collections.abc import Sequence

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from jpq_pyserini import cli, tables
from jpq_pyserini.bench.records import check_record, write_record
from jpq_pyserini.data.topics import read_topics
from jpq_pyserini.encoders.text_encoder import load_text_encoder
from jpq_pyserini.errors import JPQError
from jpq_pyserini.lazy import Later
from jpq_pyserini.timing import use_threads

published_step = Later("jpq_pyserini.bench.published_step")

_MODULE = "jpq_pyserini.bench.train_step"


def main(argv: Sequence[str] | None = None) -> None:
    """Measure at every size and print the ratios."""
    args = _parser().parse_args(argv)
    check_record(args)
    encoder = load_text_encoder(args.encoder, max_length=32)
    if encoder.get_embedding_dimension() % args.m:
        raise JPQError(f"--m {args.m} does not divide the dimension {encoder.get_embedding_dimension()} of the encoder")
    queries = list(read_topics(args.topics).values())
    results = {}
    for documents in args.documents:
        with use_threads(args.threads):
            found = published_step.compare_steps(
                encoder, queries, documents, args.m, args.steps, args.batch_size, args.seed
            )
        results[documents] = found
        shape = f"N = {documents:,}, M = {args.m}, batch {args.batch_size}, {args.threads} threads"
        cli.say(f"{shape}, medians of {args.steps} steps\n{as_table(found)}")
    if args.output:
        write_record(args.output, _MODULE, argv, seconds=results)


def as_table(found: dict[str, dict[str, float]]) -> str:
    """Return medians by way and phase, and the ratio of both ways, as text."""
    seconds = {way: [*phases.values(), sum(phases.values())] for way, phases in found.items()}
    rows: list[tuple[str, ...]] = [("", *published_step.PHASES, "step")]
    rows += [(way, *(f"{1000 * each:.1f} ms" for each in taken)) for way, taken in seconds.items()]
    ratios = zip(seconds["published"], seconds["ours"], strict=True)
    return tables.as_text([*rows, ("ratio", *(f"{theirs / ours:.1f}x" for theirs, ours in ratios))])


def _parser() -> argparse.ArgumentParser:
    parser = cli.new_parser(
        _MODULE,
        "Time a training step, phase by phase, beside the way it was published: embeddings rebuilt from their codes, "
        "query by query, all parameters of the encoder trained. Codes and centroids are random.",
    )
    add = parser.add_argument
    add("--encoder", required=True, metavar="NAME", help="sentence-transformers model, name or folder")
    cli.add_topics(parser, "queries that batches are drawn from")
    sizes = "sizes of the collection"
    add("--documents", type=cli.positive_int, nargs="+", default=[20_000, 1_000_000], metavar="N", help=sizes)
    add("--m", type=cli.positive_int, default=48, metavar="M", help="sub-vectors, which is bytes per document")
    add("--steps", type=cli.positive_int, default=10, metavar="N", help="steps timed of each way")
    cli.add_batch_size(parser, 32, "queries in a batch")
    cli.add_threads(parser)
    cli.add_seed(parser)
    cli.add_output(parser, "JSON file for all figures", required=False)
    return parser


if __name__ == "__main__":
    cli.run_main(main)
