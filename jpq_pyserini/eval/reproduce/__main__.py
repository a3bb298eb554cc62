"""``python -m jpq_pyserini.eval.reproduce NAME``: prepare what is missing, run, score and judge an experiment."""

import argparse
import os
import shlex
from collections.abc import Sequence
from datetime import UTC, datetime

from jpq_pyserini.cli import command_line, new_parser, note, progress, run_main, say
from jpq_pyserini.errors import JPQError
from jpq_pyserini.eval.reproduce.experiment import Experiment
from jpq_pyserini.eval.reproduce.loading import known_experiments, load
from jpq_pyserini.eval.reproduce.plan import Plan, PlannedRun, in_order, missing
from jpq_pyserini.eval.reproduce.reporting import Item, Report, as_json, as_markdown, as_text
from jpq_pyserini.eval.reproduce.scoring import FAIL, documents_and_bytes, keep_facts, score, trainings
from jpq_pyserini.eval.reproduce.variables import flag_of, require_files, values_of
from jpq_pyserini.eval.reproduce.workshop import Task, Workshop
from jpq_pyserini.index import library_versions
from jpq_pyserini.storage import new_file

_EXAMPLE = """\
examples:
  jpq reproduce --list
  jpq reproduce scifact --collection data/scifact --encoder sentence-transformers/all-MiniLM-L6-v2 \\
      --directory out/scifact
  jpq reproduce msmarco-passage --condition 'jpq-*' --dry-run

What is already in the directory is not made again, so that a stopped experiment continues where it was; remove a file to
have it made again. A score is OK within the tolerance that the experiment states (otherwise: equal to four decimals),
OKish within twice that or 0.0005, and FAIL beyond; with a FAIL the exit status is 1.
"""  # noqa: E501


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, make, score, report; return 1 if a score failed."""
    args = _parser().parse_args(argv)
    if args.name is None:
        if not args.list:
            raise JPQError("name an experiment: --list shows those that come with the package")
        names = known_experiments()
        for name in names:
            say(f"{name:{max(map(len, names))}}  {load(name).title}")
        return 0
    experiment = load(args.name)
    if args.list:
        _list(experiment)
        return 0
    values = values_of(experiment, args)
    workshop, plan = Workshop(values["directory"]), Plan(experiment, values)
    runs = plan.runs(args.condition, args.topics)
    timing = None if args.skip_eval else plan.timing()
    tasks = [*(run.task for run in runs), *([timing] if timing else [])]
    wanted = missing(tasks, workshop, experiment.rebuild)
    if args.dry_run:
        _show(wanted, runs, workshop)
        return 0
    if wanted:
        require_files(experiment, values)
    with workshop.lock():
        wanted = missing(tasks, workshop, experiment.rebuild)  # another process may have been at work
        _make(wanted, workshop, args.display_commands)
        made_now = {task.target for task in wanted}
        if args.skip_eval:
            say(f"{len(made_now)} made, {len(runs)} runs in {workshop.directory}")
            return 0
        items = [Item(task, workshop.record(task), task.target in made_now) for task in in_order(tasks)]
        report = _report(experiment, runs, items, workshop, values, timing, argv)
        for ending, text in (("json", as_json(report)), ("md", as_markdown(report))):
            with new_file(workshop.directory / f"{experiment.name}.{ending}") as file:
                file.write(text)
    say(as_text(report), end="")
    say(f"report: {experiment.name}.md and {experiment.name}.json there")
    return 1 if report.marks[FAIL] else 0


def _make(wanted: Sequence[Task], workshop: Workshop, display: bool) -> None:
    for number, task in enumerate(wanted, 1):
        progress(f"[{number}/{len(wanted)}] {task.title}")
        if display:
            progress("\n".join(f"+ {command}" for command in task.shown()))
        workshop.make(task)


def _report(
    experiment: Experiment,
    runs: Sequence[PlannedRun],
    items: Sequence[Item],
    workshop: Workshop,
    values,
    timing: Task | None,
    argv,
) -> Report:
    versions, facts, sizes = library_versions(), {}, {}
    made_now = {item.task.target for item in items if item.now}
    found = [(run, documents_and_bytes(run, workshop, experiment.codes_only)) for run in runs]
    counts = {run.topics.topic_key: count for run, (count, _) in found if count}
    for run, (count, size) in found:
        key, new = (run.condition.name, run.topics.topic_key), run.task.target in made_now
        documents = count or counts.get(run.topics.topic_key)
        facts[key] = keep_facts(run, workshop, versions, new=new, documents=documents, timing=timing)
        size_of_one = size / documents if documents and size else facts[key].bytes_per_document
        if size_of_one is not None:
            sizes[key] = size_of_one
    return Report(
        experiment=experiment,
        command=command_line("jpq_pyserini.eval.reproduce", argv),
        values=values,
        scored=score(experiment, runs, workshop, values, note),
        items=[item for item in items if workshop.has(item.task)],
        facts=facts,
        sizes=sizes,
        trainings=trainings(runs, workshop),
        versions=versions,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        directory=str(workshop.directory),
    )


def _list(experiment: Experiment) -> None:
    say(f"{experiment.name}: {experiment.title}")
    if experiment.about:
        say(experiment.about.strip())
    say("\nconditions:")
    for condition in experiment.conditions:
        given = f"; only with {flag_of(condition.given)}" if condition.given else ""
        say(f"  {condition.name:24}  {condition.title}  ({', '.join(experiment.expected(condition))}{given})")
    if experiment.steps:
        say(f"steps:\n  {', '.join(experiment.step)}")
    if experiment.variables:
        say("variables:")
    for name, variable in experiment.variables.items():
        default = f" (default: {variable.default})" if variable.default else ""
        say(f"  {flag_of(name):24}  {variable.help}{default}")


def _show(wanted: Sequence[Task], runs: Sequence[PlannedRun], workshop: Workshop) -> None:
    there = [run.task.target for run in runs if run.task not in wanted]
    say(f"cd {shlex.quote(str(workshop.directory))}")
    for task in wanted:
        say(f"\n# {task.title}\n" + "\n".join(task.shown()))
    if there:
        say(f"\n# there already: {', '.join(there)}")


def _parser() -> argparse.ArgumentParser:
    parser = new_parser(
        "jpq_pyserini.eval.reproduce",
        "Run an experiment: make what is missing, score the runs, judge each score by the expected one.",
        _EXAMPLE,
    )
    add = parser.add_argument
    add("name", nargs="?", metavar="NAME", help="experiment that comes with the package, or a .yaml file")
    add("--list", action="store_true", help="list the experiments; with NAME its conditions, steps and variables")
    add("--directory", metavar="DIR", help="folder for indexes, runs and reports (default: runs/NAME)")
    add("--collection", metavar="DIR", help="folder of the collection: the variable $collection")
    add("--encoder", metavar="NAME_OR_DIR", help="encoder: the variable $encoder")
    add("--threads", type=int, default=os.cpu_count(), metavar="N", help="CPU threads of each command")
    add("--set", action="append", default=[], metavar="NAME=VALUE", help="value of another variable; repeat for each")
    add("--condition", nargs="+", default=[], metavar="C", help="only these conditions: names, or patterns with *")
    add("--topics", nargs="+", default=[], metavar="T", help="only these topics: keys, or patterns with *")
    add("--dry-run", action="store_true", help="print the commands that would be run, and run none")
    add("--display-commands", action="store_true", help="print each command before it is run")
    add("--skip-eval", action="store_true", help="make the runs without scoring them")
    return parser


if __name__ == "__main__":
    run_main(main)
