"""What every command line of the package shares: its parser, its common arguments, how it speaks and how it ends.

A command is a module with a ``main`` that is run by :func:`run_main`::

    def main(argv: Sequence[str] | None = None) -> None:
        args = _parser().parse_args(argv)
        ...
        say(f"{args.output}: 8 queries")

    def _parser() -> argparse.ArgumentParser:
        parser = new_parser("jpq_pyserini.room.command", "One sentence that says what it does.", _EXAMPLE)
        add_topics(parser)
        add_qrels(parser, required=False, what="relevance judgements; adds RR@10")
        add_output(parser, "run to write")
        parser.add_argument("--depth", type=int, default=1000, metavar="N", help="documents per query that count")
        return parser

    if __name__ == "__main__":
        run_main(main)

* ``add_topics``, ``add_qrels`` and the like give an argument the same name and words in every command; ``what``
  says what it is for in this one, ``flag`` names a second one of its kind (``--dev-topics``).
* No help text types its default: :class:`HelpFormatter` appends "(default: 1000)". Only a default found while the
  command runs is written out, as "(default: a GPU if there is one)".
* Results go to stdout by :func:`say`, all else to stderr by :func:`note` and :func:`progress`; nothing calls ``print``.
* Sub-commands (``python -m jpq_pyserini.index add``) come from ``parser.add_subparsers`` and :func:`add_command`.
"""

import argparse
import dataclasses
import io
import math
import shlex
import sys
import typing
from collections.abc import Callable, Sequence

from jpq_pyserini.errors import JPQError, escaped, line_of


def run_main(main) -> typing.NoReturn:
    """Run ``main()`` as a process: exit status 0, or one line on stderr and status 1 (130 after Ctrl-C).

    Only errors that a user can fix become one line; anything else keeps its traceback, because it is a bug.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names of files need not be UTF-8
    try:
        status = main()
    except KeyboardInterrupt as interrupt:
        print(f"stopped{': ' + str(interrupt) if str(interrupt) else ''}", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        if (line := line_of(error)) is None:
            raise
        sys.exit(f"error: {line}")
    sys.exit(status or 0)


def say(text: object = "", end: str = "\n") -> None:
    """Print a result on stdout, at once, also when a file or another command reads it."""
    print(text, end=end, flush=True)


def note(line: str) -> None:
    """Print on stderr something that the user should know but need not act on."""
    print(f"note: {line}", file=sys.stderr)


def progress(line: str) -> None:
    """Print on stderr what is being done, or how much of it is done."""
    print(line, file=sys.stderr)


def command_line(module: str, argv: Sequence[str] | None = None) -> str:
    """Return how ``python -m module`` was called, to be kept with its results; ``argv`` is what ``main`` was given."""
    return shlex.join(["python", "-m", module, *map(str, sys.argv[1:] if argv is None else argv)])


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Keeps the line breaks of examples, and appends "(default: X)" to the help of every option that has a default."""

    def _get_help_string(self, action: argparse.Action) -> str:
        text, default = action.help or "", action.default
        if isinstance(default, bool):  # a plain switch is off unless given, which goes without saying
            shown = ("no", "yes")[default] if isinstance(action, argparse.BooleanOptionalAction) else ""
        elif default is None or default is argparse.SUPPRESS:
            shown = ""
        else:
            shown = " ".join(map(str, default)) if isinstance(default, list | tuple) else str(default)
        if not shown or "default" in text or action.required:
            return text
        return f"{text} (default: {shown.replace('%', '%%')})".lstrip()


def new_parser(module: str, description: str, epilog: str | None = None) -> argparse.ArgumentParser:
    """Return the parser of the command ``python -m module``; ``epilog``, shown as it stands, holds examples."""
    called = sys.argv[0] if sys.argv[0].startswith("jpq ") else f"python -m {module}"  # see __main__.py
    return _Parser(prog=called, description=description, epilog=epilog, formatter_class=HelpFormatter)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> typing.NoReturn:
        super().error(escaped(message))


def add_command(commands, name: str, summary: str, description: str | None = None, epilog: str | None = None):
    """Add a sub-command to ``commands``, which ``parser.add_subparsers`` made, and return its parser.

    ``summary`` is its line in the list of commands; the ``description`` in its own help is the same as a sentence.
    """
    description = description or f"{summary[:1].upper()}{summary[1:]}."
    return commands.add_parser(
        name, help=summary, description=description, epilog=epilog, formatter_class=HelpFormatter
    )


def bounded(kind: type, least: float, most: float = math.inf) -> Callable[[str], typing.Any]:
    """Return a ``type=`` for arguments that are numbers from ``least`` to ``most``.

    Of any other value argparse says in one line which argument it was given to and what is allowed, and exits with 2.
    """
    allowed = _allowed(kind, least, most)

    def parse(text: str):
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not least <= value <= most:  # NaN is nowhere
            raise argparse.ArgumentTypeError(f"{text} is not {allowed}")
        return value

    return parse


