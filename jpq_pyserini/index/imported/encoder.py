"""The encoders of the authors' release, turned into sentence-transformers folders.

Theirs is RoBERTa, a linear layer and LayerNorm on the first token (``RobertaDot`` in jpq/model.py of
https://github.com/jingtaozhan/JPQ); the dual encoders (``JPQTower``) hold the centroids and the rotation too. The
folders have ``config.json`` and ``pytorch_model.bin`` but no tokenizer: that is ``roberta-base``, as Transformers 2.8
ran it.
"""

import os
import pickle
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from jpq_pyserini.errors import JPQError, reason_of
from jpq_pyserini.json_text import read_json

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from transformers import PreTrainedTokenizerFast

TOKENIZER = "roberta-base"
MAX_QUERY_LENGTH = 32  # --max_query_length of their retrieval scripts
MAX_LENGTH = 512  # of documents, and of queries in their zero-shot script

_HEAD = ("embeddingHead.weight", "embeddingHead.bias", "norm.weight", "norm.bias")
_TOWER = ("centroids", "rotation")
#: In their checkpoints or in older ones, and without any effect on the embeddings.
_UNUSED = ("roberta.embeddings.position_ids", "roberta.pooler.", "lm_head.", "classifier.")


@dataclass(frozen=True)
class ReleasedEncoder:
    """What one encoder folder of the release holds.

    Attributes:
        path: the folder.
        config: ``config.json``.
        weights: name → tensor.
        centroids: (M, K, D/M) float32 of a dual encoder; None for the plain query encoders.
        rotation: (D, D) float32 of a dual encoder, or None.
    """

    path: Path
    config: dict
    weights: dict
    centroids: np.ndarray | None
    rotation: np.ndarray | None

    @property
    def dimension(self) -> int:
        """D."""
        return self.weights["norm.weight"].shape[0]


def read_encoder(path: str | os.PathLike) -> ReleasedEncoder:
    """Read a folder of the release. No code inside it is run: the weights are read as tensors only.

    Raises:
        JPQError: a file is missing or damaged, or it is another model.
    """
    path, remedy = Path(path), "name a query encoder folder of the authors' release"
    try:
        config = read_json(path / "config.json", remedy)
    except FileNotFoundError:
        raise JPQError(f"{path}/config.json is missing: {remedy}") from None
    if config.get("model_type", "roberta") != "roberta":
        raise JPQError(
            f"{path} is a {config['model_type']} model, the authors' encoders are roberta: name one of theirs"
        )
    weights = _read_weights(path)
    missing = [name for name in _HEAD if name not in weights]
    if missing:
        raise JPQError(
            f"{path} has no weights called {', '.join(missing)}, so it is no encoder of the authors' release "
            "(RoBERTa, linear layer, LayerNorm): name the folder that holds their config.json and pytorch_model.bin"
        )
    arrays = {name: weights.pop(name).float().numpy() for name in _TOWER if name in weights}
    weights = {name: tensor for name, tensor in weights.items() if not name.startswith(_UNUSED)}
    return ReleasedEncoder(path, config, weights, arrays.get("centroids"), arrays.get("rotation"))


def to_text_encoder(
    encoder: ReleasedEncoder, tokenizer: str | Path | None, max_length: int = MAX_QUERY_LENGTH
) -> "SentenceTransformer":
    """Build the same encoder from sentence-transformers modules; it gives *unrotated* embeddings (B, D).

    Args:
        encoder: as :func:`read_encoder` gives it.
        tokenizer: name or folder of a RoBERTa tokenizer; None: the encoder's own folder if it has one, else
            ``roberta-base``.
        max_length: texts are cut at this many tokens.

    Raises:
        JPQError: the weights do not fit ``config.json``, or the tokenizer cannot be loaded.
    """
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Dense, LayerNorm, Pooling, Transformer
    from transformers import RobertaConfig, RobertaModel

    config = RobertaConfig(**{key: value for key, value in encoder.config.items() if not key.startswith("MCQ_")})
    config.architectures = ["RobertaModel"]
    model = RobertaModel(config)
    body = {name.removeprefix("roberta."): tensor for name, tensor in encoder.weights.items() if name not in _HEAD}
    # Not used, but whoever loads the folder would miss it and fill it with random numbers.
    body |= {f"pooler.{name}": torch.zeros_like(tensor) for name, tensor in model.pooler.state_dict().items()}
    fast = _tokenizer_for(encoder, tokenizer, config.vocab_size)
    try:
        model.load_state_dict(body)
        dense = Dense(config.hidden_size, encoder.dimension, activation_function=torch.nn.Identity())
        dense.linear.load_state_dict({part: encoder.weights[f"embeddingHead.{part}"] for part in ("weight", "bias")})
        norm = LayerNorm(encoder.dimension)
        norm.norm.load_state_dict({part: encoder.weights[f"norm.{part}"] for part in ("weight", "bias")})
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise JPQError(
            f"{encoder.path}: the weights do not fit config.json ({reason}): unpack the archive again"
        ) from error
    with tempfile.TemporaryDirectory() as folder:
        model.float().save_pretrained(folder)
        fast.save_pretrained(folder)
        transformer = Transformer(folder)
    pooling = Pooling(config.hidden_size, pooling_mode="cls")
    text_encoder = SentenceTransformer(modules=[transformer, pooling, dense, norm], device="cpu")
    text_encoder.max_seq_length = min(max_length, config.max_position_embeddings - config.pad_token_id - 1)
    return text_encoder.eval()


