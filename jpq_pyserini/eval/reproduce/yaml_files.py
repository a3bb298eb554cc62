"""YAML files, read safely: mappings, lists and texts of a bounded size, checked by pydantic, one line for a mistake."""

import difflib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from jpq_pyserini.errors import JPQError, reason_of

#: Limits that no honest file comes near; ``_MOST_VALUES`` counts what an alias (``*name``) stands for each time.
_MOST_BYTES, _MOST_VALUES, _DEEPEST = 1 << 20, 20_000, 20

Text = Annotated[str, StringConstraints(min_length=1)]
#: One text, or a list of them.
Texts = Annotated[tuple[Text, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)]


class Model(BaseModel):
    """A mapping of a file. Values in a YAML file are texts here, so that numbers are made from texts."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _only_known_keys(cls, value: Any) -> Any:
        for key in value if isinstance(value, dict) else ():
            if key not in cls.model_fields:
                there = ", ".join(cls.model_fields)
                raise ValueError(f"unknown key {key!r}: there are {there}{did_you_mean(key, cls.model_fields)}")
        return value


class _Loader(yaml.BaseLoader):
    """Reads every scalar as a text, as it is written, whatever its tag; refuses keys that are given twice."""

    def construct_mapping(self, node, deep=False):
        seen: set[str] = set()
        for key, _ in node.value:
            problem = "a key must be a text" if not isinstance(key, yaml.ScalarNode) else None
            if problem is None and key.value in seen:
                problem = f"{key.value!r} is given twice: keep one"
            if problem:
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def read_yaml(path: str | os.PathLike) -> dict:
    """Return the mapping that a YAML file holds; every scalar in it is a text.

    Raises:
        JPQError: no such file, too large, not UTF-8, not YAML, a key given twice, no mapping at the top.
    """
    path = Path(path)
    if not path.is_file():
        raise JPQError(f"no such file: {path}: check the path")
    if path.stat().st_size > _MOST_BYTES:
        raise JPQError(f"{path}: larger than {_MOST_BYTES:,} bytes: split it")
    try:
        text = path.read_text(encoding="utf-8")
        _check_size(text)
        document = yaml.load(text, _Loader)
    except UnicodeDecodeError:
        raise JPQError(f"{path}: not UTF-8: save it as UTF-8") from None
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise JPQError(f"{path}{line}: not YAML: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise JPQError(f"{path}: not YAML: {reason_of(error)}") from None
    if not isinstance(document, dict):
        raise JPQError(f"{path}: a mapping is expected at the top, with title, topics, conditions, ...")
    return document


def _check_size(text: str) -> None:
    """Raise YAMLError for a document that is too deep, too large when its aliases are written out, or endless."""
    sizes: dict[str, int] = {}  # of the anchored nodes that are complete
    open_nodes: list[tuple[str | None, int]] = []  # anchor, and how many values there were before it
    count = 0
    for event in yaml.parse(text, yaml.BaseLoader):
        problem = None
        if isinstance(event, yaml.AliasEvent) and event.anchor:
            problem = None if event.anchor in sizes else f"no value is called &{event.anchor} above, or it is inside it"
            count += sizes.get(event.anchor, 0)
        elif isinstance(event, yaml.NodeEvent):
            open_nodes.append((event.anchor, count))
            count += 1
        if isinstance(event, yaml.ScalarEvent | yaml.CollectionEndEvent):
            anchor, before = open_nodes.pop()
            if anchor:
                sizes[anchor] = count - before
        if count > _MOST_VALUES:
            problem = f"more than {_MOST_VALUES:,} values, aliases written out"
        elif len(open_nodes) > _DEEPEST:
            problem = f"nested more than {_DEEPEST} deep"
        if problem:
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)


def validated(model: Any, document: Any, before: str = "") -> Any:
    """Return ``document`` as a ``model``: a :class:`Model`, or whatever pydantic's ``TypeAdapter`` wraps.

    Raises:
        JPQError: ``keys.to.the.value: what is wrong``, after ``before``, for the first mistake.
    """
    try:
        return model.validate_python(document) if isinstance(model, TypeAdapter) else model.model_validate(document)
    except ValidationError as error:
        mistake = error.errors(include_url=False)[0]
    keys, value = _keys(mistake["loc"], document), mistake["input"]
    if isinstance(cause := mistake.get("ctx", {}).get("error"), ValueError):
        reason = reason_of(cause)
    elif mistake["type"] == "missing":
        reason = "missing: add it"
    else:
        shown = f"{value:.60}" if isinstance(value, str) else f"a {type(value).__name__}"
        reason = f"{shown!r}: {mistake['msg'].removeprefix('Input ')}"
    raise JPQError(f"{before}{keys}{': ' if keys else ''}{reason}")


def _keys(loc: Sequence, document: Any) -> str:
    """Return the way to a value, as ``steps.opq48.needs``; list entries go by their name if they have one."""
    words = []
    for key in loc:
        known = isinstance(key, int) if isinstance(document, list) else isinstance(document, dict) and key in document
        document = document[key] if known and (isinstance(document, dict) or key < len(document)) else None
        named = isinstance(key, int) and isinstance(document, dict)
        words.append(str(document.get("name") or document.get("topic_key") or key) if named else str(key))
    return ".".join(words)


def did_you_mean(name: str, known: Iterable[str], form: str = "{!r}") -> str:
    """Return what to add to a message about an unknown name: ``; did you mean 'x'?``, or nothing."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {form.format(near[0])}?" if near else ""
