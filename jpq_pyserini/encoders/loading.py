"""A model folder to a ``SentenceTransformer`` in float32, refused when what was loaded is not what the files hold."""

import contextlib
import itertools
import logging
import os
import re
import tempfile
import threading
from collections.abc import Iterator
from functools import wraps
from typing import TYPE_CHECKING

from jpq_pyserini.data.lines import refuse_pointers
from jpq_pyserini.encoders.limits import towers
from jpq_pyserini.errors import JPQError, reason_of

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

POOLINGS = ("cls", "mean", "lasttoken")
#: Models that carry their own Python code are run only when this is 1.
TRUST_VARIABLE = "JPQ_TRUST_REMOTE_CODE"

_LOCK = threading.Lock()
# What pooling never reads, so that it may be drawn at random; and heads of other tasks, which may be left in the file.
_UNUSED = re.compile(r"(^|\.)pooler\.")
_HEADS = re.compile(
    r"(^|\.)(pooler|cls|lm_head|mlm_head|classifier|qa_outputs|predictions|discriminator_predictions|"
    r"generator_predictions|generator_lm_head|vocab_transform|vocab_layer_norm|vocab_projector|score|sop_classifier|"
    r"mask_predictions|lm_predictions)\.|^head\.(dense|norm)\.|^decoder\.(weight|bias)$|"  # ModernBERT's
    r"position_ids$|rotary_emb\.inv_freq$"
)
_WORDS = 100  # of a vocabulary that its tokenizer is asked to find
_LEAST_VOCABULARY = 0.5  # of the word embeddings; tables are padded by a few per cent at most


def check_device(device: str) -> None:
    """Raise :class:`JPQError` if torch has no such device, or cannot compute on it here."""
    import torch

    try:
        torch.ones(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError, ValueError) as error:
        raise JPQError(
            f"the device {device!r} cannot be used here ({reason_of(error)}): take cpu, or on a machine with a GPU "
            "that torch sees cuda or cuda:0"
        ) from None


def load_model(name_or_path: str, pooling: str | None, l2_norm: bool, device: str) -> "SentenceTransformer":
    """Load a model; its weights are in float32 whatever the file has, so that training can take small steps.

    Args:
        name_or_path, pooling, l2_norm, device: as for :func:`jpq_pyserini.encoders.text_encoder.load_text_encoder`.

    Raises:
        JPQError: unknown pooling, weights without a place or places without weights, a vocabulary that does not fit
            the word embeddings, code in the folder; see the message. Other libraries' exceptions pass.
    """
    if os.path.isdir(name_or_path):
        refuse_pointers(name_or_path)
    with checked_weights(name_or_path):
        model = _load(name_or_path, pooling, l2_norm, device)
    for tower in set(towers(model).values()):
        tokenizer, transformer = getattr(tower, "tokenizer", None), getattr(tower, "model", None)
        if transformer is None or tokenizer is None:
            continue  # static embeddings, whose tokenizer and table are one file's
        _check_vocabulary(name_or_path, tokenizer, transformer)
        if getattr(tokenizer, "pad_token", "") is None and tokenizer.eos_token is not None:  # as in many decoders
            tokenizer.pad_token = tokenizer.eos_token
        if hasattr(transformer, "wpe"):  # GPT-2 and its kind, whose positions count the padding before a text, too
            tokenizer.padding_side = "right"
    return model.float()


def _load(name_or_path: str, pooling: str | None, l2_norm: bool, device: str) -> "SentenceTransformer":
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

    trusted = os.environ.get(TRUST_VARIABLE) == "1"
    dpr = _check_architecture(name_or_path, trusted)
    if dpr is not None:
        if pooling not in (None, "cls") or l2_norm:
            raise JPQError(f"{name_or_path} is a DPR model, which is pooled by CLS and not normalised: leave these out")
        return _load_dpr(name_or_path, dpr, device)
    if pooling is not None:
        if pooling not in POOLINGS:
            raise JPQError(f"--pooling {pooling} is unknown: choose one of {', '.join(POOLINGS)}")
        code = {"trust_remote_code": trusted}
        transformer = Transformer(
            name_or_path, model_kwargs=dict(code), processor_kwargs=dict(code), config_kwargs=dict(code)
        )
        modules = [transformer, Pooling(transformer.get_embedding_dimension(), pooling_mode=pooling)]
        return SentenceTransformer(modules=modules + [Normalize()] * l2_norm, device=device)
    if not says_its_pooling(name_or_path):
        raise JPQError(
            f"{name_or_path} has no modules.json, so its pooling is unknown: "
            "add --pooling cls or --pooling mean (decoders: lasttoken), and --l2-norm if its embeddings are normalised"
        )
    return SentenceTransformer(name_or_path, device=device, trust_remote_code=trusted)


def says_its_pooling(name_or_path: str) -> bool:
    """Whether a name or folder is a sentence-transformers model, with ``modules.json``."""
    if os.path.isdir(name_or_path):
        return os.path.isfile(os.path.join(name_or_path, "modules.json"))
    from transformers.utils import cached_file

    for file in ("modules.json", "config.json"):  # a model that cannot be reached at all is for the loader to refuse
        with contextlib.suppress(OSError):
            found = cached_file(
                name_or_path,
                file,
                _raise_exceptions_for_missing_entries=False,
                _raise_exceptions_for_connection_errors=False,
            )
            if found is not None:
                return file == "modules.json"
    return True


