"""Training end to end on tiny real models, in process and from the command line."""

import json

import numpy as np
import pytest
import torch

from jpq_pyserini import JPQError, JPQIndex, TrainConfig, train_index
from jpq_pyserini.encoders.text_encoder import embed_queries, load_text_encoder, save_text_encoder
from jpq_pyserini.train import EncoderSource
from jpq_pyserini.train.config import PAPER_CENTROID_LR
from jpq_pyserini.train.trainer import evaluates_after, reciprocal_rank

from helpers.codes import random_embeddings, write_flat
from helpers.processes import call_module
from helpers.training import FAST, encoder_weights, run


def test_training_improves_and_writes_a_complete_directory(tiny, queries, tmp_path):
    report = run(tiny, queries, tmp_path / "jpq")
    assert report.after > report.before + 0.02
    index = JPQIndex.open(tmp_path / "jpq")
    assert len(index) == 300
    assert index.record.training["steps"] == report.steps == 64
    assert index.record.encoder["name_or_path"] == str(tiny / "encoder")
    assert not np.array_equal(index.codec.centroids, index.codec.assignment_centroids)
    # what was reported is what the directory gives: its encoder, its Faiss index, the dev queries
    dev = [line.rstrip("\n").split("\t") for line in (queries / "dev.tsv").open()]
    encoder = load_text_encoder(str(index.query_encoder_path))
    assert encoder.max_seq_length == 32
    _, found = index.faiss_index.search(embed_queries(encoder, [text for _, text in dev]), 10)
    assert reciprocal_rank(found, [[int(qid)] for qid, _ in dev]) == pytest.approx(report.after, abs=1e-9)
    # codes were assigned with the initial centroids and never recomputed
    from jpq_pyserini.data.flat import FlatFolder

    embeddings = np.array(FlatFolder.open(tiny / "flat").embeddings)
    assert np.array_equal(index.codec.encode(embeddings), index.codes)


@pytest.mark.slow
def test_same_seed_gives_the_same_index(tiny, queries, tmp_path):
    for name in ("a", "b"):
        run(tiny, queries, tmp_path / name, epochs=1)
    a, b = ((tmp_path / name / "codec.safetensors").read_bytes() for name in ("a", "b"))
    assert a == b
    weights = [(tmp_path / name / "query_encoder" / "model.safetensors").read_bytes() for name in ("a", "b")]
    assert weights[0] == weights[1]
    run(tiny, queries, tmp_path / "c", epochs=1, seed=7)
    assert (tmp_path / "c" / "codec.safetensors").read_bytes() != a


@pytest.mark.slow
def test_the_time_of_a_run_is_told_by_phase(tiny, queries, tmp_path):
    report = run(tiny, queries, tmp_path / "jpq", checkpoint_steps=10)
    phases = ["load", "opq", "code", "evaluate", "encode", "search", "loss", "update", "checkpoint", "write"]
    assert list(report.phases) == phases
    assert 0.8 * report.seconds < sum(report.phases.values()) <= report.seconds
    recorded = JPQIndex.open(tmp_path / "jpq").record.training["seconds"]
    assert list(recorded) == phases
    for phase in phases[:-1]:
        assert recorded[phase] == pytest.approx(report.phases[phase], abs=0.051)
    assert recorded["write"] <= report.phases["write"] + 0.05
    assert f"time       {report.seconds:.0f} s (load " in str(report)


def test_evaluations_are_ten_in_a_run_or_as_set(tiny, queries, tmp_path):
    def steps(total, interval=None):
        return [step for step in range(1, total + 1) if evaluates_after(step, total, interval)]

    for total in (10, 1333, 1334, 1339, 90_000):
        found = steps(total)
        assert len(found) == 10
        assert found[-1] == total
        assert np.ptp(np.diff([0, *found])) <= 1  # as far apart as can be
    assert steps(7) == [1, 2, 3, 4, 5, 6, 7]
    assert steps(10, 4) == [4, 8, 10]
    assert steps(10, 5) == [5, 10]
    report = run(tiny, queries, tmp_path / "jpq", epochs=1, batch_size=9)
    assert [point["step"] for point in report.curve.points] == [0, *steps(14)]


