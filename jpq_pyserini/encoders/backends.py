"""How a query encoder is run: by torch, by ONNX Runtime in float32 or with 8-bit weights, or by OpenVINO.

Encoding is the larger part of a query's time on a CPU. ONNX Runtime comes with Pyserini and gives torch's vectors in
less time, so that training exports the query encoder (:func:`export_checked`), and CPUs run that unless a folder asks
for another backend. ``onnx`` is needed only to export. OpenVINO reads the ONNX file, and computes in bfloat16 where the
processor has instructions for it. sentence-transformers has such backends too, but they need ``optimum``, whose
releases exclude transformers 5.
"""

import json
import os
import shutil
import tempfile
import threading
import warnings
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from jpq_pyserini.cli import note
from jpq_pyserini.encoders.text_encoder import EXPORTED, embed_passages, embed_queries, saved_settings
from jpq_pyserini.errors import JPQError, reason_of
from jpq_pyserini.names import ENCODER_MARKER
from jpq_pyserini.timing import timed

#: For passages: whichever of torch and ONNX is measured to be the faster, where both give the same vectors.
AUTO = "auto"
_FASTER = 0.9  # of torch's time is what ONNX must take at most to be chosen
TORCH, ONNX, ONNX_INT8, OPENVINO = BACKENDS = ("torch", "onnx", "onnx-int8", "openvino")
_FILES = {ONNX: "onnx/model.onnx", ONNX_INT8: "onnx/model_int8.onnx", OPENVINO: "onnx/model.onnx"}
_LEAST_EQUAL = 1e-4  # of such a difference, with which the exported encoder is taken for the same
_CHECKED_ON = ["a", "what is the capital of france?", "The quick brown fox jumps over the lazy dog. " * 8]
_INPUTS = ("input_ids", "attention_mask", "token_type_ids")


def saved_backend(folder: str | os.PathLike) -> str:
    """Return the backend that a saved query encoder asks for.

    When it asks for none: ONNX where :func:`export_checked` has exported it and ONNX Runtime is installed, else torch.
    """
    settings = saved_settings(folder)
    fast = EXPORTED in settings and (Path(folder) / _FILES[ONNX]).is_file() and find_spec("onnxruntime") is not None
    return settings.get("backend", ONNX if fast else TORCH)


def check_backend(backend: str) -> None:
    """Raise :class:`JPQError` if there is no such backend."""
    if backend not in BACKENDS:
        raise JPQError(f"the encoder backend {backend!r} is unknown: choose one of {', '.join(BACKENDS)}")


def export(model, folder: str | os.PathLike, backend: str) -> None:
    """Write the ONNX file of ``backend`` into a saved query encoder and make it the one that the folder asks for.

    Args:
        model: the ``SentenceTransformer`` that was saved in ``folder``; only its transformer is exported.
        folder: what :func:`jpq_pyserini.encoders.text_encoder.save_text_encoder` wrote.
        backend: one of :data:`BACKENDS`; ``"torch"`` only changes the setting.
    """
    check_backend(backend)
    if backend != TORCH:
        target = Path(folder) / _FILES[backend]
        target.parent.mkdir(exist_ok=True)
        _transformer_of(model, backend)
        _export(model, target, backend == ONNX_INT8)
    _add_settings(folder, backend=backend)


def export_checked(model, folder: str | os.PathLike) -> str | None:
    """Write the ONNX file into a saved query encoder, for CPUs to run, if its vectors are those of torch.

    Args:
        model: the ``SentenceTransformer`` that was saved in ``folder``.
        folder: as for :func:`export`. Nothing changes there where exporting fails.

    Returns:
        Why the encoder stays with torch; None where it was exported, or is a table of vectors, which needs no more.
    """
    first, device = model[0], model.device
    if type(first).__name__ == "StaticEmbedding":
        return None
    target = Path(folder) / _FILES[ONNX]
    original: Any = getattr(first, "model", None)
    target.parent.mkdir(exist_ok=True)
    try:
        _transformer_of(model.to("cpu"), ONNX)
        _export(model, target, int8=False)
        expected = embed_queries(model, _CHECKED_ON)
        first.model = _ExportedModel(original.config, *_onnxruntime(target))
        found = embed_queries(model, _CHECKED_ON)
        difference = float(np.abs(found - expected).max() / np.linalg.norm(expected, axis=1).max())
        if not difference <= _LEAST_EQUAL:
            raise JPQError(f"the exported vectors differ by {difference:.2g} of their length")
    except Exception as error:  # of the exporter, of the runtime, of models that nobody has seen
        shutil.rmtree(target.parent)
        return reason_of(error)
    finally:
        if original is not None:
            first.model = original
        model.to(device)
    _add_settings(folder, **{EXPORTED: difference})
    return None


