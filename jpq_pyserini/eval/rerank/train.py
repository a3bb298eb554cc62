"""Fine-tune a cross-encoder on one's own judgements: ``python -m jpq_pyserini.eval.rerank.train --help``."""

import argparse
import logging
import random
import tempfile
from collections.abc import Mapping, Sequence

from jpq_pyserini.cli import run_main
from jpq_pyserini.data.runs import read_run
from jpq_pyserini.data.topics import read_qrels, read_topics
from jpq_pyserini.encoders.text_encoder import quietly
from jpq_pyserini.errors import JPQError, reason_of
from jpq_pyserini.eval.measures import trec_order
from jpq_pyserini.eval.rerank.texts import corpus_texts
from jpq_pyserini.storage import new_directory, refuse_existing

_EXAMPLE = """\
example:
  python -m jpq_pyserini.eval.rerank.train --model sentence-transformers/all-MiniLM-L6-v2 --topics train.tsv \\
      --qrels qrels.train.txt --run run.bm25.train.txt --run run.jpq.train.txt --corpus corpus.jsonl --output reranker

Each step sees some queries, each with a relevant passage and NEGATIVES of its hits that are not relevant, and learns to
score the first above each of the others (RankNet, sentence-transformers' trainer). Then: eval.rerank --model reranker.
"""


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line, choose passages, train, save the model."""
    args = _parser().parse_args(argv)
    for name in ("negatives", "batch_size", "epochs", "threads"):
        if getattr(args, name) < 1:
            raise JPQError(f"--{name.replace('_', '-')} {getattr(args, name)}: must be at least 1")
    if args.max_length < 8:
        raise JPQError(f"--max-length {args.max_length}: must be at least 8 tokens, for a query and a passage")
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
    print(f"trained on {len(lists):,} of {len(topics):,} queries, {args.negatives + 1} passages each")
    print(f"wrote {args.output}")


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
    parser = argparse.ArgumentParser(
        prog="python -m jpq_pyserini.eval.rerank.train",
        description="Fine-tune a cross-encoder on judged queries, with what runs found for them as negatives.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--model", required=True, metavar="M", help="transformer with safetensors to start from: folder or hub name")
    add("--topics", required=True, metavar="T", help="training queries: a file, or a topics name that Pyserini knows")
    add("--qrels", required=True, metavar="Q", help="their judgements: a file, or a name that Pyserini knows")
    add("--run", required=True, action="append", metavar="RUN", help="hits to take negatives from; may be repeated")
    add("--corpus", required=True, metavar="PATH", help="texts: a JsonCollection, a file or a folder")
    add("--negatives", type=int, default=3, metavar="N", help="passages beside the relevant one (default: 3)")
    add("--epochs", type=int, default=1, metavar="N", help="times to go over the queries (default: 1)")
    add("--batch-size", type=int, default=8, metavar="N", help="queries a step (default: 8)")
    add("--lr", type=float, default=1e-4, metavar="X", help="learning rate, falling to 0 (default: 1e-4)")
    add("--max-length", type=int, default=192, metavar="N", help="tokens of query and passage together (default: 192)")
    add("--bf16", action=argparse.BooleanOptionalAction, default=False, help="multiply in bfloat16 (default: no)")
    add("--threads", type=int, default=1, metavar="N", help="CPU threads (default: 1)")
    add("--device", default="cpu", metavar="D", help="torch device, say cuda:0 (default: cpu)")
    add("--seed", type=int, default=42, metavar="N", help="of the passages drawn and of their order (default: 42)")
    add("--output", required=True, metavar="DIR", help="folder to write the cross-encoder to")
    return parser


if __name__ == "__main__":
    run_main(main)
