"""Tevatron's pickles of embeddings, without what makes pickles dangerous: nothing but arrays and text is ever made."""

import pickle
import pickletools
import re
from pathlib import Path

import numpy as np

from jpq_pyserini.errors import JPQError, reason_of

_MODULES = ("numpy.core.multiarray", "numpy._core.multiarray", "numpy.core.numeric", "numpy._core.numeric")
_KIND = re.compile("[fiuUS][0-9]{1,6}")


class _Kind:
    """Stands for a dtype: one made from a damaged pickle would bring numpy down."""

    def __init__(self, name: str, *_):
        self._name, self._order = name, "="

    def __setstate__(self, state: tuple) -> None:
        self._order = state[1].replace("|", "=")

    def array(self, content: bytes) -> np.ndarray:
        """Return the numbers or texts in ``content``, one after the other."""
        if not _KIND.fullmatch(self._name):
            raise pickle.UnpicklingError(f"an array of {self._name!r}")
        return np.frombuffer(content, self._order + self._name)


class _Array:
    """Stands for an array while it is loaded; ``value`` is the array in the end, or a list of objects."""

    def __init__(self, *_):
        self.value = None

    def __setstate__(self, state: tuple) -> None:
        _, shape, kind, by_column, content = state
        self.value = content if isinstance(content, list) else _shaped(content, kind, shape, "CF"[bool(by_column)])


def _shaped(content: bytes, kind: _Kind, shape: tuple, order) -> np.ndarray:
    return kind.array(content).reshape(shape, order=order)


def _from_buffer(*parts) -> _Array:
    array = _Array()
    array.value = _shaped(*parts)
    return array


def _latin1(text: str, encoding: str) -> bytes:
    return text.encode("latin-1")


_MAKERS = {
    "_reconstruct": _Array,
    "scalar": lambda kind, content: kind.array(content)[0],
    "_frombuffer": _from_buffer,
}


class _Arrays(pickle.Unpickler):
    """Knows arrays, lists, tuples, numbers and strings."""

    def find_class(self, module: str, name: str):
        if module == "numpy" and name in ("ndarray", "dtype"):
            return _Kind if name == "dtype" else _Array
        if module in _MODULES and name in _MAKERS:
            return _MAKERS[name]
        if (module, name) == ("_codecs", "encode"):  # of bytes in protocol 2
            return _latin1
        raise pickle.UnpicklingError(f"it wants to load {module}.{name}")


def _refuse_numbers_beyond(file, size: int) -> None:
    """Raise an error at a place in the table of seen objects beyond ``size``: the table would be made that long."""
    for operation, argument, _ in pickletools.genops(file):
        if operation.name in ("PUT", "BINPUT", "LONG_BINPUT") and int(argument or 0) > size:
            raise pickle.UnpicklingError(f"{operation.name} {argument} in {size} bytes")
    file.seek(0)


def read_vectors(path: Path) -> tuple[list, np.ndarray]:
    """Return docids and vectors (n, D) of Tevatron's ``(vectors, docids)``, of DPR's list of ``(docid, vector)``, or of
    a dictionary, docid to vector.

    Raises:
        JPQError: the pickle holds anything but arrays, lists, tuples, numbers and strings, or other things than these.
    """
    try:
        with open(path, "rb") as file:
            _refuse_numbers_beyond(file, path.stat().st_size)
            content = _Arrays(file).load()
    except Exception as error:  # a damaged pickle can raise anything
        raise JPQError(
            f"{path} is a pickle that is not read ({reason_of(error)}): arrays, lists, tuples and strings are; save "
            "the vectors as .npy instead"
        ) from None
    if isinstance(content, list) and content and all(isinstance(each, tuple) and len(each) >= 2 for each in content):
        docids, vectors = [each[0] for each in content], [each[1] for each in content]
    elif isinstance(content, tuple | list) and len(content) == 2:
        vectors, docids = content
    elif isinstance(content, dict):
        docids, vectors = list(content), list(content.values())
    else:
        docids, vectors = [], None
    try:
        array = np.asarray(list(map(_value, vectors)) if isinstance(vectors, list) else _value(vectors))
        docids = list(_value(docids))
    except (TypeError, ValueError):
        array = np.empty(0)
    if array.ndim != 2 or array.dtype.kind != "f" or len(array) != len(docids):
        raise JPQError(f"{path} holds no pair of vectors and docids of one length, as Tevatron writes them")
    return docids, array


def _value(thing):
    return thing.value if isinstance(thing, _Array) else thing
