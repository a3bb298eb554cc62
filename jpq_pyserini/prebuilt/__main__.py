"""``python -m jpq_pyserini.prebuilt``: list, show, fetch, verify, pack and remove prebuilt indexes."""

import argparse
import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path

# Read when the OpenMP runtimes of torch and Faiss load: threads that wait for work must not spin against each other.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from jpq_pyserini.cli import add_command, bounded, new_parser, run_main, say
from jpq_pyserini.errors import JPQError
from jpq_pyserini.index.imported import command as imported
from jpq_pyserini.index.record import verify_directory
from jpq_pyserini.prebuilt.catalogue import BUILT_IN, VARIABLE, find, load_entries
from jpq_pyserini.prebuilt.download import TIMEOUT
from jpq_pyserini.prebuilt.entries import RELEASE
from jpq_pyserini.prebuilt.paths import indexes_home
from jpq_pyserini.prebuilt.store import directory_of, fetch, is_downloaded, remove

EXAMPLES = f"""\
share an index with your group:
  jpq prebuilt pack jpq48 --name squad.jpq-m48 --output /shared/squad
  export {VARIABLE}=/shared/squad
  python -m pyserini.search.faiss --index squad.jpq-m48 --encoder jpq --topics topics.tsv --output run.txt

use what the paper's authors published:
  jpq prebuilt list
  jpq prebuilt fetch msmarco-v1-passage.jpq-m96

{VARIABLE} names further catalogues, separated by commas: JSON files, folders of them, file:// and http(s):// URLs.
Indexes are kept in PYSERINI_CACHE (default: ~/.cache/pyserini), as Pyserini's own are.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and run one command."""
    args = _parser().parse_args(argv)
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    logging.getLogger("jpq_pyserini").setLevel(logging.INFO)
    return args.run(args) or 0


def run_list(args) -> None:
    """Print one line an index."""
    entries = load_entries()
    if args.names_only:
        say("\n".join(entries))
        return
    width = max(map(len, entries))
    say(f"{'name':{width}}  {'documents':>10}  {'M':>3}  {'MB':>7}  here")
    for name, entry in entries.items():
        documents = "?" if entry.documents is None else f"{entry.documents:,}"
        megabytes = "?" if entry.size is None else f"{entry.size / 1e6:,.1f}"
        m = "?" if entry.jpq.m is None else entry.jpq.m
        say(f"{name:{width}}  {documents:>10}  {m:>3}  {megabytes:>7}  {'yes' if is_downloaded(entry) else 'no'}")


def run_show(args) -> None:
    """Print an entry and what is known of its index."""
    entry = find(args.name)
    say(json.dumps(entry.to_json(), indent=2))
    here = "downloaded" if is_downloaded(entry) else "not downloaded"
    say(f"\ncatalogue  {entry.source}\ndirectory  {directory_of(entry)} ({here})")
    readme = Path(entry.source).parent / (entry.readme or "")
    if "://" not in entry.source and readme.is_file():
        say(f"\n{readme.read_text(encoding='utf-8')}")
    elif entry.kind == RELEASE:
        from jpq_pyserini.prebuilt.readme import of_release

        say(f"\n{of_release(entry)}")


def run_fetch(args) -> None:
    """Download one index or more and print their directories."""
    release_options = {"docids": args.docids, "collection": args.collection, "tokenizer": args.tokenizer}
    for name in args.names:
        say(fetch(name, force=args.force, timeout=args.timeout, progress=not args.quiet, **release_options))


def run_verify(args) -> None:
    """Compare every file with its sha256; the exit status is 1 if one differs."""
    damaged = []
    for name in args.names:
        directory = Path(name)
        if not directory.is_dir():
            directory = directory_of(find(name))
            if not directory.is_dir():
                raise JPQError(f"{name} is not downloaded: run python -m jpq_pyserini.prebuilt fetch {name}")
        files = verify_directory(directory)
        damaged += [name] * bool(files)
        say(f"{name}: {'damaged: ' + ', '.join(files) if files else 'all files are as they were saved'} ({directory})")
    if damaged:
        raise JPQError(f"{', '.join(damaged)} is damaged: copy it again, or `fetch --force` what was downloaded")


