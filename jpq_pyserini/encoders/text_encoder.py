"""Text to embeddings: sentence-transformers models, plain Hugging Face folders, and the folders that training saves.

Knows nothing of Pyserini, so that training and tests need no Java.
"""

import contextlib
import copy
import hashlib
import json
import logging
import math
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jpq_pyserini.encoders.limits import QUERY, CutTexts, length_limit, set_length_limit
from jpq_pyserini.encoders.loading import check_device, load_model, says_its_pooling
from jpq_pyserini.errors import JPQError, reason_of
from jpq_pyserini.json_text import parse_json, safetensors_header
from jpq_pyserini.names import ENCODER_MARKER

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

QUERY_PROMPT, PASSAGE_PROMPT = "query", "document"
_PASSAGE_PROMPTS = (PASSAGE_PROMPT, "passage", "corpus")  # the first that a model has
_BARE: dict[str, Any] = {"show_progress_bar": False, "convert_to_numpy": True}
#: In the settings of a saved encoder that has an ONNX export: its largest difference from torch's vectors, as a share
#: of their length.
EXPORTED = "onnx_difference"
#: Of what :func:`save_text_encoder` writes.
FORMAT_VERSION = 1

_LOCK = threading.Lock()
_before: list[tuple[bool, int]] = []  # bars shown, level of the hub's logger; an item for each block of quietly()


def is_jpq_encoder(path: str | os.PathLike) -> bool:
    """Tell whether ``path`` is a query encoder folder written by :func:`save_text_encoder`."""
    try:
        return os.path.isfile(os.path.join(path, ENCODER_MARKER))
    except (TypeError, ValueError):
        return False


def saved_settings(folder: str | os.PathLike) -> dict[str, Any]:
    """Return what :func:`save_text_encoder` recorded in ``folder``; empty for a folder of other origin.

    Raises:
        JPQError: the record is damaged or of a later format.
    """
    path = Path(folder) / ENCODER_MARKER
    try:
        settings = parse_json(path.read_bytes())
        found = settings.get("format_version", FORMAT_VERSION)
        later = found > FORMAT_VERSION
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise JPQError(f"{path} is damaged ({reason_of(error)}): copy the index directory again") from error
    if later:
        raise JPQError(
            f"{path} has format version {found}, this release reads up to {FORMAT_VERSION}: "
            "pip install --upgrade jpq_pyserini"
        )
    return settings


def kind_of(folder: Path) -> str:
    """Say in a few words what a saved query encoder is, from its files; empty where they do not say it."""
    modules = _json_of(folder / "modules.json") or []
    kinds = [str(module.get("type")).rpartition(".")[2] for module in modules]
    if not kinds:
        return ""
    size = f"{sum(_parameters(file) for file in folder.rglob('*.safetensors')) / 1e6:.1f} million parameters"
    if kinds[0] == "StaticEmbedding":
        return f"static token embeddings, {size}"
    config = _json_of(folder / str(modules[0].get("path")) / "config.json") or {}
    layers = config.get("num_hidden_layers", config.get("n_layers"))
    dense = " with a linear layer" if "Dense" in kinds else ""
    return f"{config.get('model_type', kinds[0])}{dense}, {layers} layers, {size}"


def _json_of(path: Path):
    try:
        return parse_json(path.read_bytes())
    except (OSError, ValueError):
        return None


def _parameters(file: Path) -> int:
    """Count the numbers in a safetensors file, from its header; 0 where it has none."""
    with contextlib.suppress(ValueError, TypeError):
        tensors, _ = safetensors_header(file)
        return sum(math.prod(entry["shape"]) for name, entry in tensors.items() if name != "__metadata__")
    return 0


def load_text_encoder(
    name_or_path: Any,
    *,
    pooling: str | None = None,
    l2_norm: bool = False,
    max_length: int | None = None,
    prompt: str | None = None,
    passage_prefix: str | None = None,
    truncate_dim: int | None = None,
    device: str = "cpu",
) -> "SentenceTransformer":
    """Load a text encoder as a ``SentenceTransformer``.

    Args:
        name_or_path: A sentence-transformers model, or a plain Hugging Face model with ``pooling``; name or folder. Or
            a loaded ``SentenceTransformer``, of which a copy in float32 is returned.
        pooling: ``"cls"``, ``"mean"`` or ``"lasttoken"``: build the pooling on top of the plain transformer,
            ignoring what the folder itself says. None: the folder must be a sentence-transformers model.
        l2_norm: Append L2 normalisation; only with ``pooling``.
        max_length: Truncate texts at this many tokens; None keeps the model's own limit.
        prompt: Text put before every query; kept in the saved folder.
        passage_prefix: Text put before every passage, with a space; None keeps the model's own prompt.
        truncate_dim: Keep the first so many dimensions (Matryoshka models); None keeps what the model says.
        device: torch device name.

    Raises:
        JPQError: the device or the model cannot be used, or the model says nothing of its pooling and ``pooling`` is
            None; its files lack weights or the tokenizer.
    """
    if l2_norm and pooling is None:
        raise JPQError(f"--l2-norm was given without --pooling for {name_or_path}: say --pooling cls or --pooling mean")
    check_device(device)
    if not isinstance(name_or_path, str | os.PathLike):
        if pooling is not None:
            raise JPQError(f"pooling {pooling} was given with a loaded model, which has its own: leave it out")
        model = copy.deepcopy(name_or_path).float().to(device)
        return _prepared(model, max_length, prompt, passage_prefix, truncate_dim)
    remedy = "name a model folder, or a model of the Hugging Face hub that is in its cache or can be reached"
    with loading("text encoder", name_or_path, remedy):
        saved_settings(name_or_path)  # of a format that this release knows
        model = load_model(str(name_or_path), pooling, l2_norm, device)
        return _prepared(model, max_length, prompt, passage_prefix, truncate_dim)


