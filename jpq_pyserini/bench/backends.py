"""Compare the backends of a query encoder: ``python -m jpq_pyserini.bench.backends --help``."""

import argparse
import itertools
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib import metadata
from pathlib import Path

import numpy as np

from jpq_pyserini import cli, tables
from jpq_pyserini.bench.records import write_record
from jpq_pyserini.data.docids import Docids
from jpq_pyserini.data.topics import read_qrels, read_topics
from jpq_pyserini.encoders import backends
from jpq_pyserini.encoders.text_encoder import embed_queries, load_text_encoder
from jpq_pyserini.errors import JPQError
from jpq_pyserini.eval.measures import evaluate, mean
from jpq_pyserini.index import layouts, query_encoder_path
from jpq_pyserini.index.exact import ExactIndex
from jpq_pyserini.names import DOCID, INDEX
from jpq_pyserini.timing import Timing, measure_in_turns, summary

_MODULE = "jpq_pyserini.bench.backends"
_MEASURES = ("RR@10", "R@100")
_BATCH = 64


@dataclass(frozen=True)
class BackendCost:
    """What one backend costs and loses.

    Attributes:
        one_by_one, batches: time a query, alone and in batches of 64.
        effectiveness: measure to mean.
        cosine: mean cosine of its query vectors with the first backend's.
    """

    one_by_one: Timing
    batches: Timing
    effectiveness: dict[str, float]
    cosine: float

    def record(self) -> dict:
        """Return it as the JSON file has it."""
        times = {"one by one": asdict(self.one_by_one), "batches": asdict(self.batches)}
        return times | self.effectiveness | {"cosine": self.cosine}


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line, measure each backend that the index has, print a table."""
    args = _parser().parse_args(argv)
    qrels = read_qrels(args.qrels)
    topics = {qid: text for qid, text in read_topics(args.topics).items() if qid in qrels}
    if not topics:
        raise JPQError(f"{args.topics}: none of its queries is judged in {args.qrels}")
    docids = Docids(Path(args.index) / DOCID)
    index = ExactIndex(layouts.read(Path(args.index) / INDEX), docids)
    results = measure_backends(_encoders(query_encoder_path(args.index)), index, docids, topics, qrels, args.rounds)
    if args.output:
        figures = {
            "threads": int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)),
            "queries": len(topics),
            "backends": {backend: cost.record() for backend, cost in results.items()},
        }
        write_record(args.output, _MODULE, argv, versions=_runtimes(), **figures)
    cli.say(as_markdown(results))


def measure_backends(
    models: Mapping, index: ExactIndex, docids: Sequence[str], topics: Mapping[str, str], qrels: Mapping, rounds: int
) -> dict[str, BackendCost]:
    """Measure encoders in turns.

    Args:
        models: backend to ``SentenceTransformer``.
        index: what their vectors search.
        docids: external ids by row.
        topics, qrels: judged queries.
        rounds: rounds of 16 single queries and one batch of 64.
    """
    queries = list(topics.values())
    encode = {backend: partial(embed_queries, model) for backend, model in models.items()}
    singles = measure_in_turns(encode, _batches(queries, 1, 16 * (rounds + 1)), warm_up=16)
    batches = measure_in_turns(encode, _batches(queries, _BATCH, rounds + 1), warm_up=1)
    vectors = {backend: embed(queries) for backend, embed in encode.items()}
    first = next(iter(vectors.values()))
    results = {}
    for backend, theirs in vectors.items():
        norms = np.linalg.norm(theirs, axis=1) * np.linalg.norm(first, axis=1)
        _, rows = index.search(theirs, 100)
        run = {
            qid: {docids[row]: float(-rank) for rank, row in enumerate(found) if row >= 0}
            for qid, found in zip(topics, rows.tolist(), strict=True)
        }
        values = evaluate(run, {qid: qrels[qid] for qid in topics}, _MEASURES)
        results[backend] = BackendCost(
            one_by_one=summary(singles[backend]),
            batches=summary([seconds / _BATCH for seconds in batches[backend]]),
            effectiveness={measure: round(mean(values[measure]), 4) for measure in _MEASURES},
            cosine=float(((theirs * first).sum(1) / norms).mean()),
        )
    return results


def as_markdown(results: Mapping[str, BackendCost]) -> str:
    """Return the results as a table."""
    rows: list[tuple[str, ...]] = [("backend", "ms, one by one", f"ms, batches of {_BATCH}", *_MEASURES, "cosine")]
    for backend, cost in results.items():
        marks = [f"{cost.effectiveness[measure]:.4f}" for measure in _MEASURES]
        times = [f"{cost.one_by_one.median_ms:.2f}", f"{cost.batches.median_ms:.2f}"]
        rows.append((backend, *times, *marks, f"{cost.cosine:.4f}"))
    return tables.as_markdown(rows)


def _encoders(folder: Path) -> dict:
    """Return backend to encoder, of those that the folder has."""
    models = {}
    for backend in backends.BACKENDS:
        model = load_text_encoder(str(folder))
        try:
            backends.apply(model, folder, backend)
        except JPQError as error:
            cli.note(f"left out: {error}")
            continue
        models[backend] = model
    return models


def _runtimes() -> dict[str, str]:
    """The versions of what runs the backends, where it is installed."""
    installed = {each.name: each.version for each in metadata.distributions()}
    return {name: installed[name] for name in ("onnxruntime", "openvino") if name in installed}


def _batches(queries: list[str], size: int, count: int) -> list[list[str]]:
    """Return ``count`` batches of the next ``size`` queries, from the first one again after the last."""
    endless = itertools.cycle(queries)
    return [list(itertools.islice(endless, size)) for _ in range(count)]


def _parser() -> argparse.ArgumentParser:
    parser = cli.new_parser(
        _MODULE,
        "Compare the backends of an index's query encoder (torch, ONNX, OpenVINO): encoding time and effectiveness. "
        "Make backends with `jpq index convert --encoder-backend ...`.",
    )
    cli.add_index(parser)
    cli.add_topics(parser)
    cli.add_qrels(parser)
    words = "timing rounds, each of 16 single queries and a batch of 64 per backend"
    parser.add_argument("--rounds", type=cli.positive_int, default=10, metavar="N", help=words)
    cli.add_output(parser, "JSON file for all figures", required=False)
    return parser


if __name__ == "__main__":
    cli.run_main(main)
