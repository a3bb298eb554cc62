"""Tevatron's pickles of embeddings, without what makes pickles dangerous: nothing but arrays and text is ever made."""

import pickle
from pathlib import Path

import numpy as np
from numpy._core import multiarray, numeric

from jpq_pyserini.errors import JPQError, reason_of

_MAKERS = {
    "_reconstruct": multiarray._reconstruct,
    "scalar": multiarray.scalar,
    "_frombuffer": numeric._frombuffer,  # type: ignore[attr-defined]
}
_MODULES = ("numpy.core.multiarray", "numpy._core.multiarray", "numpy.core.numeric", "numpy._core.numeric")


class _Arrays(pickle.Unpickler):
    """Knows arrays, lists, tuples, numbers and strings."""

    def find_class(self, module: str, name: str):
        if module == "numpy" and name in ("ndarray", "dtype"):
            return getattr(np, name)
        if module in _MODULES and name in _MAKERS:
            return _MAKERS[name]
        if (module, name) == ("_codecs", "encode"):  # of bytes in protocol 2
            return _latin1
        raise pickle.UnpicklingError(f"it wants to load {module}.{name}")


def _latin1(text: str, encoding: str) -> bytes:
    return text.encode("latin-1")


def read_vectors(path: Path) -> tuple[list[str], np.ndarray]:
    """Return docids and vectors (n, D) of Tevatron's ``(vectors, docids)`` or of DPR's list of ``(docid, vector)``.

    Raises:
        JPQError: the pickle holds anything but arrays, lists, tuples, numbers and strings, or other things than these.
    """
    try:
        with open(path, "rb") as file:
            content = _Arrays(file).load()
    except Exception as error:  # a damaged pickle can raise anything
        raise JPQError(
            f"{path} is a pickle that is not read ({reason_of(error)}): arrays, lists, tuples and strings are; save "
            "the vectors as .npy instead"
        ) from None
    if isinstance(content, tuple) and len(content) == 2:
        vectors, docids = content
    elif isinstance(content, list) and content and all(isinstance(each, tuple) and len(each) >= 2 for each in content):
        docids, vectors = [each[0] for each in content], [each[1] for each in content]
    else:
        docids, vectors = [], None
    try:
        array = np.asarray(vectors)
        docids = [str(docid) for docid in docids]
    except (TypeError, ValueError):
        array = np.empty(0)
    if array.ndim != 2 or array.dtype.kind != "f" or len(array) != len(docids):
        raise JPQError(
            f"{path} holds no pair of vectors and docids of one length, as Tevatron writes them: {path.name}"
        )
    return docids, array
