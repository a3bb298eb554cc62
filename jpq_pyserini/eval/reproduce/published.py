"""Numbers that others published, as data: the tables of a paper, row by row as they are printed."""

import dataclasses
import re
from collections.abc import Iterator
from typing import Annotated

from pydantic import BeforeValidator

from jpq_pyserini.errors import JPQError
from jpq_pyserini.eval.reproduce.yaml_files import Model, Text, read_yaml, validated
from jpq_pyserini.resources import data_folder

FOLDER = data_folder("eval") / "published"
_CELL = re.compile(r"(?P<sign>[<>]?)(?P<number>[+-]?\d+(\.\d+)?)(?P<relative>%|x)?(?P<mark>\*{0,2})")


class _Column(Model):
    topic_key: str | None = None
    measure: str | None = None
    fact: str | None = None
    of: str | None = None


#: A group that is one row need not be a list of rows.
_Rows = Annotated[
    tuple[tuple[str, ...], ...],
    BeforeValidator(lambda rows: [rows] if rows and isinstance(rows, list) and isinstance(rows[0], str) else rows),
]


class _Table(Model):
    table: Text
    title: str = ""
    columns: tuple[_Column, ...]
    rows: dict[str, _Rows]


class _File(Model):
    source: Text
    tables: tuple[_Table, ...]


@dataclasses.dataclass(frozen=True)
class Published:
    """One printed number.

    Attributes:
        source: paper and table.
        group, system: the part of the table and the row that it is in.
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


def read_published(name: str) -> tuple[Published, ...]:
    """Return every number of ``eval/published/NAME.yaml``.

    Raises:
        JPQError: no such file, or a mistake in it.
    """
    known = {path.stem: path for path in sorted(FOLDER.glob("*.yaml"))}
    if name not in known:
        raise JPQError(f"published: there is no {name!r} in {FOLDER}: there are {', '.join(known)}")
    file = validated(_File, read_yaml(known[name]), f"{known[name]}: ")
    return tuple(number for table in file.tables for number in _numbers(table, file.source, str(known[name])))


def _numbers(table: _Table, paper: str, place: str) -> Iterator[Published]:
    source = f"{paper}, table {table.table}" if table.table.isdecimal() else f"{paper}, {table.table}"
    for group, rows in table.rows.items():
        for system, *cells in rows:
            if len(cells) != len(table.columns):
                raise JPQError(f"{place}: {source}: {system} has {len(cells)} numbers for {len(table.columns)} columns")
            for column, text in zip(table.columns, cells, strict=True):
                match = _CELL.fullmatch(text)
                if match is None and text != "n.a.":
                    raise JPQError(
                        f"{place}: {source}, {system}: {text!r} is no number with or without marks, nor n.a."
                    )
                value = float(match["number"]) if match and not match["relative"] and not match["sign"] else None
                mark = match["mark"] if match else ""
                yield Published(source, group, system, **column.model_dump(), text=text, value=value, mark=mark)
