"""``python -m jpq_pyserini.prebuilt``: list, show, fetch, verify, pack, remove and import prebuilt indexes."""

import argparse
import json
import logging
import os
from pathlib import Path

# Read when the OpenMP runtimes of torch and Faiss load: threads that wait for work must not spin against each other.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from jpq_pyserini.cli import run_main
from jpq_pyserini.errors import JPQError
from jpq_pyserini.index.record import verify_directory
from jpq_pyserini.prebuilt.catalogue import BUILT_IN, VARIABLE, find, load_entries
from jpq_pyserini.prebuilt.download import TIMEOUT
from jpq_pyserini.prebuilt.paths import indexes_home
from jpq_pyserini.prebuilt.store import directory_of, fetch, is_downloaded, remove

EXAMPLES = f"""\
share an index with your group:
  python -m jpq_pyserini.prebuilt pack jpq48 --name squad.jpq-m48 --output /shared/squad
  export {VARIABLE}=/shared/squad
  python -m pyserini.search.faiss --index squad.jpq-m48 --encoder jpq --topics topics.tsv --output run.txt

use what the paper's authors published:
  python -m jpq_pyserini.prebuilt list
  python -m jpq_pyserini.prebuilt fetch msmarco-v1-passage.jpq-m96
  python -m jpq_pyserini.prebuilt import --index OPQ96,IVF1,PQ96x8.index --encoder m96 --output jpq96

{VARIABLE} names further catalogues, separated by commas: JSON files, folders of them, file:// and http(s):// URLs.
Indexes go to PYSERINI_CACHE (default ~/.cache/pyserini), as Pyserini's own do.
"""


def main() -> int:
    """Parse the command line and run one command."""
    parser = _parser()
    args = parser.parse_args()
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    logging.getLogger("jpq_pyserini").setLevel(logging.INFO)
    return args.run(args) or 0


def run_list(args) -> None:
    """Print one line an index."""
    entries = load_entries()
    if args.names_only:
        print("\n".join(entries))
        return
    width = max(map(len, entries))
    print(f"{'name':{width}}  {'documents':>10}  {'M':>3}  {'MB':>7}  here")
    for name, entry in entries.items():
        documents = "?" if entry.documents is None else f"{entry.documents:,}"
        megabytes = "?" if entry.size is None else f"{entry.size / 1e6:,.1f}"
        here = "yes" if is_downloaded(entry) else "no"
        print(f"{name:{width}}  {documents:>10}  {entry.jpq.get('m', '?'):>3}  {megabytes:>7}  {here}")


def run_show(args) -> None:
    """Print an entry, and its README if it is at hand."""
    entry = find(args.name)
    print(json.dumps(entry.to_json(), indent=2))
    print(
        f"\ncatalogue  {entry.source}\ndirectory  {directory_of(entry)} ({'' if is_downloaded(entry) else 'not '}here)"
    )
    readme = Path(entry.source).parent / (entry.readme or "")
    if "://" not in entry.source and readme.is_file():
        print(f"\n{readme.read_text(encoding='utf-8')}")


def run_fetch(args) -> None:
    """Download one index or more and print their directories."""
    for name in args.names:
        options = {"docids": args.docids, "collection": args.collection, "tokenizer": args.tokenizer}
        print(fetch(name, force=args.force, timeout=args.timeout, progress=not args.quiet, **options))


def run_verify(args) -> int:
    """Compare every file with its sha256; the exit status is 1 if one differs."""
    damaged = 0
    for name in args.names:
        directory = Path(name)
        if not directory.is_dir():
            entry = find(name)
            directory = directory_of(entry)
            if not directory.is_dir():
                raise JPQError(f"{name} is not downloaded: run python -m jpq_pyserini.prebuilt fetch {name}")
        files = verify_directory(directory)
        damaged += bool(files)
        print(
            f"{name}: {'damaged: ' + ', '.join(files) if files else 'all files are as they were saved'} ({directory})"
        )
    return 1 if damaged else 0


