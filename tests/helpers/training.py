"""Trainings that take a second, in process and from the command line."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jpq_pyserini import JPQIndex, TrainConfig, train_index

from helpers.forked import Forked

SETTINGS = {"m": 8, "nbits": 4, "opq_iterations": 3, "negatives": 20, "score_scale": 1.0, "held_out": 0.0}


FAST = {
    **SETTINGS,
    "epochs": 8,
    "encoder_lr": 1e-3,
    "centroid_lr": 1e-3,
    "batch_size": 16,
    "precision": "fp32",
    "onnx": False,
}


def run(tiny, queries, output, dev=True, **settings):
    return train_index(
        tiny / "flat",
        str(tiny / "encoder"),
        output,
        queries / "train.tsv",
        queries / "train.txt",
        queries / "dev.tsv" if dev else None,
        queries / "dev.txt" if dev else None,
        TrainConfig(**{**FAST, **settings}),
        progress=False,
    )


def encoder_weights(path):
    from safetensors.numpy import load_file

    return load_file(path / "query_encoder" / "model.safetensors")


def command(tiny, queries, output, *more, module=("-m", "jpq_pyserini.train"), **settings):
    """The command line of a run that takes a while; returns arguments for subprocess."""
    settings = {**FAST, "epochs": 12, "checkpoint_steps": 2, "eval_steps": 24, "device": "cpu", **settings}
    flags = []
    for name, value in settings.items():
        flag = "--sub-vectors" if name == "m" else "--" + name.replace("_", "-")  # torchrun takes --m for its own
        flags += [flag.replace("--", "--no-", 1)] if value is False else [flag, str(value)]
    data = ["--embeddings", tiny / "flat", "--encoder", tiny / "encoder", "--output", output]
    judged = ["--topics", queries / "train.tsv", "--qrels", queries / "train.txt"]
    dev = ["--dev-topics", queries / "dev.tsv", "--dev-qrels", queries / "dev.txt"]
    return [sys.executable, *map(str, [*module, *data, *judged, *dev, *flags, *more])]


ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}


def start(arguments) -> subprocess.Popen:
    return subprocess.Popen(arguments, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wait_for_step(checkpoints: Path, step: int, process) -> None:
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and process.poll() is None:
        done = [int(entry.name[5:]) for entry in checkpoints.glob("step-*")] if checkpoints.is_dir() else []
        if max(done, default=-1) >= step:
            return
        time.sleep(0.02)
    pytest.fail(f"never reached step {step}: {process.communicate()[0]}")


def fork(arguments, **environment) -> Forked:
    """Like :func:`start`, forked from a process that has torch."""
    python, m, module, *words = arguments
    assert (python, m, module) == (sys.executable, "-m", "jpq_pyserini.train")
    return Forked(["train", *words], Path.cwd(), **{**ENVIRONMENT, **environment})


def fork_two(arguments, nodes: int = 1) -> list[Forked]:
    """Start one training in two processes, on one node or two, with the variables that torchrun gives its processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        world = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": "2"}
    world |= {"LOCAL_WORLD_SIZE": str(2 // nodes), "GROUP_WORLD_SIZE": str(nodes)}
    places = [{"RANK": str(rank), "LOCAL_RANK": str(rank % (2 // nodes))} for rank in range(2)]
    return [fork(arguments, **world, **place, GROUP_RANK=str(rank * (nodes - 1))) for rank, place in enumerate(places)]


def ended_well(processes: list[Forked]) -> None:
    """Wait for the processes of a training."""
    said = [process.communicate(300)[0] for process in processes]
    assert [process.poll() for process in processes] == [0] * len(processes), said


def trained_by_one_and_by_two(tiny, queries, folder, settings) -> tuple[JPQIndex, JPQIndex]:
    """Train in this process, and with the command line in two."""
    run(tiny, queries, folder / "one", eval_steps=24, device="cpu", **settings)
    ended_well(fork_two(command(tiny, queries, folder / "two", **settings)))
    one, two = (JPQIndex.open(folder / name) for name in ("one", "two"))
    assert two.record.training["processes"] == 2
    return one, two
