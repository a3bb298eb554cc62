"""Fine-tune a cross-encoder on one's own judgements: ``python -m jpq_pyserini.eval.rerank.train --help``."""

import argparse
import logging
import random
import tempfile
from collections.abc import Mapping, Sequence

from jpq_pyserini.cli import (
    add_batch_size,
    add_corpus,
    add_device,
    add_new_directory,
    add_qrels,
    add_runs,
    add_seed,
    add_threads,
    add_topics,
    bounded,
    new_parser,
    positive_int,
    run_main,
    say,
)
from jpq_pyserini.data.runs import read_run
from jpq_pyserini.data.topics import read_qrels, read_topics
from jpq_pyserini.encoders.text_encoder import quietly
from jpq_pyserini.errors import JPQError, reason_of
from jpq_pyserini.eval.measures import trec_order
from jpq_pyserini.eval.rerank.texts import corpus_texts
from jpq_pyserini.storage import new_directory, refuse_existing

_EXAMPLE = """\
example:
  jpq rerank-train --model sentence-transformers/all-MiniLM-L6-v2 --topics train.tsv \\
      --qrels qrels.train.txt --run run.bm25.train.txt --run run.jpq.train.txt --corpus corpus.jsonl --output reranker

Each query comes with one relevant passage and NEGATIVES of its hits that are not relevant; the model learns to score
the first above the others (RankNet loss, sentence-transformers' trainer). Then: jpq rerank --model reranker.
"""


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line, choose passages, train, save the model."""
    args = _parser().parse_args(argv)
    if not 0 < args.lr < 1:
        raise JPQError(f"--lr {args.lr}: must be above 0 and below 1")
    refuse_existing(args.output)
    topics, qrels = read_topics(args.topics), read_qrels(args.qrels)
    lists = training_lists(topics, qrels, [read_run(run) for run in args.run], negatives=args.negatives, seed=args.seed)
    if not lists:
        raise JPQError(
            f"no query of {args.topics} has both a relevant document in {args.qrels} and {args.negatives} hits that "
            "are not relevant in the runs: give the runs and judgements of these topics, or fewer --negatives"
        )
    texts = corpus_texts(args.corpus, {docid for docids in lists.values() for docid in docids})
    with new_directory(args.output) as directory:
        _train(args, [(topics[qid], [texts[docid] for docid in docids]) for qid, docids in lists.items()], directory)
    say(f"trained on {len(lists):,} of {len(topics):,} queries, {args.negatives + 1} passages each")
    say(f"wrote {args.output}")


def training_lists(
    topics: Mapping[str, str],
    qrels: Mapping[str, Mapping[str, int]],
    runs: Sequence[Mapping[str, Mapping[str, float]]],
    *,
    negatives: int,
    seed: int,
) -> dict[str, list[str]]:
    """Choose the passages to train with.

    Returns:
        qid to 1 + ``negatives`` docids: a relevant document, drawn, then hits that are not relevant, drawn from each
        run in turn. Queries without a relevant document or with too few such hits are left out.
    """
    rng = random.Random(seed)
    lists = {}
    for qid in topics:
        relevant = [docid for docid, grade in qrels.get(qid, {}).items() if grade > 0]
        drawn = []
        for run in runs:
            hits = [docid for docid in trec_order(run.get(qid, {})) if docid not in relevant]
            drawn.append(rng.sample(hits, len(hits)))
        longest = max(map(len, drawn), default=0)
        turns = [hits[at] for at in range(longest) for hits in drawn if at < len(hits)]
        others = list(dict.fromkeys(turns))[:negatives]
        if relevant and len(others) == negatives:
            lists[qid] = [rng.choice(relevant), *others]
    return lists


def _train(args, lists: Sequence[tuple[str, list[str]]], directory) -> None:
    import torch
    from datasets import Dataset
    from sentence_transformers import CrossEncoder
    from sentence_transformers.cross_encoder import CrossEncoderTrainer, CrossEncoderTrainingArguments
    from sentence_transformers.cross_encoder.losses import RankNetLoss

    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)  # the head is new, of which these two warn
    for library in ("transformers", "sentence_transformers"):
        logging.getLogger(library).setLevel(logging.ERROR)
    try:
        with quietly():
            model = CrossEncoder(
                args.model,
                num_labels=1,
                max_length=args.max_length,
                device=args.device,
                model_kwargs={"use_safetensors": True},
            )
    except Exception as error:  # each library below has its own exception types
        raise JPQError(
            f"cannot start from {args.model!r} ({reason_of(error)}): name a folder with model.safetensors, or a model "
            "of the Hugging Face hub that is in its cache or can be reached"
        ) from error
    data = {
        "query": [query for query, _ in lists],
        "docs": [texts for _, texts in lists],
        "labels": [[1.0] + [0.0] * args.negatives for _ in lists],
    }
    with tempfile.TemporaryDirectory() as scratch:
        options = CrossEncoderTrainingArguments(
            output_dir=scratch,
            num_train_epochs=args.epochs,
            per_device_train_batch_size=args.batch_size,
            learning_rate=args.lr,
            warmup_steps=0.1,
            bf16=args.bf16,
            use_cpu=args.device == "cpu",
            seed=args.seed,
            save_strategy="no",
            report_to="none",
            logging_steps=10,
        )
        CrossEncoderTrainer(
            model=model, args=options, train_dataset=Dataset.from_dict(data), loss=RankNetLoss(model)
        ).train()
    model.save_pretrained(str(directory))


def _parser() -> argparse.ArgumentParser:
    parser = new_parser(
        "jpq_pyserini.eval.rerank.train",
        "Fine-tune a cross-encoder on judged queries, with the top hits of first-stage runs as negatives.",
        _EXAMPLE,
    )
    add = parser.add_argument
    add("--model", required=True, metavar="MODEL", help="model to start from, with safetensors: folder or hub name")
    add_topics(parser, "training queries")
    add_qrels(parser, "relevance judgements of the training queries")
    add_runs(parser, "runs of the training queries, whose hits are the negatives", metavar="RUN")
    add_corpus(parser, "texts of the documents")
    add("--negatives", type=positive_int, default=3, metavar="N", help="negatives per query")
    add("--epochs", type=positive_int, default=1, metavar="N", help="passes over the training queries")
    add_batch_size(parser, 8, "queries per training step")
    add(
        "--lr",
        type=bounded(float, 0, 100),
        default=1e-4,
        metavar="X",
        help="peak learning rate; warmed up, then decayed linearly to 0",
    )
    add(
        "--max-length",
        type=bounded(int, 8),
        default=192,
        metavar="N",
        help="maximum length of query and passage together, in tokens",
    )
    add("--bf16", action=argparse.BooleanOptionalAction, default=False, help="train in bfloat16")
    add_threads(parser)
    add_device(parser, "cpu")
    add_seed(parser, "random seed of the negatives drawn and of the order of the queries")
    add_new_directory(parser, "folder of the cross-encoder")
    return parser


if __name__ == "__main__":
    run_main(main)