def run_remove(args) -> None:
    """Remove indexes and unfinished downloads from the cache."""
    for name in args.names:
        removed = remove(name)
        say(f"{name}: " + (f"removed {', '.join(map(str, removed))}" if removed else "was not downloaded"))


def run_pack(args) -> None:
    """Write tarball, catalogue and README."""
    from jpq_pyserini.prebuilt.packing import pack

    output = args.output or f"{Path(args.directory).resolve().name}.prebuilt"
    entry = pack(
        args.directory,
        output,
        name=args.name,
        urls=tuple(args.url),
        description=args.description,
        texts=args.texts,
    )
    say(f"archive    {Path(output, str(entry.filename))} ({entry.size:,} bytes)")
    say(f"md5        {entry.md5}\nsha256     {entry.sha256}")
    say(f"catalogue  {Path(output, entry.name)}.json (name it in {VARIABLE})")
    say(f"readme     {Path(output, str(entry.readme))}")


def _parser() -> argparse.ArgumentParser:
    parser = new_parser("jpq_pyserini.prebuilt", "Download, share and remove prebuilt JPQ indexes by name.", EXAMPLES)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name, run, summary, description=None):
        added = add_command(commands, name, summary, description)
        added.set_defaults(run=run)
        return added

    def names(parser, metavar="NAME"):
        parser.add_argument("names", nargs="+", metavar=metavar, help="name of a prebuilt index, as `list` shows it")

    listing = command(
        "list", run_list, "list the indexes of all catalogues", f"List the indexes of {BUILT_IN} and of {VARIABLE}."
    )
    listing.add_argument("--names-only", action="store_true", help="one name a line, for scripts")
    showing = command("show", run_show, "show what is known of an index: documents, scores, files")
    showing.add_argument("name", metavar="NAME", help="name of a prebuilt index, as `list` shows it")
    fetching = command(
        "fetch",
        run_fetch,
        "download indexes",
        f"Download indexes to {indexes_home()} and print their directories.".replace("%", "%%"),
    )
    names(fetching)
    fetching.add_argument("--force", action="store_true", help="download an index again that is there already")
    fetching.add_argument(
        "--timeout",
        type=bounded(float, 0.1, 86_400),
        default=TIMEOUT,
        metavar="S",
        help="seconds without data, or with less than 1 kB/s, before a server is abandoned",
    )
    imported.add_release_arguments(fetching)
    verifying = command("verify", run_verify, "check the files of downloaded indexes against their sha256")
    names(verifying, "NAME|DIR")
    _pack_arguments(
        command("pack", run_pack, "make a tarball, its catalogue entry and its README from an index directory")
    )
    names(command("remove", run_remove, "remove downloaded indexes and unfinished downloads from the cache"))
    imported.add_parser(commands).set_defaults(
        run=imported.run
    )  # of version 0.1; now `python -m jpq_pyserini.index import`
    return parser


def _pack_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", metavar="DIR", help="index directory")
    parser.add_argument(
        "--name", metavar="NAME", help="name that users give to --index (default: the directory's name)"
    )
    parser.add_argument("--output", metavar="OUT", help="folder to write; must not exist (default: DIR.prebuilt)")
    parser.add_argument(
        "--url",
        action="append",
        default=[],
        metavar="URL",
        help="where the tarball will be found; repeat for mirrors; if it ends with '/', the file name is appended",
    )
    parser.add_argument(
        "--description", metavar="TEXT", help="one line about the index (default: made from its record)"
    )
    parser.add_argument(
        "--texts", metavar="NAME", help="prebuilt Lucene index that holds the passages' texts, for searcher.doc()"
    )


if __name__ == "__main__":
    run_main(main)
