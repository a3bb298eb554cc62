"""Training: OPQ initialisation, then query encoder and centroids together on the quantized scores.

Public names are imported on first use, so that ``--help`` and what is wrong with arguments cost no torch.
"""

_PUBLIC = {"EncoderSource": "inputs", "TrainConfig": "config", "TrainReport": "report", "train_index": "pipeline"}

__all__ = sorted(_PUBLIC)


def __getattr__(name):
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_PUBLIC[name]}"), name)