def _allowed(kind: type, least: float, most: float) -> str:
    name = {int: "a whole number", float: "a number"}[kind]
    if math.isfinite(most):
        return f"{name} from {least} to {most}"
    return f"{name} of at least {least}" if math.isfinite(least) else name


_INT32 = (1 << 31) - 1  # what the libraries underneath take for a count or a seed
positive_int = bounded(int, 1, _INT32)
natural_int = bounded(int, 0, _INT32)
fraction = bounded(float, 0, 1)


def add_topics(parser, what: str = "queries", flag: str = "--topics", required: bool = True) -> None:
    """Add the argument that :func:`jpq_pyserini.data.topics.read_topics` reads."""
    words = f"{what}: a topics file (qid and text in TSV, CSV or JSON lines; TREC, XML) or a topics name of Pyserini's"
    parser.add_argument(flag, required=required, metavar="TOPICS", help=words)


def add_qrels(parser, what: str = "relevance judgements", flag: str = "--qrels", required: bool = True) -> None:
    """Add the argument that :func:`jpq_pyserini.data.topics.read_qrels` reads."""
    words = f"{what}: a qrels file (.gz too) or a qrels name that Pyserini knows"
    parser.add_argument(flag, required=required, metavar="QRELS", help=words)


def add_run(parser, what: str = "run", flag: str = "--run", required: bool = True) -> None:
    """Add the argument for one run file, which :func:`jpq_pyserini.data.runs.read_run` reads."""
    parser.add_argument(flag, required=required, metavar="RUN", help=f"{what}: TREC or MS MARCO format, .gz too")


def add_runs(
    parser, what: str = "runs", flag: str = "--run", required: bool = True, metavar: str = "[NAME=]RUN"
) -> None:
    """Add the repeatable argument that :func:`jpq_pyserini.data.runs.named_paths` takes apart."""
    words = f"{what}: TREC or MS MARCO format, .gz too; repeat for each run"
    parser.add_argument(flag, required=required, action="append", default=[], metavar=metavar, help=words)


def add_index(parser, what: str = "JPQ index directory", flag: str = "--index", required: bool = True) -> None:
    """Add the argument for an index directory."""
    parser.add_argument(flag, required=required, metavar="DIR", help=what)


def add_embeddings(
    parser, what: str = "embeddings of the collection", flag: str = "--embeddings", required: bool = True
) -> None:
    """Add the argument that :func:`jpq_pyserini.data.embeddings.open_embeddings` takes, a path or a list of them."""
    words = (
        f"{what}: flat Faiss folder (index, docid), or another Faiss index that holds them, .npy, .safetensors, "
        ".parquet, JSON lines with 'vector', Hugging Face dataset on disk, Tevatron's pickles; several parts in order"
    )
    parser.add_argument(flag, required=required, nargs="+", action=_OneOrMore, metavar="PATH", help=words)


class _OneOrMore(argparse.Action):
    """Keeps one value as it is, several as a list."""

    def __call__(self, parser, namespace, values, option_string=None) -> None:
        setattr(namespace, self.dest, values[0] if len(values) == 1 else values)


def add_docids(parser) -> None:
    """Add ``--docids``, which goes with ``--embeddings`` that have none."""
    words = "docids of --embeddings in a form without any (.npy, .safetensors): a file with one a line, in row order"
    parser.add_argument("--docids", metavar="FILE", help=words)


def add_flat(parser, what: str = "embeddings of the collection", flag: str = "--embeddings") -> None:
    """Add the argument for a flat Faiss folder, where no other form will do."""
    parser.add_argument(flag, metavar="FLAT", help=f"{what}: flat Faiss folder (index, docid)")


def add_corpus(parser, what: str = "documents", flag: str = "--corpus", required: bool = True) -> None:
    """Add the argument for a JsonCollection."""
    words = f"{what}: JSON lines (id, contents; BEIR's, MS MARCO's), .tsv, or a folder of such files; .gz too"
    parser.add_argument(flag, required=required, metavar="PATH", help=words)


def add_fields(parser) -> None:
    """Add ``--id-field`` and ``--text-fields``, which go with ``--corpus``."""
    parser.add_argument("--id-field", metavar="NAME", help="field of --corpus with the docid (default: id, _id, docid)")
    words = "fields of --corpus that are the text, joined by newlines (default: contents, or title and text)"
    parser.add_argument("--text-fields", nargs="+", metavar="NAME", help=words)


def add_output(parser, what: str, metavar: str = "FILE", required: bool = True) -> None:
    """Add ``--output``; ``what`` is the whole help, for instance "run to write"."""
    parser.add_argument("--output", required=required, metavar=metavar, help=what)


