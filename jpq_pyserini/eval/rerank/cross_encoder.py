"""Cross-encoders of sentence-transformers: loading one with care, and scoring the passages of a query."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from jpq_pyserini.encoders.loading import check_device
from jpq_pyserini.encoders.text_encoder import loading
from jpq_pyserini.errors import JPQError

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder

#: Heads whose weights are in the files; with any other, loading would invent a head and rank at random.
_RANKING_HEADS = ("ForSequenceClassification", "ForCausalLM")
_PICKLES = (".bin", ".pt", ".pth", ".ckpt")


def load_cross_encoder(name_or_path: str, *, max_length: int | None = None, device: str = "cpu") -> "CrossEncoder":
    """Load a cross-encoder; its weights must be safetensors, because pickles can run code.

    Args:
        name_or_path: a model of the Hugging Face hub, or a folder.
        max_length: query and passage are cut together at this many tokens; None keeps the model's own limit.
        device: torch device name.

    Raises:
        JPQError: the model cannot be loaded, has pickled weights only, is no cross-encoder, has more than two labels,
            or cannot take ``max_length`` tokens.
    """
    check_device(device)
    folder = Path(name_or_path)
    if folder.is_dir():
        names = sorted(path.name for path in folder.rglob("*") if path.is_file())
        pickles = [name for name in names if name.endswith(_PICKLES)]
        if pickles and not any(name.endswith(".safetensors") for name in names):
            raise JPQError(
                f"{folder} has its weights in {pickles[0]} only, a pickle, which could run any code: "
                "save the model again as safetensors (save_pretrained does) where you trust it"
            )
    remedy = (
        "name a folder with model.safetensors, or a model of the Hugging Face hub that is in its cache or can be "
        "reached"
    )
    with loading("cross-encoder", name_or_path, remedy):
        return _checked(name_or_path, max_length, device)


def score_pairs(model: "CrossEncoder", query: str, texts: Sequence[str], batch_size: int = 32) -> np.ndarray:
    """Return the relevance of each text to ``query``: (n,) float32, larger is better.

    One label: its logit, before the sigmoid that models may end with, which would round good passages to the same 1.
    Two labels (Nogueira and Cho's BERT): the logit of "relevant", the second, minus the other, which orders as the
    probability does.
    """
    from torch.nn import Identity

    pairs = [(query, text) for text in texts]
    logits = model.predict(pairs, batch_size=batch_size, activation_fn=Identity(), show_progress_bar=False)
    scores = logits if logits.ndim == 1 else logits[:, 1] - logits[:, 0]
    if not np.isfinite(scores).all():
        at = int(np.flatnonzero(~np.isfinite(scores))[0])
        raise JPQError(f"the model scores the passage {texts[at][:60]!r} {scores[at]}: its weights are damaged")
    return scores


def model_name(name_or_path: str) -> str:
    """Return what tables call the model: the last part of its name or path."""
    return os.path.basename(os.path.normpath(name_or_path))


def _checked(name_or_path: str, max_length: int | None, device: str) -> "CrossEncoder":
    from sentence_transformers import CrossEncoder
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(name_or_path)
    architectures = getattr(config, "architectures", None) or []
    if not any(name.endswith(_RANKING_HEADS) for name in architectures):
        raise JPQError(
            f"{name_or_path} is no cross-encoder but a {' and '.join(architectures) or 'nameless model'}, without "
            "weights for a relevance score: name a model trained to re-rank, say cross-encoder/ms-marco-MiniLM-L6-v2"
        )
    most = getattr(config, "max_position_embeddings", None)
    if max_length is not None and most is not None and max_length > most:
        raise JPQError(f"--max-length {max_length}: {name_or_path} takes at most {most} tokens")
    options = {} if max_length is None else {"max_length": max_length}
    model = CrossEncoder(name_or_path, device=device, model_kwargs={"use_safetensors": True}, **options)
    if model.num_labels > 2:
        raise JPQError(f"{name_or_path} has {model.num_labels} labels: a model that re-ranks has one or two")
    return model
