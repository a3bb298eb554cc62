"""``python -m jpq_pyserini.train``: train a JPQ index from a flat Faiss folder."""

import argparse
import logging
import os
from collections.abc import Sequence

# Read when the OpenMP runtimes of torch and Faiss load: threads that wait for work must not spin against each other.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from jpq_pyserini.cli import (
    add_dataclass_arguments,
    add_docids,
    add_embeddings,
    add_new_directory,
    add_qrels,
    add_resume,
    add_run,
    add_topics,
    dataclass_from_arguments,
    new_parser,
    positive_int,
    run_main,
    say,
)
from jpq_pyserini.train.config import TrainConfig, method_table, settings_of
from jpq_pyserini.train.student_config import StudentConfig

EXAMPLE = """\
example:
  jpq index embed --corpus corpus.jsonl --encoder NAME --output flat
  jpq train --embeddings flat --encoder NAME --topics train.tsv --qrels qrels.train.txt \\
    --dev-topics dev.tsv --dev-qrels qrels.dev.txt --m 48 --output jpq48
  python -m pyserini.search.faiss --encoder jpq --index jpq48 --topics test.tsv --output run.txt
"""


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line, train, print the report."""
    args = _parse(argv)
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    config = dataclass_from_arguments(TrainConfig, args)
    from jpq_pyserini.train.inputs import EncoderSource
    from jpq_pyserini.train.pipeline import train_index

    report = train_index(
        args.embeddings,
        EncoderSource(
            args.encoder,
            args.pooling,
            args.l2_norm,
            args.query_prefix,
            args.passage_max_length,
            args.passage_prefix,
            args.truncate_dim,
            args.query_encoder,
            dataclass_from_arguments(StudentConfig, args),
            tuple(args.distil_queries),
        ),
        args.output,
        args.topics,
        args.qrels,
        args.dev_topics,
        args.dev_qrels,
        config,
        resume=args.resume,
        negatives_run=args.negatives_run,
        docids=args.docids,
    )
    say(report)


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = _parser()
    args = parser.parse_args(argv)
    parser.set_defaults(**settings_of(args.method))  # so that any flag, also one equal to its default, overrides them
    return parser.parse_args(argv)


def _parser() -> argparse.ArgumentParser:
    summary = "Train a JPQ index that Pyserini loads, from a flat Faiss folder, its encoder and training queries."
    parser = new_parser("jpq_pyserini.train", summary, f"{method_table()}\n\n{EXAMPLE}")
    data = parser.add_argument_group("data")
    add_embeddings(data)
    add_docids(data)
    add_topics(data, "training queries (not needed with --epochs 0)", required=False)
    add_qrels(data, "relevance judgements of the training queries", required=False)
    add_topics(data, "dev queries, which select the best step", flag="--dev-topics", required=False)
    add_qrels(data, "relevance judgements of the dev queries", flag="--dev-qrels", required=False)
    add_run(data, "for --negatives-from run, a run of the training queries", "--negatives-run", required=False)
    add_new_directory(data)
    add_resume(data, "continue from the checkpoint of a stopped run, if there is one")
    encoder = parser.add_argument_group("encoder")
    encoder.add_argument(
        "--encoder", required=True, metavar="NAME", help="encoder that made the embeddings: name or folder"
    )
    encoder.add_argument(
        "--pooling", choices=("cls", "mean", "lasttoken"), help="pooling of a plain Hugging Face model"
    )
    encoder.add_argument("--l2-norm", action="store_true", help="normalise its embeddings; with --pooling")
    encoder.add_argument(
        "--query-encoder",
        metavar="NAME",
        help="start from this query encoder: one trained before on the same passages, a smaller model (with a setting "
        "for smaller query encoders, below), or static, a table of token vectors (default: --encoder)",
    )
    smaller = parser.add_argument_group("smaller query encoder, which first learns to imitate the full one")
    add_dataclass_arguments(smaller, StudentConfig)
    words = "queries to imitate on, besides --topics: topics, or a collection, whose titles and first sentences count"
    smaller.add_argument("--distil-queries", nargs="+", default=[], metavar="FILE", help=words)
    encoder.add_argument("--query-prefix", metavar="S", help="text put before every query (default: the model's own)")
    encoder.add_argument(
        "--passage-max-length",
        type=int,
        metavar="N",
        help="maximum passage length (tokens) used when the embeddings were made; stored in the index",
    )
    encoder.add_argument(
        "--passage-prefix",
        metavar="S",
        help="text that was put before every passage, with a space, when the embeddings were made; stored in the index",
    )
    encoder.add_argument(
        "--truncate-dim", type=positive_int, metavar="D", help="dimensions kept, if a Matryoshka model was cut"
    )
    add_dataclass_arguments(parser.add_argument_group("training"), TrainConfig)
    return parser


if __name__ == "__main__":
    run_main(main)
