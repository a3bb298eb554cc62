"""The ablation of figure 7, ADORE, DPQ and distillation: settings of one code path."""

import dataclasses

import numpy as np
import pytest
import torch

from jpq_pyserini import JPQError, JPQFaissSearcher, JPQIndex, TrainConfig, train_index
from jpq_pyserini.data.flat import FlatFolder
from jpq_pyserini.encoders.text_encoder import embed_queries, load_text_encoder
from jpq_pyserini.train import __main__ as command
from jpq_pyserini.train import losses, pipeline
from jpq_pyserini.train.config import METHODS
from jpq_pyserini.train.trainer import reciprocal_rank

from helpers.training import FAST, encoder_weights, run

ADORE = {"scoring": "flat", "negatives_from": "flat", "compress": False}


#: What the methods stand for, by the paper and its references.
SETTINGS = {
    "jpq": {},
    "jpq-neighbours": {"neighbours": 8},
    "jpq-rescore": {"rescore": 200},
    "jpq-paper": {"score_aware": 0.0},
    "opq": {"score_aware": 0.0, "epochs": 0},
    "jpq-negatives": {"score_aware": 0.0, "scoring": "flat", "train_centroids": False},
    "jpq-loss": {"score_aware": 0.0, "train_centroids": False},
    "dpq": {"score_aware": 0.0, "reconstruction": 1.0, "negatives_from": "static"},
    "distillation": {"distillation": 1.0},
    "adore": ADORE,
    "rand-neg": ADORE | {"negatives_from": "random"},
    "bm25-neg": ADORE | {"negatives_from": "run"},
}


def configured(monkeypatch, *flags) -> TrainConfig:
    """The settings that the training command is run with."""
    given = []
    monkeypatch.setattr(pipeline, "train_index", lambda *arguments, **more: given.append(arguments[7]))
    command.main(["--embeddings", "flat", "--encoder", "encoder", "--output", "out", *flags])
    return given[0]


def test_methods_are_names_of_settings(monkeypatch, capsys):
    assert set(SETTINGS) == set(METHODS)
    for name, settings in SETTINGS.items():
        expected = dataclasses.replace(TrainConfig(**settings), method=name)
        assert TrainConfig.of_method(name) == expected
        assert configured(monkeypatch, "--method", name) == expected
        assert configured(monkeypatch, *METHODS[name].flags.split()) == dataclasses.replace(expected, method="jpq")
    with pytest.raises(SystemExit):
        command.main(["--help"])
    shown = capsys.readouterr().out
    assert all(f"  {name} " in shown and METHODS[name].flags in shown for name in SETTINGS)


def test_flags_override_the_method_also_with_a_default(monkeypatch):
    assert configured(monkeypatch, "--method", "opq", "--epochs", "6") == TrainConfig(
        method="opq", score_aware=0.0, epochs=6.0
    )
    assert configured(monkeypatch, "--epochs", "2", "--method", "opq").epochs == 2.0
    assert TrainConfig.of_method("adore", m=16, negatives_from="random").negatives_from == "random"
    both = configured(monkeypatch, "--anisotropy", "4", "--neighbors", "2")  # names of 0.1.0, and other spelling
    assert (both.score_aware, both.neighbours) == (4.0, 2)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--method", "colbert"], "--method colbert is unknown: choose one of jpq, "),
        (
            ["--method", "adore", "--scoring", "quantized"],
            r"--no-compress trains on .*\(--method adore means --no-comp",
        ),
        (["--method", "adore", "--neighbours", "8"], r"--neighbours is about codes.*\(--method adore means"),
        (["--method", "jpq-paper", "--score-aware", "3"], "means --score-aware 0, and none of it is left"),
    ],
)
def test_contradictions_of_a_method_are_one_line(monkeypatch, flags, message):
    with pytest.raises(JPQError, match=message) as raised:
        configured(monkeypatch, *flags)
    assert "\n" not in str(raised.value)


def test_a_method_in_python_is_made_by_its_name(tiny, queries, tmp_path):
    with pytest.raises(JPQError, match=r"TrainConfig.of_method\('adore'\) makes these settings"):
        TrainConfig(method="adore")
    run(tiny, queries, tmp_path / "jpq", method="jpq-paper", score_aware=0.0, dev=False, epochs=0)
    config = JPQIndex.open(tmp_path / "jpq").record.training["config"]
    assert (config["method"], config["score_aware"]) == ("jpq-paper", 0.0)


@pytest.mark.slow
def test_ladder_of_figure_7(tiny, queries, tmp_path):
    """Each strategy alone changes what it should change, and each run fits its training queries better than OPQ."""
    steps = {
        "opq": {"epochs": 0},
        "jpq neg": {"scoring": "flat", "train_centroids": False},
        "bf neg": {"scoring": "flat", "negatives_from": "flat", "train_centroids": False},
        "jpq loss": {"train_centroids": False},
        "jpq": {},
    }
    reports = {name: run(tiny, queries, tmp_path / name, **settings) for name, settings in steps.items()}
    start = JPQIndex.open(tmp_path / "opq").codec.centroids
    for name in steps:
        index = JPQIndex.open(tmp_path / name)
        assert np.array_equal(index.codec.centroids, start) == (name != "jpq")
        assert np.array_equal(index.codec.assignment_centroids, start)
    assert reports["opq"].after < min(reports[name].after for name in ("jpq loss", "jpq"))
    assert not np.array_equal(*(np.concatenate([v.ravel() for v in encoder_weights(tmp_path / n).values()])
                                for n in ("jpq neg", "bf neg")))  # fmt: skip


