"""What the benchmarks write: their figures as JSON, with the command and the versions that made them."""

import argparse
import json
import os
from collections.abc import Sequence

from jpq_pyserini.cli import command_line
from jpq_pyserini.index import library_versions
from jpq_pyserini.storage import check_outputs, new_file


def check_record(args: argparse.Namespace) -> None:
    """Raise :class:`JPQError` before the measurements if ``args.output`` cannot be written, or is a file they read."""
    read = [each for name, value in vars(args).items() if name != "output" for each in _texts(value)]
    check_outputs([args.output], read)


def _texts(value: object) -> list[str]:
    return [each for each in (value if isinstance(value, list) else [value]) if isinstance(each, str)]


def write_record(path: str | os.PathLike, module: str, argv: Sequence[str] | None, **figures) -> None:
    """Write ``figures`` to a JSON file; ``module`` and ``argv`` are those of :func:`~jpq_pyserini.cli.command_line`.

    ``versions`` among the figures add to those of the libraries that every benchmark stands on.
    """
    versions = library_versions() | figures.pop("versions", {})
    with new_file(path) as file:
        file.write(
            json.dumps({"command": command_line(module, argv), "versions": versions, **figures}, indent=1) + "\n"
        )
