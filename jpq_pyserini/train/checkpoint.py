"""Checkpoints: all that a run needs to continue exactly as if it had never been stopped; no pickles.

A checkpoint is a directory ``step-N`` of safetensors and JSON inside the checkpoint directory. It is written beside and
renamed, so that a run killed at any moment leaves the last complete one.
"""

import json
import os
import re
import shutil
import signal
import threading
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from jpq_pyserini.errors import JPQError
from jpq_pyserini.json_text import read_json
from jpq_pyserini.resume import WorkFolder
from jpq_pyserini.storage import new_directory
from jpq_pyserini.train.model import JPQModel
from jpq_pyserini.train.optimizer import trained_parameters

_STEP = re.compile(r"step-(\d+)")
_TENSORS, _FACTS = "state.safetensors", "state.json"


@dataclass(frozen=True)
class Checkpoint:
    """A state at the end of a step: ``tensors`` by name, and JSON-able ``facts``."""

    step: int
    tensors: dict[str, Tensor]
    facts: dict


class CheckpointDirectory:
    """The checkpoints of one run; only the newest is kept.

    Args:
        path: a folder that may not be there yet.
        work: the same folder, for the process that writes it; None for one that only reads.
    """

    def __init__(self, path: str | os.PathLike, work: WorkFolder | None = None):
        self.path, self._work = Path(path), work

    def claim(self) -> None:
        """Make the directory for this run; what :meth:`save` does, too."""
        if self._work is not None:
            self._work.claim()

    def steps(self) -> list[int]:
        """The steps of the complete checkpoints, in rising order."""
        if not self.path.is_dir():
            return []
        return sorted(int(match[1]) for entry in self.path.iterdir() if (match := _STEP.fullmatch(entry.name)))

    def save(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint, then remove the older ones and what killed runs left."""
        target = self.path / f"step-{checkpoint.step}"
        if target.exists():
            return
        self.claim()
        with new_directory(target) as partial:
            save_file({name: tensor.contiguous() for name, tensor in checkpoint.tensors.items()}, partial / _TENSORS)
            (partial / _FACTS).write_text(json.dumps(checkpoint.facts), encoding="utf-8")
        for entry in self.path.glob("*step-*"):
            if entry != target:
                shutil.rmtree(entry, ignore_errors=True)

    def load(self) -> Checkpoint | None:
        """Return the newest checkpoint; None when there is none.

        Raises:
            JPQError: it is damaged.
        """
        steps = self.steps()
        if not steps:
            return None
        folder, remedy = self.path / f"step-{steps[-1]}", f"remove {self.path} and train again"
        try:
            facts = read_json(folder / _FACTS, remedy)
            tensors = load_file(folder / _TENSORS)
        except JPQError:
            raise
        except (OSError, ValueError, SafetensorError) as error:
            raise JPQError(f"{folder} is damaged ({error}): {remedy}") from error
        return Checkpoint(steps[-1], tensors, facts)

    def remove(self) -> None:
        """Remove the directory: the run is finished."""
        shutil.rmtree(self.path, ignore_errors=True)


def tensors_of(model: JPQModel, best: dict[str, Tensor], optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return all that the next steps depend on: weights, the best ones so far, optimizer and random numbers."""
    tensors = {f"model.{name}": value.detach() for name, value in trained_parameters(model).items()}
    tensors |= {f"best.{name}": value for name, value in best.items()}
    state = optimizer.state_dict()["state"]  # parameters are numbered in order
    tensors |= {f"optimizer.{index}.{key}": value for index, values in state.items() for key, value in values.items()}
    tensors["rng.cpu"] = torch.get_rng_state()
    if model.device.type == "cuda":
        tensors["rng.cuda"] = torch.cuda.get_rng_state(model.device)
    return tensors


def restore(tensors: dict[str, Tensor], model: JPQModel, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Put back what :func:`tensors_of` took; returns the best weights."""
    with torch.no_grad():
        for name, value in trained_parameters(model).items():
            value.copy_(tensors[f"model.{name}"])
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("optimizer."):
            _, index, key = name.split(".", 2)
            state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    torch.set_rng_state(tensors["rng.cpu"])
    if "rng.cuda" in tensors:
        torch.cuda.set_rng_state(tensors["rng.cuda"], model.device)
    return {name: tensors[f"best.{name}"].to(model.device) for name in trained_parameters(model)}


class StopRequests:
    """Lets a step end before a signal stops the run: the first SIGINT or SIGTERM sets ``requested``.

    A second one acts as usual. Does nothing outside the main thread, where Python delivers no signals.
    """

    def __init__(self):
        self.requested = False
        self._previous: dict[int, object] = {}

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._request)
        return self

    def __exit__(self, *_):
        self._restore()

    def _request(self, number, frame):
        self.requested = True
        self._restore()

    def _restore(self):
        while self._previous:
            number, handler = self._previous.popitem()
            signal.signal(number, handler)