@pytest.mark.slow
def test_adore_writes_a_flat_index(tiny, queries, tmp_path):
    report = run(tiny, queries, tmp_path / "adore", **ADORE)
    assert report.after > report.before
    assert report.bytes_per_document == 128
    assert (tmp_path / "adore" / "index").read_bytes() == (tiny / "flat" / "index").read_bytes()
    dev = [line.rstrip("\n").split("\t") for line in (queries / "dev.tsv").open()]
    searcher = JPQFaissSearcher(tmp_path / "adore")
    hits = searcher.batch_search([text for _, text in dev], [qid for qid, _ in dev], k=10)
    found = np.array([[int(hit.docid[1:]) for hit in hits[qid]] for qid, _ in dev])
    assert reciprocal_rank(found, [[int(qid)] for qid, _ in dev]) == pytest.approx(report.after)
    with pytest.raises(JPQError, match="uncompressed index, without codes"):
        JPQIndex.open(tmp_path / "adore")


@pytest.mark.slow
def test_dpq_recodes_with_its_centroids(tiny, queries, tmp_path):
    run(tiny, queries, tmp_path / "opq", dev=False, epochs=0)
    run(tiny, queries, tmp_path / "dpq", dev=False, epochs=1, reconstruction=1.0, negatives_from="static")
    opq, dpq = JPQIndex.open(tmp_path / "opq"), JPQIndex.open(tmp_path / "dpq")
    assert not np.array_equal(dpq.codec.centroids, opq.codec.centroids)
    assert np.array_equal(dpq.codec.centroids, dpq.codec.assignment_centroids)
    assert np.array_equal(dpq.codes, dpq.codec.encode(np.array(FlatFolder.open(tiny / "flat").embeddings)))


@pytest.mark.slow
def test_distillation_needs_no_labels_and_moves_towards_the_flat_scores(tiny, queries, tmp_path):
    def gap(index_dir):
        """Mean squared difference of s† and s over the training queries, each centred: what a softmax sees."""
        index = JPQIndex.open(index_dir)
        texts = [line.rstrip("\n").split("\t")[1] for line in (queries / "train.tsv").open()]
        student = embed_queries(load_text_encoder(str(index.query_encoder_path)), texts)
        teacher = embed_queries(load_text_encoder(str(tiny / "encoder")), texts)
        quantized = index.codec.scores(student, index.codes)
        flat = teacher @ np.array(FlatFolder.open(tiny / "flat").embeddings).T
        difference = quantized - flat
        return float(((difference - difference.mean(1, keepdims=True)) ** 2).mean())

    config = TrainConfig(**FAST | {"distillation": 1.0, "negatives": 300, "epochs": 24, "encoder_lr": 2e-4})
    config = dataclasses.replace(config, dropout=False, score_aware=0.0)
    where = (tiny / "flat", str(tiny / "encoder"))
    train_index(*where, tmp_path / "distilled", queries / "train.tsv", config=config, progress=False)
    run(tiny, queries, tmp_path / "opq", dev=False, epochs=0, score_aware=0.0)
    assert gap(tmp_path / "distilled") < 0.8 * gap(tmp_path / "opq")
    with pytest.raises(JPQError, match="--qrels is missing"):
        train_index(*where, tmp_path / "no", queries / "train.tsv", config=TrainConfig(**FAST | {"distillation": 0.5}))


def test_distillation_is_the_kl_divergence():
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 3, 5, generator=generator, dtype=torch.float64)
    mask = torch.tensor([[True] * 5, [True, True, False, False, False], [True, False, True, True, True]])
    expected = 0.0
    for s, t, keep in zip(student, teacher, mask, strict=True):
        p, q = t[keep].softmax(0), s[keep].softmax(0)
        expected += (p * (p / q).log()).sum() / 3
    assert torch.allclose(losses.distillation(student, teacher, mask), expected)
    assert losses.distillation(teacher, teacher, mask).abs() < 1e-12


def test_patience_ends_a_run_early(tiny, queries, tmp_path):
    report = run(tiny, queries, tmp_path / "jpq", patience=1, eval_steps=1, encoder_lr=1.0, warmup_steps=1)
    assert report.steps < 64
    assert report.steps == report.best_step + 1


def test_without_dev_queries_held_out_ones_keep_a_bad_training_from_harm(tiny, queries, tmp_path):
    high = {"encoder_lr": 1.0, "centroid_lr": 1.0, "warmup_steps": 1}
    report = run(tiny, queries, tmp_path / "jpq", dev=False, held_out=0.25, epochs=1, eval_steps=2, **high)
    assert (report.steps, report.evaluated_on, report.best_step) == (6, 30, 0)  # 90 queries, 16 a step
    index = JPQIndex.open(tmp_path / "jpq")
    assert np.array_equal(index.codec.centroids, index.codec.assignment_centroids)  # the untrained weights
    record = index.record.training
    assert (record["training_queries"], record["dev_queries"]) == (90, 30)
    assert record["curve"][-1]["rr@10"] < report.after
