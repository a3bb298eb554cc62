"""Runs that are stopped, killed, resumed, or spread over two processes end with the same weights."""

import random
import signal
import socket
import time
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock, Timeout

from jpq_pyserini import JPQError, JPQIndex
from jpq_pyserini.encoders.text_encoder import embed_queries, load_text_encoder
from jpq_pyserini.storage import sha256_of
from jpq_pyserini.train.step import TrainingStep

from helpers.processes import run_module
from helpers.training import (
    FAST,
    command,
    ended_well,
    fork,
    fork_two,
    run,
    start,
    trained_by_one_and_by_two,
    wait_for_step,
)


def same(first: Path, second: Path) -> bool:
    names = ("index", "docid", "codec.safetensors", "query_encoder/model.safetensors")
    return all(sha256_of(first / name) == sha256_of(second / name) for name in names)


def test_a_stopped_training_holds_its_output_and_goes_on(tiny, queries, tmp_path, monkeypatch):
    settings = {**FAST, "epochs": 2, "eval_steps": 8, "checkpoint_steps": 3}
    resumed(tiny, queries, tmp_path / "whole", **settings)
    plain, steps, other = TrainingStep.__call__, [], FileLock(tmp_path / ".jpq.lock")

    def stopped(step, number, *args, **more):
        steps.append(number)
        if len(steps) == 5:
            with pytest.raises(Timeout):  # another process would have to wait
                other.acquire(blocking=False)
            signal.raise_signal(signal.SIGINT)
        return plain(step, number, *args, **more)

    monkeypatch.setattr(TrainingStep, "__call__", stopped)
    with pytest.raises(KeyboardInterrupt, match="after step 5; continue with the same command and --resume"):
        resumed(tiny, queries, tmp_path / "jpq", **settings)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["jpq.checkpoint", "whole"]
    with pytest.raises(JPQError, match=r"jpq.checkpoint is what a stopped run left: add --resume"):
        run(tiny, queries, tmp_path / "jpq", **settings)
    with pytest.raises(JPQError, match=r"comes from a run with batch_size=16, this one has 7: give the same"):
        resumed(tiny, queries, tmp_path / "jpq", **{**settings, "batch_size": 7})
    resumed(tiny, queries, tmp_path / "jpq", **settings)
    assert steps == list(range(16))
    assert same(tmp_path / "whole", tmp_path / "jpq")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["jpq", "whole"]


@pytest.mark.slow
def test_killed_again_and_again_the_result_is_the_same(tiny, queries, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    settings = {"epochs": 6}
    ended_well([fork(command(tiny, queries, whole, **settings))])
    again = command(tiny, queries, killed, "--resume", **settings)
    rng = random.Random(0)
    for step in (1, 14, 30):
        process = fork(again)
        wait_for_step(tmp_path / "killed.checkpoint", step, process)
        time.sleep(rng.random() * 0.2)  # anywhere in a step, or in the writing of a checkpoint
        process.kill()
        assert not killed.exists()
    done = run_module(*again[2:])
    assert "steps      48" in done.stdout
    assert same(whole, killed)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["killed", "whole"]


@pytest.mark.slow
def test_ctrl_c_says_how_to_go_on_and_other_runs_keep_off(tiny, queries, tmp_path):
    output, checkpoints = tmp_path / "jpq", tmp_path / "jpq.checkpoint"
    process = start(command(tiny, queries, output))
    wait_for_step(checkpoints, 2, process)
    process.send_signal(signal.SIGINT)
    printed = process.communicate(timeout=60)[0]
    assert process.returncode == 130
    assert printed.rstrip().endswith("continue with the same command and --resume")
    assert not output.exists()
    run_again = run_module(*command(tiny, queries, output)[2:], check=False)
    assert run_again.returncode == 1
    assert run_again.stderr.strip().endswith(
        f"error: {checkpoints} is what a stopped run left: add --resume to continue from it, or remove it"
    )
    for changed, value in (("batch_size", 7), ("loss", "hinge")):
        with pytest.raises(JPQError, match=f"with {changed}=.*this one has {value!r}"):
            resumed(tiny, queries, output, **{changed: value})
    (queries / "train.txt").write_text((queries / "train.txt").read_text() + "0 0 d7 1\n")
    with pytest.raises(JPQError, match="comes from a run with another qrels"):
        resumed(tiny, queries, output)


def resumed(tiny, queries, output, **settings):
    from jpq_pyserini import TrainConfig, train_index

    config = TrainConfig(**{**FAST, "epochs": 12, "eval_steps": 24, **settings})
    judged = (queries / "train.tsv", queries / "train.txt", queries / "dev.tsv", queries / "dev.txt")
    encoder = str(tiny / "encoder")
    return train_index(tiny / "flat", encoder, output, *judged, config=config, resume=True, progress=False)


@pytest.mark.slow
def test_two_processes_train_the_same_index_as_one(tiny, queries, tmp_path):
    settings = {"dropout": False, "epochs": 2, "checkpoint_steps": 100}
    one, two = trained_by_one_and_by_two(tiny, queries, tmp_path, settings)
    assert np.array_equal(one.codes, two.codes)
    assert np.allclose(one.codec.centroids, two.codec.centroids, atol=2e-5)
    assert np.abs(one.codec.centroids - one.codec.assignment_centroids).max() > 1e-3  # they did move
    # Weights without a gradient, such as biases of keys, follow rounding errors in AdamW; what they encode does not.
    texts = [line.rstrip("\n").split("\t")[1] for line in (queries / "dev.tsv").open()]
    ours, theirs = (embed_queries(load_text_encoder(str(index.query_encoder_path)), texts) for index in (one, two))
    before = embed_queries(load_text_encoder(str(tiny / "encoder")), texts)
    assert np.abs(ours - theirs).max() < 0.01 * np.abs(ours - before).max()


@pytest.mark.slow
def test_two_nodes_that_are_killed_end_with_the_index_of_two_processes(tiny, queries, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    settings = {"epochs": 4}
    ended_well(fork_two(command(tiny, queries, whole, **settings)))
    running = fork_two(command(tiny, queries, killed, **settings), nodes=2)
    wait_for_step(tmp_path / "killed.checkpoint", 2, running[0])
    for process in running:
        process.kill()
    assert not killed.exists()
    reached = max(int(entry.name[5:]) for entry in (tmp_path / "killed.checkpoint").glob("step-*"))
    assert 2 <= reached < 32
    started = [start(node) for node in torchrun(tiny, queries, killed, "--resume", **settings)]
    printed = [node.communicate(timeout=600)[0] for node in started]
    assert [node.returncode for node in started] == [0, 0], printed
    assert same(whole, killed)
    assert JPQIndex.open(killed).record.training["processes"] == 2


def torchrun(tiny, queries, output, *more, **settings) -> list[list[str]]:
    """The commands of a training on two nodes of one process, both on this machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = ("--nnodes", "2", "--master-addr", "127.0.0.1", "--master-port", str(port), "--nproc-per-node", "1")
    launch = ("-m", "torch.distributed.run", *place)
    modules = [(*launch, "--node-rank", str(rank), "-m", "jpq_pyserini.train") for rank in range(2)]
    return [command(tiny, queries, output, *more, module=module, **settings) for module in modules]
