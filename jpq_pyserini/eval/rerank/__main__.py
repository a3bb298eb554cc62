"""Re-rank the top of a run with a cross-encoder, the paper's table 4: ``python -m jpq_pyserini.eval.rerank --help``."""

import argparse
import os
from collections.abc import Sequence

import numpy as np

from jpq_pyserini.cli import (
    add_batch_size,
    add_corpus,
    add_device,
    add_output,
    add_resume,
    add_run,
    add_threads,
    add_topics,
    bounded,
    command_line,
    new_parser,
    note,
    positive_int,
    run_main,
    say,
)
from jpq_pyserini.data.runs import Run, read_run, write_run
from jpq_pyserini.data.topics import read_topics
from jpq_pyserini.errors import JPQError
from jpq_pyserini.eval.facts import Facts, facts_path, read_facts, write_facts
from jpq_pyserini.eval.measures import trec_order
from jpq_pyserini.eval.rerank.cross_encoder import load_cross_encoder, model_name, score_pairs
from jpq_pyserini.eval.rerank.journal import ScoreJournal
from jpq_pyserini.eval.rerank.ranking import reranked, score_queries
from jpq_pyserini.eval.rerank.texts import corpus_texts, lucene_texts
from jpq_pyserini.index import library_versions
from jpq_pyserini.resume import fingerprint
from jpq_pyserini.storage import check_outputs, locked
from jpq_pyserini.timing import Timing, summary

_TAG = "rerank"
_EXAMPLE = """\
example:
  jpq rerank --run run.jpq.txt --topics queries.test.tsv --corpus corpus.jsonl \\
      --model cross-encoder/ms-marco-MiniLM-L6-v2 --depth 30 --output run.jpq-top30.txt

Only the top DEPTH documents of each query are scored; the others follow in their old order. Queries are re-ranked one
by one, so the reported times are latencies of single queries. They cover re-ranking alone (tokenizer and model): add
those of the first stage.
"""


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line, re-rank, write the run and its facts, say how long a query took."""
    args = _parser().parse_args(argv)
    check_outputs(
        [args.output, facts_path(args.output)],
        [args.run, facts_path(args.run), args.topics, args.corpus, args.index, args.model],
    )
    if os.path.exists(args.output) and not os.path.isfile(args.output):
        raise JPQError(f"--output {args.output} is a device: name a file, beside which facts and scores are written")
    with locked(args.output):
        _rerank(args, argv)


def _rerank(args: argparse.Namespace, argv: Sequence[str] | None) -> None:
    run, topics = read_run(args.run), read_topics(args.topics)
    qids = [qid for qid in run if qid in topics]
    if not qids:
        raise JPQError(
            f"none of the run's {len(run):,} query ids (first {next(iter(run))!r}) is in {args.topics} (first "
            f"{next(iter(topics))!r}): give the topics of the run"
        )
    if len(qids) < len(run):
        note(f"{len(run) - len(qids):,} queries of the run are not in {args.topics}: ignored")
    journal = ScoreJournal(f"{args.output}.scores", _settings(args), resume=args.resume)
    try:
        _score(args, run, qids, topics, journal)
    except KeyboardInterrupt:
        done = f"{len(journal.done):,} of {len(qids):,} queries are in {journal.path}"
        raise KeyboardInterrupt(f"{done}; run the same command with --resume to continue") from None
    finally:
        journal.close()
    write_run(args.output, ((qid, reranked(trec_order(run[qid]), journal.done[qid].scores)) for qid in qids), _TAG)
    latency = summary([journal.done[qid].seconds for qid in qids])
    _write_facts(args, run, qids, latency, argv)
    journal.discard()
    say(
        f"re-ranked the top {args.depth} of {len(qids):,} queries: median {latency.median_ms:.1f} ms a query, 95th "
        f"percentile {latency.p95_ms:.1f} ms (re-ranking alone; {args.device}, {args.threads} "
        f"thread{'s' * (args.threads > 1)})\nwrote {args.output} and {facts_path(args.output)}"
    )


def _score(args, run: Run, qids: list[str], topics: dict[str, str], journal: ScoreJournal) -> None:
    import torch
    from tqdm import tqdm

    heads = {qid: trec_order(run[qid])[: args.depth] for qid in qids if qid not in journal.done}
    if not heads:
        return
    torch.set_num_threads(args.threads)
    model = load_cross_encoder(args.model, max_length=args.max_length, device=args.device)
    if args.corpus is None:
        text_of = lucene_texts(args.index)
    else:
        text_of = corpus_texts(args.corpus, {docid for docids in heads.values() for docid in docids}).__getitem__

    def score(query: str, texts: list[str]) -> np.ndarray:
        return score_pairs(model, query, texts, args.batch_size)

    scored = score_queries(heads, topics, text_of, score)
    bar = tqdm(scored, "re-ranking", len(qids), unit="query", initial=len(journal.done), disable=None)
    for qid, result in bar:
        journal.add(qid, result)


def _settings(args) -> dict[str, object]:
    """Return what must be the same for a stopped command to go on."""
    same = {name: getattr(args, name) for name in ("depth", "batch_size", "max_length", "threads", "device")}
    files = {"run": args.run, "topics": args.topics, "texts": args.corpus or args.index, "model": args.model}
    return same | {name: fingerprint(file) for name, file in files.items()}


def _write_facts(args, run: Run, qids: list[str], latency: Timing, argv: Sequence[str] | None) -> None:
    first = read_facts(args.run)
    facts = Facts(
        title=f"{first.title or run.name} + {model_name(args.model)}, top {args.depth}",
        group=first.group,
        documents=first.documents,
        bytes_per_document=first.bytes_per_document,
        ms_per_query=round(latency.median_ms, 3),
        threads=args.threads,
        hits=max(len(run[qid]) for qid in qids),
        command=command_line("jpq_pyserini.eval.rerank", argv),
        versions=library_versions(),
    )
    write_facts(args.output, facts)


def _parser() -> argparse.ArgumentParser:
    parser = new_parser(
        "jpq_pyserini.eval.rerank",
        "Re-rank the top documents of a run with a cross-encoder of sentence-transformers.",
        _EXAMPLE,
    )
    add_run(parser, "run to re-rank")
    add_topics(parser, "the run's queries")
    texts = parser.add_mutually_exclusive_group(required=True)
    add_corpus(texts, "texts of the documents", required=False)
    texts.add_argument("--index", metavar="INDEX", help="texts of the documents: Lucene index, folder or prebuilt name")
    add = parser.add_argument
    add("--model", required=True, metavar="MODEL", help="cross-encoder with safetensors: folder or hub name")
    add("--depth", type=positive_int, default=30, metavar="N", help="documents re-ranked per query")
    add(
        "--max-length",
        type=bounded(int, 8),
        metavar="N",
        help="maximum length of query and passage together, in tokens (default: the model's)",
    )
    add_batch_size(parser, 32, "query-passage pairs scored at once")
    add_threads(parser)
    add_device(parser, "cpu")
    add_output(parser, "TREC run to write; scores are kept in the folder FILE.scores until it is complete")
    add_resume(parser, "continue from the scores that a stopped command left in FILE.scores")
    return parser


if __name__ == "__main__":
    run_main(main)
