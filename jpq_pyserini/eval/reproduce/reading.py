"""YAML that knows its lines, and mappings checked key by key, so that each mistake is one line with its place."""

import difflib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from jpq_pyserini.errors import JPQError

_KINDS = {str: "a text", list: "a list", dict: "a mapping", int: "an integer", float: "a number", bool: "true or false"}


class Lined(dict):
    """A mapping of the file; ``place`` is ``file:line`` of its first key, :meth:`at` that of any."""

    place = ""
    _lines: Mapping[str, int] = MappingProxyType({})

    def at(self, key: str) -> str:
        """Return ``file:line`` of a key."""
        return f"{self.place.rpartition(':')[0]}:{self._lines[key]}" if key in self._lines else self.place

    def like(self, items: Mapping) -> "Lined":
        """Return a mapping of ``items`` that is in the same place."""
        made = Lined(items)
        made.place, made._lines = self.place, self._lines
        return made


class _LinedMappings:
    """For PyYAML's safe loaders, which would take the last of two equal keys without a word."""

    def construct_mapping(self, node, deep=False):
        made = Lined()
        made.place = f"{self.name}:{node.start_mark.line + 1}"
        made._lines = lines = {}
        for key_node, value_node in node.value:
            key = self.construct_object(key_node, deep=True)
            line = key_node.start_mark.line + 1
            if not isinstance(key, str | int | float):
                raise JPQError(f"{self.name}:{line}: a key must be a text or a number")
            if key in made:
                raise JPQError(f"{self.name}:{line}: {key!r} is given twice: keep one")
            made[key] = self.construct_object(value_node, deep=True)
            lines[key] = line
        return made


class _Loader(_LinedMappings, yaml.SafeLoader):
    """Numbers are numbers."""


class _PlainLoader(_LinedMappings, yaml.BaseLoader):
    """Numbers are texts, as they are written."""


for _each in (_Loader, _PlainLoader):
    _each.add_constructor(
        yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, lambda loader, node: loader.construct_mapping(node)
    )


def read_yaml(path: str | os.PathLike, *, as_written: bool = False) -> Lined:
    """Return the mapping that a YAML file holds; ``as_written`` leaves numbers as texts, with their zeros.

    Raises:
        JPQError: no such file, not UTF-8, not YAML, a key given twice, no mapping at the top.
    """
    path = Path(path)
    try:
        loader = (_PlainLoader if as_written else _Loader)(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise JPQError(f"no such file: {path}") from None
    except UnicodeDecodeError:
        raise JPQError(f"{path}: not UTF-8: save it as UTF-8") from None
    loader.name = str(path)
    try:
        document = loader.get_single_data()
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise JPQError(f"{path}{line}: not YAML: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise JPQError(f"{path}: not YAML: {str(error).splitlines()[0]}") from None
    finally:
        loader.dispose()
    if not isinstance(document, Lined):
        raise JPQError(f"{path}:1: {_KINDS[dict]} is expected at the top, with title, topics, conditions, …")
    return document


def fields(value: Any, what: str, place: str, known: Mapping[str, type | tuple], required: tuple = ()) -> Lined:
    """Return ``value``, a mapping of no other keys than ``known`` (key to type), with all that are ``required``.

    Raises:
        JPQError: names ``what`` and the place of what is wrong.
    """
    if not isinstance(value, Lined):
        raise JPQError(f"{place}: {what} is {value!r}: it must be a mapping of {', '.join(known)}")
    for key in value:
        if key not in known:
            there = f"there are {', '.join(known)}{did_you_mean(str(key), known)}"
            raise JPQError(f"{value.at(key)}: {what}: unknown key {key!r}: {there}")
    for key in required:
        if value.get(key) in (None, [], ""):
            raise JPQError(f"{value.place}: {what}: {key!r} is missing: add it")
    for key, item in value.items():
        kinds = known[key] if isinstance(known[key], tuple) else (known[key],)
        if item is not None and (not isinstance(item, kinds) or (isinstance(item, bool) and bool not in kinds)):
            wanted = " or ".join(dict.fromkeys(_KINDS[kind] for kind in kinds))
            raise JPQError(f"{value.at(key)}: {what}: {key} is {item!r}: it must be {wanted}")
    return value


def did_you_mean(name: str, known: Iterable[str], form: str = "{!r}") -> str:
    """Return what to add to a message about an unknown name: ``; did you mean 'x'?``, or nothing."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {form.format(near[0])}?" if near else ""


def texts(value: Any, what: str, place: str) -> tuple[str, ...]:
    """Return a text, or a list of them, as a tuple; None gives ()."""
    items = [] if value is None else value if isinstance(value, list) else [value]
    for item in items:
        if not isinstance(item, str) or not item.strip():
            raise JPQError(f"{place}: {what} holds {item!r}: it must be a text or a list of texts")
    return tuple(items)