def add_new_directory(parser, what: str = "index directory", required: bool = True) -> None:
    """Add ``--output`` for a directory that must not exist, as :func:`jpq_pyserini.storage.new_directory` wants it."""
    add_output(parser, f"{what} to write; must not exist", "DIR", required)


def add_threads(parser, default: int | None = 1) -> None:
    """Add ``--threads``."""
    parser.add_argument("--threads", type=positive_int, default=default, metavar="N", help="CPU threads")


def add_device(parser, default: str | None = None, what: str = "torch device, e.g. cpu or cuda:0") -> None:
    """Add ``--device``; without a ``default`` the command takes a GPU if there is one."""
    words = what if default else f"{what} (default: a GPU if there is one)"
    parser.add_argument("--device", default=default, metavar="DEVICE", help=words)


def add_batch_size(parser, default: int, what: str = "texts encoded at once") -> None:
    """Add ``--batch-size``."""
    parser.add_argument("--batch-size", type=positive_int, default=default, metavar="N", help=what)


def add_seed(parser, what: str = "random seed", default: int = 42) -> None:
    """Add ``--seed``."""
    parser.add_argument("--seed", type=natural_int, default=default, metavar="N", help=what)


def add_resume(parser, what: str = "continue from what a stopped command left, if there is anything") -> None:
    """Add ``--resume``."""
    parser.add_argument("--resume", action="store_true", help=what)


def setting(default, help: str, shown: str = "", **metadata):
    """Return a dataclass field that :func:`add_dataclass_arguments` makes a flag of.

    Args:
        default: its value when the flag is not given.
        help: its text in ``--help``; argparse appends the default.
        shown: what a default of None means.
        metadata: ``choices``; ``aliases``, further names of the flag; ``least``, ``most`` and ``above``, the bounds of
            a number, which :func:`check_settings` checks; a whole number is at most 2,147,483,647 unless it says so.
    """
    text = f"{help} (default: {shown})" if shown else help
    return dataclasses.field(default=default, metadata={"help": text, **metadata})


def add_dataclass_arguments(parser: argparse._ActionsContainer, config: type) -> None:
    """Add one ``--flag`` for each field of the dataclass ``config``.

    A field's default and ``metadata`` (``help``, ``choices``, ``aliases``, ``type``) say all there is to say, so that
    each default lives once. ``bool`` fields become ``--flag / --no-flag``, ``X | None`` fields optional values.
    """
    hints = typing.get_type_hints(config)
    for field in dataclasses.fields(config):
        options = {"default": field.default, "help": field.metadata["help"]}
        kind = _kind(hints[field.name])
        if kind is bool:
            options["action"] = argparse.BooleanOptionalAction
        else:
            options["type"] = field.metadata.get("type", kind)
            choices = field.metadata.get("choices")  # the dataclass refuses others: check_settings
            options["metavar"] = (
                f"{{{','.join(map(str, choices))}}}"
                if choices
                else field.metadata.get("metavar", {int: "N", float: "X"}.get(kind, "S"))
            )
        parser.add_argument(flag_of(field.name), *field.metadata.get("aliases", ()), dest=field.name, **options)


def flag_of(name: str) -> str:
    """Return the flag of a field: "lambda_cut" is --lambda-cut."""
    return "--" + name.replace("_", "-")


def check_settings(settings) -> None:
    """Raise :class:`JPQError` if a field of a dataclass has a value beyond its bounds, not finite, or not a choice."""
    hints = typing.get_type_hints(type(settings))
    for field in dataclasses.fields(settings):
        value, given = getattr(settings, field.name), field.metadata
        choices = given.get("choices")
        if choices and value != field.default and value not in choices:
            raise JPQError(f"{flag_of(field.name)} {value} is unknown: choose one of {', '.join(map(str, choices))}")
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        kind = _kind(hints[field.name])
        least, above = given.get("least", -math.inf), given.get("above", -math.inf)
        most = given.get("most", _INT32 if kind is int else math.inf)
        if not (math.isfinite(value) and least <= value <= most and value > above):
            allowed = _allowed(kind, least, most)
            allowed += f" above {above}" if math.isfinite(above) else ""
            raise JPQError(f"{flag_of(field.name)} {value} is not {allowed}")


def _kind(hint: type) -> type:
    """Return X of a type hint ``X`` or ``X | None``."""
    return next(kind for kind in typing.get_args(hint) or (hint,) if kind is not type(None))


def dataclass_from_arguments(config: type, args: argparse.Namespace):
    """Build the dataclass that :func:`add_dataclass_arguments` described from the parsed ``args``."""
    return config(**{field.name: getattr(args, field.name) for field in dataclasses.fields(config)})
