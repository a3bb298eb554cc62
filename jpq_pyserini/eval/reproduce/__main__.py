"""``python -m jpq_pyserini.eval.reproduce NAME``: prepare what is missing, run, score and judge an experiment."""

import argparse
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from jpq_pyserini.cli import command_line, note, progress, run_main
from jpq_pyserini.errors import JPQError
from jpq_pyserini.eval.reproduce.experiment import Experiment
from jpq_pyserini.eval.reproduce.loading import known_experiments, load
from jpq_pyserini.eval.reproduce.making import Task, Workshop
from jpq_pyserini.eval.reproduce.plan import Run, chosen_runs, step_task, steps_for
from jpq_pyserini.eval.reproduce.reporting import Item, Report, as_json, as_markdown, as_text
from jpq_pyserini.eval.reproduce.scoring import FAIL, keep_facts, score, trainings
from jpq_pyserini.eval.reproduce.variables import require_files, values_of
from jpq_pyserini.index import library_versions
from jpq_pyserini.storage import new_file

_EXAMPLE = """\
examples:
  python -m jpq_pyserini.eval.reproduce --list
  python -m jpq_pyserini.eval.reproduce scifact --collection data/scifact --encoder sentence-transformers/all-MiniLM-L6-v2 \\
      --directory out/scifact
  python -m jpq_pyserini.eval.reproduce msmarco-passage --condition 'jpq-*' --dry-run

What exists in the directory is not made again, so that a stopped experiment goes on where it was; remove a file to have
it made anew. A score is OK within the tolerance that the experiment states (else: equal to four decimals), OKish within
twice that or 0.0005, and FAIL beyond; with a FAIL the exit status is 1.
"""  # noqa: E501


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, make, score, report; return 1 if a score failed."""
    args = _parser().parse_args(argv)
    if args.name is None:
        if not args.list:
            raise JPQError("name an experiment: --list shows those that come with the package")
        names = known_experiments()
        for name in names:
            print(f"{name:{max(map(len, names))}}  {load(name).title}")
        return 0
    experiment = load(args.name)
    if args.list:
        _list(experiment)
        return 0
    values = values_of(experiment, args)
    workshop = Workshop(values["directory"])
    runs = chosen_runs(experiment, values, args.condition, args.topics)
    steps = steps_for(experiment, runs, values, workshop.has)
    wanted = [*steps, *(run.task for run in runs if not workshop.has(run.task))]
    if args.dry_run:
        _show(wanted, runs, workshop)
        return 0
    if wanted:
        require_files(experiment, values)
    with workshop.alone():
        made_now = _make(wanted, workshop, args.display_commands)
        if args.skip_eval:
            print(f"{len(made_now)} made, {len(runs)} runs in {workshop.directory}")
            return 0
        report = _report(experiment, runs, workshop, values, made_now, argv)
        for ending, text in (("json", as_json(report)), ("md", as_markdown(report))):
            with new_file(workshop.directory / f"{experiment.name}.{ending}") as file:
                file.write(text)
    sys.stdout.write(as_text(report))
    print(f"report: {experiment.name}.md and {experiment.name}.json there")
    return 1 if report.marks[FAIL] else 0


def _make(wanted: Sequence[Task], workshop: Workshop, display: bool) -> set[str]:
    for number, task in enumerate(wanted, 1):
        progress(f"[{number}/{len(wanted)}] {task.title}")
        if display:
            progress("\n".join(f"+ {command}" for command in task.shown()))
        workshop.make(task)
    return {task.target for task in wanted}


def _report(
    experiment: Experiment, runs: Sequence[Run], workshop: Workshop, values, made_now: set[str], argv
) -> Report:
    versions = library_versions()
    facts = {
        (run.condition.name, run.topics.key): keep_facts(run, workshop, versions, new=run.task.target in made_now)
        for run in runs
    }
    scored = score(runs, workshop, values, note)
    tasks = [*_steps_under(experiment, runs, values), *(run.task for run in runs)]
    items = [Item(task, workshop.made(task), task.target in made_now) for task in tasks if workshop.has(task)]
    command = command_line("jpq_pyserini.eval.reproduce", argv)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    trained, where = trainings(runs, workshop), str(workshop.directory)
    return Report(experiment, command, values, scored, items, facts, trained, versions, now, where)


def _steps_under(experiment: Experiment, runs: Sequence[Run], values: Mapping[str, str]) -> list[Task]:
    """Return the steps that the runs need, there or not, in order."""
    nothing_there = steps_for(experiment, runs, values, lambda task: False)
    targets = {task.target for task in nothing_there}
    return [task for step in experiment.steps.values() if (task := step_task(step, values)).target in targets]


def _list(experiment: Experiment) -> None:
    print(f"{experiment.name}: {experiment.title}")
    if experiment.about:
        print(experiment.about)
    print("\nconditions:")
    for condition in experiment.conditions.values():
        print(f"  {condition.name:24}  {condition.display}  ({', '.join(condition.expected)})")
    if experiment.steps:
        print(f"steps:\n  {', '.join(experiment.steps)}")
    if experiment.variables:
        print("variables:")
    for variable in experiment.variables.values():
        default = "" if variable.default is None else f" (default: {variable.default})"
        print(f"  {variable.flag:24}  {variable.help}{default}")


def _show(wanted: Sequence[Task], runs: Sequence[Run], workshop: Workshop) -> None:
    there = [run for run in runs if workshop.has(run.task)]
    print(f"cd {shlex.quote(str(workshop.directory))}")
    for task in wanted:
        print(f"\n# {task.title}\n" + "\n".join(task.shown()))
    if there:
        print(f"\n# there already: {', '.join(run.task.target for run in there)}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m jpq_pyserini.eval.reproduce",
        description="Run an experiment: make what is missing, score it, judge each number by what was expected.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("name", nargs="?", metavar="NAME", help="experiment that comes with the package, or a .yaml file")
    add("--list", action="store_true", help="list the experiments; with NAME its conditions and variables")
    add("--directory", metavar="OUT", help="folder for indexes, runs and reports (default: runs/NAME)")
    add("--collection", metavar="DIR", help="folder of the collection ($collection)")
    add("--encoder", metavar="NAME", help="encoder of the experiment, name or folder ($encoder)")
    add("--threads", type=int, default=os.cpu_count(), metavar="N", help="threads of each command (default: all)")
    add("--set", action="append", default=[], metavar="NAME=VALUE", help="another variable; repeat for each")
    add("--condition", nargs="+", default=[], metavar="C", help="only these conditions, names or patterns with *")
    add("--topics", nargs="+", default=[], metavar="T", help="only these topics, keys or patterns with *")
    add("--dry-run", action="store_true", help="print the commands that would be run, and run none")
    add("--display-commands", action="store_true", help="print each command before it is run")
    add("--skip-eval", action="store_true", help="make the runs without scoring them")
    return parser


if __name__ == "__main__":
    run_main(main)