def _add_settings(folder: str | os.PathLike, **settings) -> None:
    settings = saved_settings(folder) | settings
    (Path(folder) / ENCODER_MARKER).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def exported(model, backend: str, device: str = "cpu"):
    """Return ``model`` with its transformer run by ``backend``, for which it is exported on the spot.

    Raises:
        JPQError: as :func:`export` and :func:`apply`.
    """
    check_backend(backend)
    if backend != TORCH:
        _check_device(backend, device)
        _transformer_of(model, backend)
        with tempfile.TemporaryDirectory() as scratch:
            target = Path(scratch) / _FILES[backend]
            target.parent.mkdir()
            _export(model, target, backend == ONNX_INT8)
            apply(model, scratch, backend, device)
    return model


def fastest(model, batches: Sequence[Sequence[str]]) -> str:
    """Let ``model`` encode passages with the faster of torch and ONNX Runtime, on a CPU; returns which that is.

    Args:
        model: a ``SentenceTransformer`` in torch; it runs as is chosen afterwards.
        batches: passages, a batch at a time; the first warms up.
    """
    first = model[0]
    original = getattr(first, "model", None)
    try:
        exported(model, ONNX)
    except JPQError as error:
        note(f"passages are encoded with torch: {error}")
        return TORCH
    run = first.model
    seconds: dict[str, list[float]] = {TORCH: [], ONNX: []}
    for batch in batches:
        vectors = []
        for backend, module in ((TORCH, original), (ONNX, run)):
            first.model = module
            found, taken = timed(embed_passages, model, batch)
            vectors.append(found)
            seconds[backend].append(taken)
        length = np.linalg.norm(vectors[0], axis=1).max()
        if not np.abs(vectors[1] - vectors[0]).max() <= _LEAST_EQUAL * length:
            seconds[ONNX].append(float("inf"))
    chosen = ONNX if sum(seconds[ONNX][1:]) <= _FASTER * sum(seconds[TORCH][1:]) else TORCH
    first.model = run if chosen == ONNX else original
    return chosen


def apply(model, folder: str | os.PathLike, backend: str, device: str = "cpu") -> None:
    """Let ``model``, loaded from ``folder``, run its transformer with ``backend``; its torch weights are freed.

    Raises:
        JPQError: unknown backend, not exported or not installed, or another device than the CPU asked for.
    """
    check_backend(backend)
    if backend == TORCH:
        return
    path = Path(folder) / _FILES[backend]
    if not path.is_file():
        raise JPQError(
            f"{path} is missing: make it with `python -m jpq_pyserini.index convert --encoder-backend {backend}`"
        )
    _check_device(backend, device)
    transformer = _transformer_of(model, backend)
    names, run = (_openvino if backend == OPENVINO else _onnxruntime)(path)
    transformer.model = _ExportedModel(transformer.model.config, names, run)


def apply_saved(model, folder: str | os.PathLike, device: str = "cpu") -> str:
    """Let ``model`` run as its folder says, on a CPU; returns the backend that does it.

    Raises:
        JPQError: the folder asks for a backend that cannot be had. What is only the default makes way for torch.
    """
    backend = saved_backend(folder)
    if not str(device).startswith("cpu"):
        return TORCH  # what the folder asks for is meant for CPUs
    try:
        apply(model, folder, backend, device)
    except JPQError as error:
        if "backend" in saved_settings(folder):
            raise
        note(f"{error}; torch encodes the queries, which takes longer")
        return TORCH
    return backend


