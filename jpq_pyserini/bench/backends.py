"""Query encoders and what runs them, by effectiveness and milliseconds: ``python -m jpq_pyserini.bench.backends``."""

import argparse
import itertools
import os
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np

from jpq_pyserini import cli, tables
from jpq_pyserini.bench.records import check_record, write_record
from jpq_pyserini.data.topics import read_qrels, read_topics
from jpq_pyserini.encoders.text_encoder import embed_queries, embed_topics, load_text_encoder
from jpq_pyserini.errors import JPQError
from jpq_pyserini.eval.measures import evaluate, mean
from jpq_pyserini.index.record import IndexRecord, query_encoder_path
from jpq_pyserini.lazy import Later
from jpq_pyserini.timing import Timing, measure_in_turns, summary

if TYPE_CHECKING:
    from jpq_pyserini.index.exact import ExactIndex

directories = Later("jpq_pyserini.index.directory")
backends, rescoring = Later("jpq_pyserini.encoders.backends"), Later("jpq_pyserini.index.rescoring")

_MODULE = "jpq_pyserini.bench.backends"
_MEASURES = ("RR@10", "R@100")
_BATCH, _HITS = 64, 100


@dataclass(frozen=True)
class System:
    """A query encoder, run by one backend, and the index that its vectors search.

    Attributes:
        model: a ``SentenceTransformer``.
        index: scores of the codes, or of the document vectors, as the index does by itself.
        docids: external ids by row.
    """

    model: Any
    index: "ExactIndex"
    docids: Sequence[str]

    def encode(self, queries: Sequence[str]) -> np.ndarray:
        """Return vectors (B, D)."""
        return embed_queries(self.model, queries)

    def search(self, queries: Sequence[str]) -> list[list[str]]:
        """Encode, search and look the docids up, best first."""
        _, rows = self.index.search(self.encode(queries), _HITS)
        return [[self.docids[row] for row in found if row >= 0] for found in rows.tolist()]


