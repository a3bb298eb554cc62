"""Numbers that others published, as data: the tables of a paper, row by row as they are printed."""

import dataclasses
import re
from collections.abc import Iterator

from jpq_pyserini.errors import JPQError
from jpq_pyserini.eval.reproduce.reading import Lined, fields, read_yaml
from jpq_pyserini.resources import data_folder

FOLDER = data_folder("eval") / "published"
_CELL = re.compile(r"(?P<sign>[<>]?)(?P<number>[+-]?\d+(\.\d+)?)(?P<relative>%|x)?(?P<mark>\*{0,2})")
_COLUMN = {"topic_key": str, "measure": str, "fact": str, "of": str}


@dataclasses.dataclass(frozen=True)
class Published:
    """One printed number.

    Attributes:
        source: paper and table.
        group, system: the row and the part of the table that it is in.
        topic_key, measure: of an effectiveness; None of other facts.
        fact: what else it is (``index GB``, ``CPU s``), with ``of`` saying of what; None of an effectiveness.
        text: as printed, marks included.
        value: the number; None where there is none, or where it is relative to another row.
        mark: the significance mark, ``*`` or ``**``.
    """

    source: str
    group: str
    system: str
    topic_key: str | None
    measure: str | None
    fact: str | None
    of: str | None
    text: str
    value: float | None
    mark: str


def read_published(name: str, place: str) -> tuple[Published, ...]:
    """Return every number of ``experiments/published/NAME.yaml``.

    Raises:
        JPQError: no such file, or a mistake in it.
    """
    path = FOLDER / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(each.stem for each in FOLDER.glob("*.yaml")))
        raise JPQError(f"{place}: published: there is no {name!r} in {FOLDER}: there are {known}")
    document = read_yaml(path, as_written=True)
    fields(document, "published numbers", f"{path}:1", {"source": str, "tables": list}, ("source", "tables"))
    return tuple(number for table in document["tables"] for number in _table(table, document, str(path)))


def _table(table: Lined, document: Lined, place: str) -> Iterator[Published]:
    known = {"table": str, "title": str, "columns": list, "rows": dict}
    fields(table, "a table", place, known, ("table", "columns", "rows"))
    source = f"{document['source']}, {_name(table['table'])}"
    columns = [fields(column, "a column", table.place, _COLUMN) for column in table["columns"]]
    for group, rows in table["rows"].items():
        for row in rows if isinstance(rows, list) else [rows]:
            if not isinstance(row, list) or len(row) != 1 + len(columns):
                raise JPQError(
                    f"{table.place}: {source}: the row {row!r} must be a list of the system and "
                    f"{len(columns)} numbers, one a column"
                )
            for column, cell in zip(columns, row[1:], strict=True):
                yield _number(str(cell), source, group, str(row[0]), column)


def _number(text: str, source: str, group: str, system: str, column: Lined) -> Published:
    match = _CELL.fullmatch(text)
    if match is None and text != "n.a.":
        raise JPQError(f"{column.place}: {source}, {system}: {text!r} is no number, with or without marks, nor n.a.")
    value = float(match["number"]) if match and not match["relative"] and not match["sign"] else None
    where = {name: column.get(name) for name in _COLUMN}
    return Published(source, group, system, text=text, value=value, mark=match["mark"] if match else "", **where)


def _name(table: str) -> str:
    return f"table {table}" if table.isdecimal() else table
