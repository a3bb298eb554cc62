"""Compare search systems side by side: ``python -m jpq_pyserini.bench.latency --help``."""

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from jpq_pyserini import cli
from jpq_pyserini.bench.latency.entries import random_race, real_race, system_names
from jpq_pyserini.bench.latency.race import Settings
from jpq_pyserini.bench.latency.report import as_json, as_markdown, draw, versions
from jpq_pyserini.bench.latency.results import Race, choose, name_of
from jpq_pyserini.bench.latency.runs import write_comparison, write_point_facts
from jpq_pyserini.bench.systems import SYSTEMS
from jpq_pyserini.errors import JPQError
from jpq_pyserini.storage import new_file

_MODULE = "jpq_pyserini.bench.latency"
_EXAMPLE = """\
examples:
  random vectors and codes, sizes of your choice:
    jpq latency --documents 1000000 --output out
  a real collection, all systems of the paper, with effectiveness; JPQ, DPQ and the like are index directories:
    jpq latency --systems all --embeddings squad-flat --lucene squad-lucene --bytes 48 \\
        --index JPQ=jpq48 --index fast=jpq96x4 --topics queries.test.tsv --qrels qrels.test.txt --output out

All systems answer the same queries in turns, each in its own process. OUT gets latency.json, latency.md and plots;
for a real collection also OUT/runs, a TREC run per system and setting with its facts file, and, with --qrels,
systems.html and systems.md: effectiveness with significance marks, size and speed of all systems in one table, as
jpq compare makes it. Systems that are not installed are listed with what to install:
pip install 'jpq_pyserini[baselines]' brings most.
"""


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line, race the systems, write the report."""
    args = _parser().parse_args(argv)
    settings = cli.dataclass_from_arguments(Settings, args)
    names = system_names(args)
    _check_against(args, names)
    if args.qrels and settings.hits < 100:
        raise JPQError(f"--hits {settings.hits}: R@100 needs 100 at least")
    output = Path(args.output)
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="latency-", dir=output) as scratch:
        if args.embeddings:
            races = [real_race(args, settings, names, Path(scratch))]
        else:
            races = [random_race(count, args, settings, names, Path(scratch)) for count in args.documents]
    races = [replace(each, points=choose(each.points, args.tolerance, args.as_fast_as)) for each in races]
    command = cli.command_line(_MODULE, argv)
    table = as_markdown(races, command)
    for name, text in (("latency.json", as_json(races, settings, command)), ("latency.md", table)):
        with new_file(output / name) as file:
            file.write(text)
    plots = draw(races, output)
    cli.say(table, end="")
    cli.say("wrote " + ", ".join(str(output / name) for name in ("latency.json", "latency.md", *plots)))
    if args.embeddings:
        _report_runs(races[0], args, settings, command)


def _check_against(args, names: Sequence[str]) -> None:
    """Raise :class:`JPQError` now, rather than after the race, if there will be nothing to test against."""
    if args.against is None:
        return
    if not args.qrels:
        raise JPQError("--against needs --qrels: without judgements nothing is tested")
    indexes = [name if equals else Path(name).name for name, equals, _ in (each.partition("=") for each in args.index)]
    there = [*names, *indexes]
    if len(args.bytes) > 1:
        there += [f"{name}-{size}" for name in names for size in args.bytes]
    if args.rescore:
        there += [name_of(name, args.rescore) for name in there]
    if args.against not in there:
        raise JPQError(f"--against {args.against}: no such system here, there are {', '.join(there)}")


def _report_runs(race: Race, args, settings: Settings, command: str) -> None:
    """Write the facts of the runs and, with judgements, one table of the chosen ones; say what is where."""
    folder = Path(args.output)
    for point in race.points:
        write_point_facts(folder / "runs", point, settings.hits, command, versions())
    cli.say(f"wrote {len(race.points)} runs with their facts in {folder / 'runs'}")
    if args.qrels:
        text, written = write_comparison(
            race.chosen, folder, args.topics, args.qrels, settings.hits, args.against, cli.note
        )
        cli.say(text, end="")
        cli.say("wrote " + ", ".join(map(str, written)))


def _parser() -> argparse.ArgumentParser:
    parser = cli.new_parser(
        _MODULE,
        "Compare search systems side by side: latency, size, memory and effectiveness.",
        _EXAMPLE,
    )
    add = parser.add_argument
    cli.add_output(parser, "folder to write to", "OUT")
    add("--systems", nargs="*", metavar="S", help=f"systems to compare: all, or some of {', '.join(SYSTEMS)}")
    add(
        "--bytes",
        type=cli.positive_int,
        nargs="+",
        default=[96],
        metavar="B",
        help="bytes per document of compressed systems that come in any size; several: each such system in all of them",
    )
    random = parser.add_argument_group("random data")
    random.add_argument(
        "--documents", type=cli.positive_int, nargs="+", default=[1_000_000], metavar="N", help="collection sizes"
    )
    random.add_argument("--dimension", type=cli.positive_int, default=768, metavar="D", help="dimension of the vectors")
    real = parser.add_argument_group("a real collection")
    cli.add_flat(real)
    real.add_argument(
        "--index",
        action="append",
        default=[],
        metavar="[NAME=]DIR",
        help="JPQ index directory; repeat for each; those whose names differ in a last number share a line of plots",
    )
    real.add_argument("--lucene", metavar="DIR", help="Lucene index of the collection, for BM25")
    cli.add_topics(real, required=False)
    cli.add_qrels(real, "relevance judgements; adds RR@10 and R@100", required=False)
    real.add_argument(
        "--encoder", metavar="NAME", help="query encoder for the embeddings (default: the one the indexes name)"
    )
    real.add_argument(
        "--cache", metavar="DIR", help="folder that keeps encoded queries for the next command (default: OUT/queries)"
    )
    real.add_argument(
        "--tolerance",
        type=cli.fraction,
        default=0.01,
        metavar="X",
        help="show, per system, the fastest setting within this fraction of its best score",
    )
    real.add_argument(
        "--as-fast-as", metavar="NAME", help="instead show the most effective setting at least as fast as NAME"
    )
    real.add_argument("--against", metavar="NAME", help="test the others against this system or index: paired t-test")
    cli.add_dataclass_arguments(parser.add_argument_group("how it is measured"), Settings)
    return parser


if __name__ == "__main__":
    cli.run_main(main)