def run_remove(args) -> None:
    """Remove indexes and unfinished downloads from the cache."""
    for name in args.names:
        removed = remove(name)
        print(f"{name}: " + (f"removed {', '.join(map(str, removed))}" if removed else "was not downloaded"))


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
    print(f"archive    {Path(output, entry.filename)} ({entry.size:,} bytes)")
    print(f"md5        {entry.md5}\nsha256     {entry.sha256}")
    print(
        f"catalogue  {Path(output, entry.name)}.json (name it in {VARIABLE})\nreadme     {Path(output, entry.readme)}"
    )


def run_import(args) -> None:
    """Turn the authors' files into an index directory."""
    from jpq_pyserini.index.release.convert import import_release

    options = {key: getattr(args, key) for key in ("index", "docids", "collection", "document_encoder", "tokenizer")}
    length = args.max_query_length
    print(import_release(args.encoder, args.output, max_query_length=length, progress=not args.quiet, **options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m jpq_pyserini.prebuilt",
        description="Prebuilt JPQ indexes by name.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name, run, summary, description=None):
        added = commands.add_parser(name, help=summary, description=description or f"{summary}.")
        added.set_defaults(run=run)
        return added

    listing = command("list", run_list, "the indexes of all catalogues", f"Lists {BUILT_IN.name} and {VARIABLE}.")
    listing.add_argument("--names-only", action="store_true", help="one name a line, for scripts")
    command("show", run_show, "what one of them is").add_argument("name", metavar="NAME")
    fetching = command("fetch", run_fetch, "download", f"Downloads to {indexes_home()}, and prints the directories.")
    fetching.add_argument("names", nargs="+", metavar="NAME")
    fetching.add_argument("--force", action="store_true", help="download again what is there")
    fetching.add_argument(
        "--timeout", type=float, default=TIMEOUT, metavar="S", help="give up a silent server (%(default)s s)"
    )
    _release_arguments(fetching)
    verifying = command("verify", run_verify, "check the files of a downloaded index against their sha256")
    verifying.add_argument("names", nargs="+", metavar="NAME|DIR")
    _pack_arguments(
        command("pack", run_pack, "make a tarball, its catalogue entry and its README from an index directory")
    )
    removing = command("remove", run_remove, "remove a downloaded index from the cache")
    removing.add_argument("names", nargs="+", metavar="NAME")
    importing = command("import", run_import, "turn files of the authors' release into an index directory")
    importing.add_argument(
        "--index", metavar="F", help="OPQ{M},IVF1,PQ{M}x8.index; without it the collection is encoded"
    )
    importing.add_argument(
        "--encoder", required=True, metavar="D", help="query encoder's folder (config.json, pytorch_model.bin)"
    )
    importing.add_argument(
        "--document-encoder", metavar="D", help="the same for documents: to add some, or without --index"
    )
    importing.add_argument("--output", required=True, metavar="DIR", help="index directory to write")
    importing.add_argument("--max-query-length", type=int, metavar="N", help="tokens (32; 512 without --index)")
    _release_arguments(importing)
    return parser


def _release_arguments(parser: argparse.ArgumentParser) -> None:
    ids = parser.add_mutually_exclusive_group()
    ids.add_argument(
        "--docids", metavar="F", help="external ids, one a line, in the order of the rows (default: the rows)"
    )
    ids.add_argument(
        "--collection", metavar="F", help="collection.tsv or msmarco-docs.tsv, whose first column are the ids"
    )
    parser.add_argument("--tokenizer", metavar="D", help="RoBERTa tokenizer, name or folder (default: roberta-base)")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def _pack_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", metavar="DIR", help="index directory")
    parser.add_argument("--name", metavar="NAME", help="for --index (default: the directory's name)")
    parser.add_argument("--output", metavar="OUT", help="folder to write (default: DIR.prebuilt)")
    parser.add_argument(
        "--url",
        action="append",
        default=[],
        metavar="URL",
        help="where the tarball will be; again for mirrors; a slash at the end: plus its name",
    )
    parser.add_argument("--description", metavar="S", help="one line")
    parser.add_argument("--texts", metavar="NAME", help="prebuilt Lucene index with the texts")


if __name__ == "__main__":
    run_main(main)