@pytest.mark.slow
def test_what_is_trained_is_a_setting(tiny, queries, tmp_path):
    untouched = run(tiny, queries, tmp_path / "opq", epochs=0)
    assert untouched.steps == 0
    opq, opq_codec = encoder_weights(tmp_path / "opq"), JPQIndex.open(tmp_path / "opq").codec
    assert np.array_equal(opq_codec.centroids, opq_codec.assignment_centroids)
    run(tiny, queries, tmp_path / "pq only", dev=False, epochs=1, train_encoder="none")
    run(tiny, queries, tmp_path / "encoder only", dev=False, epochs=1, train_centroids=False)
    run(tiny, queries, tmp_path / "all", dev=False, epochs=1, train_encoder="all")
    changed = {
        name: {key for key, value in encoder_weights(tmp_path / name).items() if not np.array_equal(value, opq[key])}
        for name in ("pq only", "encoder only", "all")
    }
    words = {key for key in opq if "word_embeddings" in key}
    assert changed["pq only"] == set()
    assert changed["encoder only"]
    assert not changed["encoder only"] & words
    assert changed["all"] > words
    codecs = {name: JPQIndex.open(tmp_path / name).codec for name in changed}
    assert np.array_equal(codecs["encoder only"].centroids, opq_codec.centroids)
    assert not np.array_equal(codecs["pq only"].centroids, opq_codec.centroids)
    assert all(np.array_equal(codec.assignment_centroids, opq_codec.centroids) for codec in codecs.values())


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{"loss": "hinge"}, {"loss": "in-batch"}, {"opq": False}, {"precision": "bf16"}])
def test_other_settings_train_too(tiny, queries, tmp_path, settings):
    report = run(tiny, queries, tmp_path / "jpq", **settings)
    assert report.after > report.before
    assert JPQIndex.open(tmp_path / "jpq").codec.rotation is None or settings.get("opq", True)


def test_the_command_line(tiny, queries, tmp_path):
    flags = {"m": 8, "nbits": 4, "opq-iterations": 2, "epochs": 1, "negatives": 10, "batch-size": 60}
    arguments = [part for name, value in flags.items() for part in (f"--{name}", value)]
    data = ["--embeddings", tiny / "flat", "--encoder", tiny / "encoder", "--output", tmp_path / "jpq"]
    judged = ["--topics", queries / "train.tsv", "--qrels", queries / "train.txt"]
    done = call_module("jpq_pyserini.train", *data, *judged, *arguments)
    assert "300, 4 bytes each, 32x smaller than flat" in done.stdout
    assert json.loads((tmp_path / "jpq" / "jpq.json").read_text())["training"]["config"]["negatives"] == 10
    again = call_module("jpq_pyserini.train", *data, *judged, *arguments, check=False)
    assert again.returncode == 1
    assert again.stderr.strip() == f"error: {tmp_path / 'jpq'} exists already: name another output or remove it first"
    assert "--encoder jpq" in call_module("jpq_pyserini.train", "--help").stdout


@pytest.mark.slow
def test_a_plain_hugging_face_folder(tiny, queries, tmp_path):
    plain = tiny / "encoder" / "plain"
    with pytest.raises(JPQError, match=r"no modules.json.*--pooling cls or --pooling mean"):
        train_index(tiny / "flat", str(plain), tmp_path / "no", config=TrainConfig(**FAST | {"epochs": 0}))
    for pooling, norm in (("mean", False), ("cls", True)):
        source = EncoderSource(str(plain), pooling=pooling, l2_norm=norm, query_prompt="bace ")
        output = tmp_path / pooling
        train_index(tiny / "flat", source, output, config=TrainConfig(**FAST | {"epochs": 0}), progress=False)
        reloaded = load_text_encoder(str(output / "query_encoder"))
        vector = embed_queries(reloaded, ["dife"])
        direct = load_text_encoder(str(plain), pooling=pooling, l2_norm=norm)
        assert np.allclose(vector, direct.encode(["bace dife"]), atol=1e-6)
        assert np.allclose(np.linalg.norm(vector), 1, atol=1e-5) == norm


