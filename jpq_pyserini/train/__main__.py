"""``python -m jpq_pyserini.train``: train a JPQ index from a flat Faiss folder."""

import argparse
import logging
import os

# Read when the OpenMP runtimes of torch and Faiss load: threads that wait for work must not spin against each other.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from jpq_pyserini.cli import add_dataclass_arguments, dataclass_from_arguments, run_main
from jpq_pyserini.train.config import TrainConfig

EXAMPLE = """\
example:
  python -m pyserini.encode input --corpus corpus.jsonl --fields text \\
    output --embeddings flat --to-faiss encoder --encoder NAME --pooling mean --l2-norm --dimension 384
  python -m jpq_pyserini.train --embeddings flat --encoder NAME --topics train.tsv --qrels qrels.train.txt \\
    --dev-topics dev.tsv --dev-qrels qrels.dev.txt --m 48 --output jpq48
  python -m pyserini.search.faiss --encoder jpq --index jpq48 --topics test.tsv --output run.txt
"""


def main() -> None:
    """Parse the command line, train, print the report."""
    parser = argparse.ArgumentParser(
        prog="python -m jpq_pyserini.train",
        description="Turn a flat Faiss folder into a JPQ index directory that Pyserini loads.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    data = parser.add_argument_group("data")
    data.add_argument(
        "--embeddings", required=True, metavar="DIR", help="flat Faiss folder (index, docid) of the collection"
    )
    data.add_argument(
        "--topics", metavar="T", help="training queries: Pyserini name or file; not needed with --epochs 0"
    )
    data.add_argument("--qrels", metavar="Q", help="their judgements: Pyserini name or file")
    data.add_argument(
        "--negatives-run",
        metavar="RUN",
        help="run of the training queries, TREC or MS MARCO format, .gz too, for --negatives-from run: say BM25's",
    )
    data.add_argument("--dev-topics", metavar="T", help="queries to choose the best step by")
    data.add_argument("--dev-qrels", metavar="Q", help="their judgements")
    data.add_argument("--output", required=True, metavar="DIR", help="index directory to write")
    data.add_argument(
        "--resume", action="store_true", help="go on from the checkpoint of a stopped run, if there is one"
    )
    encoder = parser.add_argument_group("encoder")
    encoder.add_argument(
        "--encoder", required=True, metavar="NAME", help="the encoder of the embeddings: name or folder"
    )
    encoder.add_argument("--pooling", choices=("cls", "mean"), help="for a plain Hugging Face model")
    encoder.add_argument("--l2-norm", action="store_true", help="normalise embeddings; with --pooling")
    encoder.add_argument("--query-prefix", metavar="S", help="text put before every query (default: the model's own)")
    encoder.add_argument(
        "--passage-max-length", type=int, metavar="N", help="tokens the passages were cut at; recorded"
    )
    add_dataclass_arguments(parser.add_argument_group("training"), TrainConfig)
    args = parser.parse_args()

    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    from jpq_pyserini.train.inputs import EncoderSource
    from jpq_pyserini.train.pipeline import train_index

    report = train_index(
        args.embeddings,
        EncoderSource(args.encoder, args.pooling, args.l2_norm, args.query_prefix, args.passage_max_length),
        args.output,
        args.topics,
        args.qrels,
        args.dev_topics,
        args.dev_qrels,
        dataclass_from_arguments(TrainConfig, args),
        resume=args.resume,
        negatives_run=args.negatives_run,
    )
    print(report)


if __name__ == "__main__":
    run_main(main)