def origin_of(model: "SentenceTransformer") -> str | None:
    """Return the name or folder that a loaded model came from, if that says the pooling; None if it is not known."""
    config = getattr(getattr(model[0], "model", None), "config", None)
    name = getattr(config, "name_or_path", None)
    return name if name and says_its_pooling(name) else None


def weights_digest(model: "SentenceTransformer") -> str:
    """Return the SHA-256 of the weights of a loaded model."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().float().cpu().contiguous().numpy().data)
    return digest.hexdigest()


def query_prompt(model: "SentenceTransformer") -> str:
    """Return the text that ``encode_query`` puts before a query; empty for most models."""
    prompts = model.prompts or {}
    return prompts.get(QUERY_PROMPT, prompts.get(getattr(model, "default_prompt_name", None) or "")) or ""


def passage_prompt(model: "SentenceTransformer") -> str:
    """Return the text that ``encode_document`` puts before a passage; empty for most models."""
    prompts = model.prompts or {}
    names = (*_PASSAGE_PROMPTS, getattr(model, "default_prompt_name", None))
    return next((prompts[name] for name in names if name in prompts), "") or ""


def embed_queries(model: "SentenceTransformer", queries: Sequence[str], batch_size: int = 64, **options) -> np.ndarray:
    """Encode queries with ``encode_query``: the model's tower and prompt for them; returns (B, D) float32.

    A query alone goes the same way without the sorting and gathering of batches, which costs more than a small encoder.
    """
    if len(queries) == 1 and not options:
        import torch

        with torch.inference_mode():
            return _array(embed_with_gradients(model.eval(), queries).cpu())
    return _array(
        model.encode_query(list(queries), prompt=query_prompt(model), batch_size=batch_size, **_BARE | options)
    )


def embed_topics(model: "SentenceTransformer", texts: Sequence[str], **options) -> np.ndarray:
    """Encode queries as :func:`embed_queries` does, and log a warning if more than a few per cent of them are cut."""
    remedy = "train with a greater --max-query-length, or take an encoder that was not trained here"
    CutTexts(model, QUERY, "queries", remedy).count(texts, query_prompt(model))
    return embed_queries(model, texts, **options)


def embed_passages(model: "SentenceTransformer", texts: Sequence[str], batch_size: int = 32, **options) -> np.ndarray:
    """Encode passages with ``encode_document``: the model's tower and prompt for them; returns (N, D) float32."""
    return _array(model.encode_document(list(texts), batch_size=batch_size, **_BARE | options))


def embed_with_gradients(model: "SentenceTransformer", queries: Sequence[str]):
    """Encode queries as :func:`embed_queries` does, keeping the graph; returns a tensor (B, D) float32."""
    features = model.preprocess(list(queries), prompt=query_prompt(model), task=QUERY)
    device = model.device
    features = {key: value.to(device) if hasattr(value, "to") else value for key, value in features.items()}
    return model(features, task=QUERY)["sentence_embedding"].float()[:, : model.truncate_dim]


def save_text_encoder(model: "SentenceTransformer", path: str | os.PathLike) -> None:
    """Save the model, its tokenizer and pooling as a sentence-transformers folder that :func:`is_jpq_encoder` knows."""
    with quietly():
        model.save(str(path), create_model_card=False)
    record = {
        "format_version": FORMAT_VERSION,
        "dimension": model.get_embedding_dimension(),
        "max_length": length_limit(model, QUERY),
        "prompt": query_prompt(model),
    }
    (Path(path) / ENCODER_MARKER).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def _prepared(model, max_length: int | None, prompt: str | None, passage_prefix: str | None, truncate_dim: int | None):
    if max_length is not None:
        set_length_limit(model, max_length)
    if truncate_dim is not None:
        model.truncate_dim = None
        full = model.get_embedding_dimension()
        if not 1 <= truncate_dim <= full:
            raise JPQError(f"--truncate-dim {truncate_dim}: the encoder has {full} dimensions; give at most as many")
        model.truncate_dim = truncate_dim
    if prompt is not None:
        model.prompts = {**model.prompts, QUERY_PROMPT: prompt}
    if passage_prefix is not None:  # joined as Pyserini's own encoders do it
        others = {name: text for name, text in model.prompts.items() if name != "passage"}
        model.prompts = {**others, PASSAGE_PROMPT: f"{passage_prefix} " if passage_prefix else ""}
    return model


@contextlib.contextmanager
def loading(kind: str, name_or_path: str | os.PathLike, remedy: str) -> Iterator[None]:
    """Load a model :func:`quietly`; raise :class:`JPQError` with a line for whatever a library below raises."""
    try:
        with quietly():
            yield
    except JPQError:
        raise
    except Exception as error:  # each library has its own exception types
        raise JPQError(f"cannot load the {kind} {name_or_path!r} ({reason_of(error)}): {remedy}") from error


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Silence transformers' bars over a model's tensors, and the hub's reports of every retry before it gives up.

    Both are settings of the process: the first of several threads in such a block changes them, the last one puts them
    back.
    """
    from transformers.utils import logging as bars

    hub = logging.getLogger("huggingface_hub")
    with _LOCK:
        _before.append(_before[0] if _before else (bars.is_progress_bar_enabled(), hub.level))
        bars.disable_progress_bar()
        hub.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        with _LOCK:
            shown, level = _before.pop()
            if not _before:
                hub.setLevel(level)
                if shown:
                    bars.enable_progress_bar()


def _array(embeddings) -> np.ndarray:
    return np.ascontiguousarray(embeddings, dtype=np.float32)