def test_settings_by_m_and_scale(tiny, queries, tmp_path):
    assert {m: TrainConfig(m=m).effective_centroid_lr for m in PAPER_CENTROID_LR} == PAPER_CENTROID_LR
    assert TrainConfig(m=12).effective_centroid_lr == 5e-6
    assert TrainConfig(m=128).effective_centroid_lr == 1e-4
    assert TrainConfig(m=48, centroid_lr=1.0).effective_centroid_lr == 1.0
    run(tiny, queries, tmp_path / "raw", epochs=0, score_scale=None)
    assert JPQIndex.open(tmp_path / "raw").record.training["config"]["score_scale"] == 1.0
    x = random_embeddings(100, D=32)
    write_flat(tmp_path / "unit", x / np.linalg.norm(x, axis=1, keepdims=True))
    config = TrainConfig(**FAST | {"epochs": 0, "score_scale": None})
    train_index(tmp_path / "unit", str(tiny / "encoder"), tmp_path / "normed", config=config, progress=False)
    assert JPQIndex.open(tmp_path / "normed").record.training["config"]["score_scale"] == 20.0


def test_a_saved_query_encoder_can_be_trained_again(tiny, tmp_path):
    save_text_encoder(load_text_encoder(str(tiny / "encoder"), prompt="bace "), tmp_path / "saved")
    config = TrainConfig(**FAST | {"epochs": 0})
    train_index(tiny / "flat", str(tmp_path / "saved"), tmp_path / "jpq", config=config, progress=False)
    assert load_text_encoder(str(tmp_path / "jpq" / "query_encoder")).prompts["query"] == "bace "


