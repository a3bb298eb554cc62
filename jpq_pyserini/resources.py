"""Where the repository's folders of data are: ``eval`` (experiments, published numbers, results) and ``prebuilt``."""

from pathlib import Path

_PACKAGE = Path(__file__).parent


def data_folder(name: str) -> Path:
    """Return the folder ``eval`` or ``prebuilt``: as a wheel installs it, or beside the package in a checkout."""
    installed = _PACKAGE / "_data" / name
    return installed if installed.is_dir() else _PACKAGE.parent / name
