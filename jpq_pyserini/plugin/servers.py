"""Pyserini's REST and MCP servers (2.x): JPQ indexes by path in their configuration, and by prebuilt name."""

import functools
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from jpq_pyserini.plugin.ours import BARE, is_index_directory
from jpq_pyserini.plugin.prebuilt import our_entry

_texts: dict[str, str | None] = {}  # of indexes in the configuration, by alias: the alias of the index with the texts


def wrap_config(module) -> None:
    """Wrap how ``pyserini.server.config`` reads its indexes: of ours neither type nor encoder need be said."""
    plain = module._parse_indexes

    @functools.wraps(plain)
    def parse_indexes(raw, parent):
        completed = {alias: _completed(given, parent) for alias, given in raw.items()} if isinstance(raw, dict) else raw
        parsed = plain(completed, parent)
        _texts.update({alias: each.base_index for alias, each in parsed.items() if is_index_directory(each.path)})
        return parsed

    module._parse_indexes = parse_indexes


def wrap_utils(module) -> None:
    """Let ``pyserini.server.utils`` know our prebuilt names."""
    module.INDEX_TYPE["faiss"] = _WithOurs(module.INDEX_TYPE["faiss"])


def _completed(given, parent):
    fields = {"path": given} if isinstance(given, str) else given
    if not isinstance(fields, dict) or not isinstance(fields.get("path"), str):
        return given
    if not is_index_directory(os.path.join(Path(parent), fields["path"])):
        return given
    return {"encoder": BARE, **fields, "index_type": "faiss"}


class _WithOurs(Mapping):
    """Pyserini's catalogue of Faiss indexes and ours, which is asked first and needs no network of Pyserini's.

    An alias of the configuration is no prebuilt name, but the server looks its texts up here.
    """

    def __init__(self, theirs: Mapping):
        self._theirs = theirs

    def __getitem__(self, name: str) -> dict:
        entry = our_entry(name)
        if entry is not None:
            return entry.to_json()
        return {"texts": _texts[name]} if name in _texts else self._theirs[name]

    def __contains__(self, name: object) -> bool:
        return our_entry(name) is not None or name in self._theirs

    def __iter__(self) -> Iterator[str]:
        from jpq_pyserini.prebuilt.catalogue import load_entries

        ours = load_entries()
        yield from ours
        yield from (name for name in self._theirs if name not in ours)

    def __len__(self) -> int:
        return sum(1 for _ in self)