def _tokenizer_for(encoder: ReleasedEncoder, tokenizer, size: int) -> "PreTrainedTokenizerFast":
    own = encoder.path / "vocab.json"
    fast = old_tokenizer(tokenizer or (encoder.path if own.is_file() else TOKENIZER))
    if len(fast) != size:
        raise JPQError(
            f"the tokenizer has {len(fast):,} tokens, the encoder in {encoder.path} {size:,}: "
            f"give the tokenizer that it was trained with ({TOKENIZER})"
        )
    return fast


def old_tokenizer(name_or_path: str | Path) -> "PreTrainedTokenizerFast":
    """Make today's fast RoBERTa tokenizer give the ids of Transformers 2.8 with ``do_lower_case=True``.

    That one cut white space at the end, lower-cased one character at a time and put a space before the text unless it
    had one, so that the first word is encoded like any other; an empty text gives ``<s></s>``. Neither can be had from
    options of today's class, which rebuilds itself from vocabulary and merges: hence a tokenizer that is wholly written
    out in its ``tokenizer.json``. Not the same: texts that hold ``<s>`` and the like, and a tab at the start.

    Raises:
        JPQError: there is no such tokenizer, here or in the offline cache, or it is no byte-level BPE.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast
    from transformers.tokenization_utils_base import AddedToken

    remedy = f"give --tokenizer FOLDER with vocab.json and merges.txt of {TOKENIZER}"
    try:
        backend = Tokenizer(models.BPE.from_file(*_vocabulary_files(str(name_or_path))))
    except Exception as error:  # a dozen kinds of errors below, of the hub and of the files
        reason = reason_of(error)
        raise JPQError(f"cannot load the tokenizer {str(name_or_path)!r} ({reason}): {remedy}") from error
    start, end = backend.token_to_id("<s>"), backend.token_to_id("</s>")
    if start is None or end is None:
        raise JPQError(f"the tokenizer {str(name_or_path)!r} has no <s> and </s>, so it is no RoBERTa's: {remedy}")
    backend.normalizer = normalizers.Sequence([normalizers.Strip(left=False, right=True), normalizers.Lowercase()])
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    backend.decoder = decoders.ByteLevel()
    backend.post_processor = processors.RobertaProcessing(("</s>", end), ("<s>", start))
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        model_max_length=MAX_LENGTH,
        bos_token="<s>",
        cls_token="<s>",
        eos_token="</s>",
        sep_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        mask_token=AddedToken("<mask>", lstrip=True),
    )


def _vocabulary_files(name_or_path: str) -> list[str]:
    """Return vocab.json and merges.txt of a folder or of a model on the Hub, whose cache serves offline.

    The tokenizer classes of Transformers are not asked: where the files are missing, they make up five tokens.
    """
    from huggingface_hub import hf_hub_download

    names = ("vocab.json", "merges.txt")
    if Path(name_or_path).is_dir():
        return [str(Path(name_or_path, name)) for name in names]
    return [hf_hub_download(name_or_path, name) for name in names]


def _read_weights(path: Path) -> dict:
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    safe, pickled = path / "model.safetensors", path / "pytorch_model.bin"
    try:
        if safe.is_file():
            return load_file(safe)
        weights = torch.load(pickled, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise JPQError(f"{path} has no {pickled.name} and no {safe.name}: unpack the archive of the release") from error
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise JPQError(
            f"{path} holds no plain tensors (damaged, or a pickle with code, which is not run): fetch it again"
        ) from error
    if not isinstance(weights, dict) or not all(isinstance(tensor, torch.Tensor) for tensor in weights.values()):
        raise JPQError(f"{pickled} holds no table of tensors: fetch it again")
    return dict(weights)
