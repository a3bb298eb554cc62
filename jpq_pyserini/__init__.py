"""JPQ for Pyserini: dense retrieval in a thirtieth of the memory (Zhan et al., CIKM 2021).

Public names are imported on first use, so that ``import jpq_pyserini`` costs next to nothing: no torch, no Faiss, no
Java. The start-up hook relies on that.
"""

from jpq_pyserini import moved

__version__ = "0.2.0"

_PUBLIC = {
    "JPQError": "errors",
    "JPQIndex": "index",
    "ProductQuantizer": "codec",
    "JPQQueryEncoder": "plugin.encoders",
    "JPQDocumentEncoder": "plugin.encoders",
    "JPQFaissSearcher": "plugin.searcher",
    "TrainConfig": "train.config",
    "train_index": "train.pipeline",
}

__all__ = sorted(_PUBLIC)


def __getattr__(name):
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_PUBLIC[name]}"), name)


def __dir__():
    return sorted(set(globals()) | set(_PUBLIC))


moved.install()
