"""What a query encoder's backends cost and lose: ``python -m jpq_pyserini.bench.backends --help``."""

import argparse
import itertools
import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from importlib import metadata
from pathlib import Path

import numpy as np

from jpq_pyserini.cli import command_line, note, run_main
from jpq_pyserini.data.docids import Docids
from jpq_pyserini.data.topics import read_qrels, read_topics
from jpq_pyserini.encoders import backends
from jpq_pyserini.encoders.text_encoder import embed_queries, load_text_encoder
from jpq_pyserini.errors import JPQError
from jpq_pyserini.eval.measures import evaluate, mean
from jpq_pyserini.index import layouts, library_versions, query_encoder_path
from jpq_pyserini.index.exact import ExactIndex
from jpq_pyserini.names import DOCID, INDEX
from jpq_pyserini.storage import new_file
from jpq_pyserini.tables import as_markdown as markdown_table
from jpq_pyserini.timing import measure_in_turns, summary

_MEASURES = ("RR@10", "R@100")
_BATCH = 64


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line, measure each backend that the index has, print a table."""
    args = _parser().parse_args(argv)
    folder = query_encoder_path(args.index)
    qrels = read_qrels(args.qrels)
    topics = {qid: text for qid, text in read_topics(args.topics).items() if qid in qrels}
    if not topics:
        raise JPQError(f"{args.topics}: none of its queries is judged in {args.qrels}")
    models = {}
    for backend in backends.BACKENDS:
        model = load_text_encoder(str(folder))
        try:
            backends.apply(model, folder, backend)
        except JPQError as error:
            note(f"left out: {error}")
            continue
        models[backend] = model
    docids = Docids(Path(args.index) / DOCID)
    index = ExactIndex(layouts.read(Path(args.index) / INDEX), docids)
    results = measure(models, index, docids, topics, qrels, args.rounds)
    record = {
        "command": command_line("jpq_pyserini.bench.backends", argv),
        "threads": int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)),
        "queries": len(topics),
        "versions": library_versions() | _runtimes(),
        "backends": results,
    }
    if args.output:
        with new_file(args.output) as file:
            file.write(json.dumps(record, indent=2) + "\n")
    print(as_markdown(results))


def measure(models: dict, index: ExactIndex, docids: Sequence[str], topics: dict, qrels, rounds: int) -> dict:
    """Measure encoders in turns.

    Args:
        models: backend to ``SentenceTransformer``.
        index: what their vectors search.
        docids: external ids by row.
        topics, qrels: judged queries.
        rounds: rounds of 16 single queries and one batch of 64.

    Returns:
        backend to ``{"one by one": {median_ms, …}, "batches": {…}, "RR@10": …, "R@100": …, "cosine": …}``; the last is
        the mean cosine with the first backend's vectors.
    """
    queries = list(topics.values())
    encode = {backend: partial(embed_queries, model) for backend, model in models.items()}
    ones = measure_in_turns(encode, _batches(queries, 1, 16 * (rounds + 1)), warm_up=16)
    batches = measure_in_turns(encode, _batches(queries, _BATCH, rounds + 1), warm_up=1)
    results, first = {}, None
    for backend, model in models.items():
        vectors = embed_queries(model, queries)
        first = vectors if first is None else first
        norms = np.linalg.norm(vectors, axis=1) * np.linalg.norm(first, axis=1)
        _, rows = index.search(vectors, 100)
        run = {
            qid: {docids[row]: float(-rank) for rank, row in enumerate(found) if row >= 0}
            for qid, found in zip(topics, rows.tolist(), strict=True)
        }
        values = evaluate(run, {qid: qrels[qid] for qid in topics}, _MEASURES)
        results[backend] = {
            "one by one": asdict(summary(ones[backend])),
            "batches": asdict(summary(np.array(batches[backend]) / _BATCH)),
            **{measure: round(mean(values[measure]), 4) for measure in _MEASURES},
            "cosine": float(((vectors * first).sum(1) / norms).mean()),
        }
    return results


def as_markdown(results: dict) -> str:
    """Return the results as a table."""
    rows = [("backend", "ms, one by one", f"ms, batches of {_BATCH}", "RR@10", "R@100", "cosine")]
    for backend, found in results.items():
        times = (f"{found[how]['median_ms']:.2f}" for how in ("one by one", "batches"))
        rows.append((backend, *times, *(f"{found[name]:.4f}" for name in ("RR@10", "R@100", "cosine"))))
    return markdown_table(rows)


def _runtimes() -> dict[str, str]:
    """The versions of what runs the backends, where it is installed."""
    installed = {each.name: each.version for each in metadata.distributions()}
    return {name: installed[name] for name in ("onnxruntime", "openvino") if name in installed}


def _batches(queries: list[str], size: int, count: int) -> list[list[str]]:
    """Return ``count`` batches of the next ``size`` queries, from the first one again after the last."""
    endless = itertools.cycle(queries)
    return [list(itertools.islice(endless, size)) for _ in range(count)]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m jpq_pyserini.bench.backends",
        description="Time the backends of an index's query encoder and say what they lose. Backends are made with "
        "`python -m jpq_pyserini.index convert --encoder-backend …`.",
    )
    add = parser.add_argument
    add("--index", required=True, metavar="DIR", help="JPQ index directory")
    add("--topics", required=True, metavar="T", help="queries, as Pyserini takes them")
    add("--qrels", required=True, metavar="Q", help="judgements")
    add("--rounds", type=int, default=10, metavar="N", help="rounds of 16 single queries and one batch (default: 10)")
    add("--output", metavar="FILE", help="write everything measured as JSON")
    return parser


if __name__ == "__main__":
    run_main(main)