def test_bad_input_is_one_line_and_writes_nothing(tiny, queries, tmp_path):
    def refused(
        message, *, flat=tiny / "flat", encoder=tiny / "encoder", topics="train.tsv", qrels="train.txt", **more
    ):
        before = sorted(path.name for path in tmp_path.iterdir())
        with pytest.raises(JPQError, match=message) as raised:
            train_index(
                flat, str(encoder), tmp_path / "out", topics and queries / topics, qrels and queries / qrels,
                config=TrainConfig(**FAST | more), progress=False,
            )  # fmt: skip
        assert "\n" not in str(raised.value)
        assert sorted(path.name for path in tmp_path.iterdir()) == before

    (queries / "unknown.txt").write_text("0 0 nowhere 1\n")
    (queries / "empty.tsv").write_text("")
    (queries / "column.tsv").write_text("17\n")
    refused("nowhere", qrels="unknown.txt")
    refused("empty.tsv", topics="empty.tsv")
    refused("column.tsv:1: one column", topics="column.tsv")
    refused("--topics is missing", topics=None)
    refused("--qrels is missing", qrels=None)
    refused("--m 5 does not divide the embedding dimension 32", m=5)
    refused("--loss hnge is unknown", loss="hnge")
    refused("no such folder|cannot load", encoder=tmp_path / "nowhere")
    refused("--device gpu7 is unknown", device="gpu7")
    refused("--log-with nothing: accelerate knows no such tracker", log_with="nothing")
    refused("--device cuda: torch .* sees no GPU", device="cuda")
    refused(r"--distillation 2 is not a number from 0 to 1", distillation=2)
    refused("--no-compress trains on the flat index", compress=False)
    refused("add --no-train-centroids", scoring="flat")
    few = write_flat(tmp_path / "few", random_embeddings(10, D=32))
    refused("10 documents are fewer than the 16 centroids", flat=few)
    bad = random_embeddings(300, D=32)
    bad[17] = np.nan
    refused(r"docid d17 \(row 17\) holds NaN", flat=write_flat(tmp_path / "nan", bad))
    bad[17] = 3e38
    refused(r"docid d17 \(row 17\) holds a value of 3e\+38", flat=write_flat(tmp_path / "large", bad))
    wide = write_flat(tmp_path / "wide", random_embeddings(300, D=64))
    refused(r"has dimension 32, the embeddings in .*wide have 64", flat=wide)
    twice = write_flat(tmp_path / "twice", random_embeddings(300, D=32), docids=[f"d{i % 299}" for i in range(300)])
    refused("1 docids occur twice", flat=twice)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_steps": -1}, "--max-steps -1 is not a whole number from 1 to"),
        ({"patience": 0}, "--patience 0 is not a whole number from 1 to"),
        ({"epochs": float("nan")}, "--epochs nan is not a number from 0 to"),
        ({"centroid_lr": float("inf")}, "--centroid-lr inf is not a number of at least 0"),
        ({"score_scale": 0.0}, "--score-scale 0.0 is not a number above 0"),
        ({"score_scale": -1.0}, "--score-scale -1.0 is not a number above 0"),
        ({"seed": 1 << 64}, "--seed 18446744073709551616 is not a whole number from 0 to 18446744073709551615"),
        ({"opq_iterations": 10**30}, "--opq-iterations 10+ is not a whole number from 0 to"),
        ({"lambda_cut": 10**30}, "--lambda-cut 10+ is not a whole number from 1 to"),
        ({"weight_decay": float("nan")}, "--weight-decay nan is not a number of at least 0"),
        ({"distillation": 1.0, "reconstruction": 1.0}, "--reconstruction needs relevant documents"),
    ],
)
def test_settings_that_make_no_sense(settings, message):
    with pytest.raises(JPQError, match=message):
        TrainConfig(**settings)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"encoder_lr": 1e30}, "at step [0-9]+, the .* is (inf|nan)"),
        ({"centroid_lr": 1e38, "warmup_steps": 0}, "at step [0-9]+, the|holds NaN or infinite"),
        ({"score_scale": 1e38}, "at step 1, the .* is (inf|nan)"),
    ],
)
def test_a_training_that_diverges_ends_in_one_line_and_writes_nothing(tiny, queries, tmp_path, settings, told):
    with pytest.raises(
        JPQError, match=f"^training diverged.*({told}).*nothing is written; lower --encoder-lr"
    ) as raised:
        run(tiny, queries, tmp_path / "out", checkpoint_steps=1, **settings)
    assert "\n" not in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_weights_that_are_not_finite_are_not_kept(tiny, queries, tmp_path, monkeypatch):
    """The last update alone may overflow: no further loss tells."""
    update = torch.optim.AdamW.step

    def overflow(optimizer):
        update(optimizer)
        optimizer.param_groups[-1]["params"][0].data[0] = torch.inf

    monkeypatch.setattr(torch.optim.AdamW, "step", overflow)
    with pytest.raises(JPQError, match="training diverged, after step 1 centroids holds NaN or infinite values"):
        run(tiny, queries, tmp_path / "out", dev=False, max_steps=1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_query_encoder_trained_before_is_where_another_training_starts(tiny, queries, tmp_path):
    run(tiny, queries, tmp_path / "adore", compress=False, scoring="flat", negatives_from="flat", epochs=1)
    trained = tmp_path / "adore" / "query_encoder"
    source = EncoderSource(str(tiny / "encoder"), query_encoder=str(trained))
    config = TrainConfig(**FAST | {"epochs": 0})
    train_index(tiny / "flat", source, tmp_path / "jpq", config=config, progress=False)
    ours, plain = encoder_weights(tmp_path / "jpq"), encoder_weights(tmp_path / "adore")
    assert all(np.array_equal(ours[name], plain[name]) for name in plain)
    record = JPQIndex.open(tmp_path / "jpq").record
    assert record.encoder["name_or_path"] == str(tiny / "encoder")  # new documents are encoded as the others were
