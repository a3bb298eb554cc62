"""JSON from elsewhere: whatever is wrong with it is one kind of error."""

import json
import os
from pathlib import Path
from typing import Any

from jpq_pyserini.errors import JPQError, reason_of
from jpq_pyserini.storage import check_input

_LONGEST = 100_000_000  # bytes of a safetensors header, as the format allows


class JSONError(ValueError):
    """A text that is no JSON, or that Python cannot hold; says why in a few words."""


def parse_json(text: str | bytes, **options) -> Any:
    """Return the value of a JSON text; ``options`` are those of :func:`json.loads`.

    Raises:
        JSONError: it is none, is no UTF-8, is nested too deeply, or has an integer of more digits than Python reads.
    """
    try:
        return json.loads(text, **options)
    except json.JSONDecodeError as error:
        raise JSONError(f"{error.msg}, line {error.lineno} column {error.colno}") from None
    except RecursionError:
        raise JSONError("nested too deeply") from None
    except UnicodeDecodeError:
        raise JSONError("not UTF-8 text") from None
    except ValueError:
        raise JSONError("an integer of too many digits") from None


def read_json(path: str | os.PathLike, remedy: str, kind: type = dict) -> Any:
    """Return the value in a JSON file.

    Args:
        path: the file.
        remedy: how the message ends: what the user can do.
        kind: the type that the value must have.

    Raises:
        FileNotFoundError: there is no such file.
        JPQError: it cannot be read, is no JSON, or holds a value of another type.
    """
    check_input(path)
    try:
        value = parse_json(Path(path).read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(2, "No such file or directory", os.fspath(path)) from None
    except OSError as error:
        raise JPQError(f"{path} cannot be read ({error.strerror}): {remedy}") from None
    except JSONError as error:
        raise JPQError(f"{path} is damaged or no JSON ({reason_of(error)}): {remedy}") from None
    if not isinstance(value, kind):
        raise JPQError(f"{path} is damaged (a {type(value).__name__} where a {kind.__name__} belongs): {remedy}")
    return value


def safetensors_header(path: str | os.PathLike) -> tuple[dict[str, Any], int]:
    """Return the header of a safetensors file and where in the file its numbers begin, in bytes.

    Raises:
        OSError: it cannot be read.
        JSONError: it has no such header.
    """
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = parse_json(file.read(min(length, _LONGEST)))
    if not isinstance(header, dict):
        raise JSONError("the header is no object")
    return header, 8 + length