@dataclass(frozen=True)
class BackendCost:
    """What one system costs and loses.

    Attributes:
        one_by_one, batches: encoding time a query, alone and in batches of 64.
        end_to_end: time of a query alone, encoded and searched.
        effectiveness: measure to mean.
        cosine: mean cosine of its query vectors with the first system's.
    """

    one_by_one: Timing
    batches: Timing
    end_to_end: Timing
    effectiveness: dict[str, float]
    cosine: float

    def record(self) -> dict:
        """Return it as the JSON file has it."""
        times = {name: getattr(self, name) for name in ("one_by_one", "batches", "end_to_end")}
        return (
            {name.replace("_", " "): asdict(each) for name, each in times.items()}
            | self.effectiveness
            | {"cosine": self.cosine}
        )


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line, measure each backend that each index has, print a table."""
    args = _parser().parse_args(argv)
    check_record(args)
    qrels = read_qrels(args.qrels)
    topics = {qid: text for qid, text in read_topics(args.topics).items() if qid in qrels}
    if not topics:
        raise JPQError(f"{args.topics}: none of its queries is judged in {args.qrels}")
    systems: dict[str, System] = {}
    for directory in args.index:
        prefix = f"{os.path.basename(os.path.normpath(directory))} " if len(args.index) > 1 else ""
        systems |= {prefix + backend: system for backend, system in open_systems(directory).items()}
    clock = time.process_time if args.cpu_time else time.perf_counter
    results = measure_systems(systems, topics, qrels, args.rounds, clock)
    if args.output:
        figures = {
            "threads": int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)),
            "queries": len(topics),
            "clock": "processor" if args.cpu_time else "wall",
            "backends": {name: cost.record() for name, cost in results.items()},
        }
        write_record(args.output, _MODULE, argv, versions=_runtimes(), **figures)
    cli.say(as_markdown(results))


def open_systems(directory: str | os.PathLike) -> dict[str, System]:
    """Return backend to system, of the backends that the query encoder of an index has been exported for."""
    folder = query_encoder_path(directory)
    rescore = rescoring.wanted_candidates(recorded=IndexRecord.read(directory).rescore)
    parts = directories.IndexDirectory.open(directory, codec=False, vectors=rescore != 0)
    index = rescoring.scored_index(parts, rescore)
    systems: dict[str, System] = {}
    for backend in backends.BACKENDS:
        model = load_text_encoder(str(folder))
        try:
            backends.apply(model, folder, backend)
        except JPQError as error:
            cli.note(f"left out: {error}")
            continue
        systems[backend] = System(model, index, parts.docids)
    return systems


def measure_systems(
    systems: Mapping[str, System],
    topics: Mapping[str, str],
    qrels: Mapping,
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, BackendCost]:
    """Measure systems in turns.

    Args:
        systems: by name; the others are compared with the first.
        topics, qrels: judged queries.
        rounds: rounds of 16 single queries and one batch of 64.
        clock: as for :func:`~jpq_pyserini.timing.measure_in_turns`.
    """
    queries = list(topics.values())
    encode: dict[Hashable, Callable] = {name: system.encode for name, system in systems.items()}
    singles = measure_in_turns(encode, _batches(queries, 1, 16 * (rounds + 1)), warm_up=16, clock=clock)
    batches = measure_in_turns(encode, _batches(queries, _BATCH, rounds + 1), warm_up=1, clock=clock)
    search: dict[Hashable, Callable] = {name: system.search for name, system in systems.items()}
    searches = measure_in_turns(search, _batches(queries, 1, 16 * (rounds + 1)), warm_up=16, clock=clock)
    first: np.ndarray | None = None
    results = {}
    for name, system in systems.items():
        vectors = embed_topics(system.model, queries) if first is None else system.encode(queries)
        first = vectors if first is None else first
        norms = np.linalg.norm(vectors, axis=1) * np.linalg.norm(first, axis=1)
        _, rows = system.index.search(vectors, _HITS)
        run = {
            qid: {system.docids[row]: float(-rank) for rank, row in enumerate(found) if row >= 0}
            for qid, found in zip(topics, rows.tolist(), strict=True)
        }
        values = evaluate(run, {qid: qrels[qid] for qid in topics}, _MEASURES)
        results[name] = BackendCost(
            one_by_one=summary(singles[name]),
            batches=summary([seconds / _BATCH for seconds in batches[name]]),
            end_to_end=summary(searches[name]),
            effectiveness={measure: round(mean(values[measure]), 4) for measure in _MEASURES},
            cosine=float(((vectors * first).sum(1) / norms).mean()),
        )
    return results


def as_markdown(results: Mapping[str, BackendCost]) -> str:
    """Return the results as a table; "faster" and "of RR@10" are against the first row."""
    times = ("ms, one by one", f"ms, batches of {_BATCH}", "ms, with search", "faster")
    rows: list[tuple[str, ...]] = [("encoder", *times, *_MEASURES, f"of {_MEASURES[0]}", "cosine")]
    first = next(iter(results.values()))
    for name, cost in results.items():
        medians = [each.median_ms for each in (cost.one_by_one, cost.batches, cost.end_to_end)]
        faster = f"{first.end_to_end.median_ms / cost.end_to_end.median_ms:.1f}x"
        kept, whole = (each.effectiveness[_MEASURES[0]] for each in (cost, first))
        marks = [f"{cost.effectiveness[measure]:.4f}" for measure in _MEASURES]
        share = f"{100 * kept / whole:.1f}%" if whole else ""
        rows.append((name, *(f"{each:.2f}" for each in medians), faster, *marks, share, f"{cost.cosine:.4f}"))
    return tables.as_markdown(rows)


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
        "Compare query encoders and their backends (torch, ONNX, OpenVINO): time of a query alone, in batches and with "
        "the search, and effectiveness. All indexes are of one collection; each is searched as it is by default, with "
        "its document vectors if it has any. Make backends with `jpq index convert --encoder-backend ...`.",
    )
    words = "JPQ index directories; the first is what the others are compared with"
    parser.add_argument("--index", required=True, nargs="+", metavar="DIR", help=words)
    cli.add_topics(parser)
    cli.add_qrels(parser)
    words = "timing rounds, each of 16 single queries and a batch of 64 per backend"
    parser.add_argument("--rounds", type=cli.positive_int, default=10, metavar="N", help=words)
    words = "count the time of the processor, with one thread on a busy machine, instead of the clock's"
    parser.add_argument("--cpu-time", action="store_true", help=words)
    cli.add_output(parser, "JSON file for all figures", required=False)
    return parser


if __name__ == "__main__":
    cli.run_main(main)