def _check_architecture(name_or_path: str, trusted: bool) -> str | None:
    """Raise :class:`JPQError` for what cannot be loaded as an encoder, before anything large is read.

    Returns:
        The class of a DPR model; None of any other.
    """
    from transformers import PretrainedConfig

    try:
        config, _ = PretrainedConfig.get_config_dict(name_or_path)
    except (OSError, ValueError):
        return None
    if config.get("model_type") == "dpr":
        return _dpr_kind(name_or_path, config)
    if config.get("auto_map") and not trusted:
        from transformers.models.auto.configuration_auto import CONFIG_MAPPING

        if config.get("model_type") not in CONFIG_MAPPING:
            raise JPQError(
                f"{name_or_path} brings its own Python code, which is not run unless you ask for it: read the code, "
                f"then set the environment variable {TRUST_VARIABLE}=1"
            )
    return None


def _dpr_kind(name_or_path: str, config: dict) -> str:
    kind = (config.get("architectures") or ["DPRQuestionEncoder"])[0]
    if kind not in ("DPRQuestionEncoder", "DPRContextEncoder") or config.get("projection_dim"):
        raise JPQError(
            f"{name_or_path} is a DPR model of class {kind}"
            f"{', with a layer after its BERT' if config.get('projection_dim') else ''}: name a question encoder (as "
            "--query-encoder) or a context encoder without one"
        )
    return kind


def _load_dpr(name_or_path: str, kind: str, device: str) -> "SentenceTransformer":
    """Load a DPR encoder: its BERT, whose first token is the vector."""
    import transformers

    whole = getattr(transformers, kind).from_pretrained(name_or_path)
    inner = whole.question_encoder if kind == "DPRQuestionEncoder" else whole.ctx_encoder
    bert = transformers.BertModel(transformers.BertConfig.from_dict(whole.config.to_dict()), add_pooling_layer=False)
    bert.load_state_dict(inner.bert_model.state_dict())
    with tempfile.TemporaryDirectory() as folder:
        bert.save_pretrained(folder)
        transformers.AutoTokenizer.from_pretrained(name_or_path).save_pretrained(folder)
        return _load(folder, "cls", False, device)


@contextlib.contextmanager
def checked_weights(name_or_path: str) -> Iterator[None]:
    """Raise :class:`JPQError` if a model of transformers that is loaded meanwhile has not the weights of its files."""
    with _loading_reports() as reports:
        yield
    for kind, prefix, found in reports:
        _check_weights(name_or_path, kind, prefix, found)


@contextlib.contextmanager
def _loading_reports() -> Iterator[list[tuple[type, str, dict]]]:
    """Collect, of each transformers model that this thread loads: its class, the prefix of its weights, what is amiss.

    transformers only logs weights that it drew at random; ``output_loading_info`` tells, but sentence-transformers has
    no way to ask for it.
    """
    from transformers import PreTrainedModel

    reports: list[tuple[type, str, dict]] = []
    owner = threading.get_ident()
    with _LOCK:
        plain = PreTrainedModel.__dict__["from_pretrained"]

        @wraps(plain.__func__)
        def reporting(cls, *args, **kwargs):
            if threading.get_ident() != owner or kwargs.get("output_loading_info"):
                return plain.__func__(cls, *args, **kwargs)
            model, found = plain.__func__(cls, *args, **kwargs, output_loading_info=True)
            reports.append((type(model), model.base_model_prefix, found))
            return model

        PreTrainedModel.from_pretrained = classmethod(reporting)
        log = logging.getLogger("transformers.modeling_utils")
        log.addFilter(_is_no_report)
        try:
            yield reports
        finally:
            PreTrainedModel.from_pretrained = plain
            log.removeFilter(_is_no_report)


def _is_no_report(record: logging.LogRecord) -> bool:
    return "LOAD REPORT" not in record.getMessage()  # its table of what is amiss: ours is one line


def _check_weights(name_or_path: str, kind: type, prefix: str, found: dict) -> None:
    missing = sorted(key for key in found["missing_keys"] if not _UNUSED.search(key))
    names = (str(key).removeprefix(f"{prefix}.") for key in found["unexpected_keys"])
    unexpected = sorted(name for name in names if not _HEADS.search(name))
    if not missing and not unexpected:
        return
    parts = []
    if missing:
        parts.append(f"has no weights for {len(missing)} places of a {kind.__name__} ({missing[0]}, …)")
    if unexpected:
        parts.append(f"has {len(unexpected)} weights for which there is no place ({unexpected[0]}, …)")
    raise JPQError(
        f"{name_or_path} {' and '.join(parts)}, so it would not be the model that was trained: copy or download it "
        "again, or convert it to a sentence-transformers model"
    )


def _check_vocabulary(name_or_path: str, tokenizer, transformer) -> None:
    import torch

    table = transformer.get_input_embeddings()
    size = getattr(tokenizer, "vocab_size", None)
    if not isinstance(table, torch.nn.Embedding) or not isinstance(size, int):
        return
    words, rows = len(tokenizer), table.num_embeddings
    if size > rows or words < _LEAST_VOCABULARY * rows:
        raise JPQError(
            f"{name_or_path}: its tokenizer has {words:,} words, its word embeddings are {rows:,}: copy the tokenizer "
            "files of this model (tokenizer.json, tokenizer_config.json, vocabulary) into the folder"
        )
    plain = (word.strip("▁Ġ#") for word in tokenizer.get_vocab() if word not in tokenizer.all_special_tokens)
    known = list(itertools.islice((word for word in plain if word.isalnum()), _WORDS))
    if not known:
        raise JPQError(
            f"{name_or_path}: its tokenizer knows no words: copy the tokenizer files of this model (tokenizer.json, "
            "tokenizer_config.json, vocabulary) into the folder"
        )
    if len(set(tokenizer(" ".join(known), verbose=False)["input_ids"])) < len(known) / 10:
        raise JPQError(
            f"{name_or_path}: its tokenizer, a {type(tokenizer).__name__}, does not know its own words ({known[0]}): "
            "the tokenizer files are of another kind than config.json says; copy those of this model"
        )
