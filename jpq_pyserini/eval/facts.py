"""What is known of a run beyond its hits: size, speed and making, in a small JSON file beside it.

The facts of ``runs/hnsw.txt`` are in ``runs/hnsw.facts.json``. A run without one is a run like any other.
"""

import dataclasses
import json
import os
from pathlib import Path

from jpq_pyserini.data.lines import quoted
from jpq_pyserini.errors import JPQError
from jpq_pyserini.json_text import JSONError, parse_json
from jpq_pyserini.storage import new_file


@dataclasses.dataclass(frozen=True)
class Facts:
    """Facts of one run; None where nobody measured.

    Attributes:
        title: what tables and plots call the system, say ``HNSW, M=32 efSearch 128``.
        group: what systems of one kind share, so that plots join them by a line, say ``HNSW``.
        documents: N.
        bytes_per_document: size of the index over N, everything included but texts, docids and vectors on disk.
        vector_bytes_per_document: size of the vectors on disk, of which a two-stage search reads the candidates'.
        ms_per_query: median time of a search for one query, without query encoding, in milliseconds; of a re-ranked
            run, the median time of re-ranking alone.
        encode_ms_per_query: median time of encoding one query, in milliseconds.
        threads: that both times were measured with.
        hits: documents a query.
        build_seconds: time to build the index from embeddings or texts.
        command: that made the run.
        versions: package to version.
        source: where a published run or number is from.
    """

    title: str | None = None
    group: str | None = None
    documents: int | None = None
    bytes_per_document: float | None = None
    vector_bytes_per_document: float | None = None
    ms_per_query: float | None = None
    encode_ms_per_query: float | None = None
    threads: int | None = None
    hits: int | None = None
    build_seconds: float | None = None
    command: str | None = None
    versions: dict[str, str] | None = None
    source: str | None = None


_GREATEST = 1e15
_NUMBERS = {field.name for field in dataclasses.fields(Facts) if "int" in str(field.type) or "float" in str(field.type)}


def facts_path(run: str | os.PathLike) -> Path:
    """Return where the facts of a run file are: its name without .gz and last ending, then ``.facts.json``.

    Raises:
        JPQError: an empty path, ``.`` or ``/``.
    """
    path = Path(run)
    if not path.name:
        raise JPQError(f"{os.fspath(run)!r} is no file of a run: name one")
    name = path.name.removesuffix(".gz")
    return path.with_name((Path(name).stem or name) + ".facts.json")


def read_facts(run: str | os.PathLike) -> Facts:
    """Return the facts of a run file; all None when there is no file of them.

    Raises:
        JPQError: the file is not JSON, or holds a name or a kind of value that :class:`Facts` does not.
    """
    path = facts_path(run)
    if not path.is_file():
        return Facts()
    try:
        record = parse_json(path.read_bytes())
    except JSONError as error:
        raise JPQError(f"{path}: not JSON ({error}): remove it, or make the run again") from None
    return facts_of(record, str(path))


def facts_of(record, place: str) -> Facts:
    """Return the facts that a JSON object gives.

    Args:
        record: what was read.
        place: where, for messages.

    Raises:
        JPQError: no object, or a name or a kind of value that :class:`Facts` does not hold.
    """
    known = [field.name for field in dataclasses.fields(Facts)]
    if not isinstance(record, dict) or not record.keys() <= set(known):
        extra = sorted(record.keys() - set(known))[0] if isinstance(record, dict) else "a list or a lone value"
        raise JPQError(f"{place}: {extra!r} is no fact of a run: there are {', '.join(known)}")
    for name, value in record.items():
        if value is None:
            continue
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if name in _NUMBERS and not (number and 0 <= value <= _GREATEST):
            raise JPQError(f"{place}: {name} is {quoted(str(value))}: it must be a number from 0 to {_GREATEST:g}")
        if name not in _NUMBERS and not isinstance(value, dict if name == "versions" else str):
            raise JPQError(f"{place}: {name} is {quoted(str(value))}: it must be a text")
    return Facts(**record)


def write_facts(run: str | os.PathLike, facts: Facts) -> Path:
    """Write ``facts`` beside a run file, what is None left out; returns the file's path."""
    record = {name: value for name, value in dataclasses.asdict(facts).items() if value is not None}
    with new_file(facts_path(run)) as file:
        file.write(json.dumps(record, indent=2, ensure_ascii=False) + "\n")
    return facts_path(run)