def _transformer_of(model, backend: str):
    """Return the first module of a model; :class:`JPQError` if it is none that can be exported."""
    if not isinstance(getattr(model[0], "model", None), torch.nn.Module):
        kind = type(model[0]).__name__
        raise JPQError(f"the encoder backend {backend} runs transformers, not a {kind}: use the backend torch")
    return model[0]


def _check_device(backend: str, device: str) -> None:
    if not str(device).startswith("cpu"):
        raise JPQError(f"the encoder backend {backend} runs on the CPU, not on {device}: use the backend torch there")


class _ExportedModel(torch.nn.Module):
    """Takes the place of a transformers model; gives its ``last_hidden_state``.

    Args:
        config: that model's.
        names: the inputs that ``run`` wants.
        run: arrays by name → (B, tokens, D) float32.
    """

    def __init__(self, config, names: Sequence[str], run: Callable[[dict], np.ndarray]):
        super().__init__()
        self.config, self._names, self._run = config, names, run
        self.place = torch.nn.Parameter(
            torch.zeros(1), requires_grad=False
        )  # what sentence-transformers asks for device

    def forward(self, **features):
        from transformers.modeling_outputs import BaseModelOutput

        inputs = {name: features[name].numpy() for name in self._names}
        return BaseModelOutput(last_hidden_state=torch.from_numpy(self._run(inputs)))


class _Exportable(torch.nn.Module):
    def __init__(self, model, names):
        super().__init__()
        self.model, self.names = model, names

    def forward(self, *values):
        return self.model(**dict(zip(self.names, values, strict=True))).last_hidden_state


def _onnxruntime(path: Path) -> tuple[list[str], Callable[[dict], np.ndarray]]:
    try:
        import onnxruntime
    except ImportError:
        raise JPQError(
            "onnxruntime is not installed: pip install onnxruntime, or use the encoder backend torch"
        ) from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has its own exception types
        raise _unreadable(path, error) from error
    return [each.name for each in session.get_inputs()], lambda inputs: session.run(None, inputs)[0]


def _openvino(path: Path) -> tuple[list[str], Callable[[dict], np.ndarray]]:
    try:
        import openvino
    except ImportError:
        raise JPQError(
            "openvino is not installed: pip install openvino, or use the encoder backend onnx, of the same file"
        ) from None
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    try:
        compiled = openvino.Core().compile_model(str(path), "CPU", settings)
    except RuntimeError as error:
        raise _unreadable(path, error) from error
    request, lock = compiled.create_infer_request(), threading.Lock()

    def run(inputs: dict) -> np.ndarray:
        with lock:  # a request runs once at a time
            return request.infer(inputs, share_inputs=True)[0]

    return [each.any_name for each in compiled.inputs], run


def _unreadable(path: Path, error: Exception) -> JPQError:
    return JPQError(f"{path} cannot be loaded ({reason_of(error)}): export it again")


def _export(model, target: Path, int8: bool) -> None:
    try:
        import onnx
    except ImportError:
        raise JPQError("exporting an encoder needs onnx: pip install onnx") from None
    transformer = model[0].model
    example = {name: value for name, value in model.preprocess(["a", "b c"]).items() if name in _INPUTS}
    example = {name: value.cpu() for name, value in example.items()}
    names = list(example)
    was_training, device = transformer.training, next(transformer.parameters()).device
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain = Path(scratch) / "plain.onnx"
        torch.onnx.export(
            _Exportable(transformer.cpu().float().eval(), names),
            tuple(example.values()),
            str(plain),
            input_names=names,
            output_names=["last_hidden_state"],
            dynamic_axes={name: {0: "batch", 1: "tokens"} for name in [*names, "last_hidden_state"]},
            opset_version=17,
            dynamo=False,  # the other exporter needs onnxscript, and is ten times slower
        )
        if int8:
            from onnxruntime.quantization import QuantType, quantize_dynamic

            graph = onnx.load(plain)
            # Else it advises every caller to simplify the graph first, which is of no use here.
            onnx.helper.set_model_props(graph, {"onnx.quant.pre_process": "onnxruntime.quant"})
            onnx.save(graph, plain)
            quantize_dynamic(str(plain), str(target), weight_type=QuantType.QInt8, per_channel=True)
        else:
            os.replace(plain, target)
    transformer.to(device).train(was_training)
