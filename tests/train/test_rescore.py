"""Training for two-stage search: ``--rescore`` and ``--vectors``."""

import numpy as np
import pytest
import torch

from jpq_pyserini import JPQError, JPQFaissSearcher, JPQIndex, TrainConfig
from jpq_pyserini.data.flat import FlatFolder
from jpq_pyserini.index.record import IndexRecord
from jpq_pyserini.train.model import JPQModel
from jpq_pyserini.train.search import RescoredSearch
from jpq_pyserini.train.trainer import recall

from helpers.codes import random_codec, random_embeddings
from helpers.training import run


def test_candidates_of_one_search_are_ranked_by_the_embeddings():
    embeddings, queries = random_embeddings(80), random_embeddings(130, seed=2)
    candidates = np.stack([np.random.default_rng(b).permutation(80)[:30] for b in range(130)])
    candidates[5, 20:] = -1  # as a search gives that finds fewer

    class First:
        """Gives the same candidates whatever the query: told apart by its first number."""

        def search(self, queries, hits):
            assert hits == 30
            return torch.stack([torch.from_numpy(candidates[place[float(query[0])]]) for query in queries])

    place = {float(query[0]): b for b, query in enumerate(queries)}
    model = JPQModel(torch.nn.Linear(1, 1), random_codec(), random_codec().encode(embeddings), embeddings)
    found = RescoredSearch(First(), model, 30).search(torch.from_numpy(queries), 10).numpy()
    for b, query in enumerate(queries):
        proposed = candidates[b][candidates[b] >= 0]
        assert found[b].tolist() == proposed[np.argsort(-(embeddings[proposed] @ query))][:10].tolist()


def test_recall_is_the_mean_share_of_the_relevant_documents():
    assert recall(torch.tensor([[1, 2], [3, 4], [5, -1]]), [[1, 9], [3, 4], [0]]) == (0.5 + 1 + 0) / 3


@pytest.mark.slow
def test_the_loss_on_both_scores_is_the_mean_of_the_two(tiny, queries, tmp_path):
    losses = {}
    for scoring in ("quantized", "flat", "both"):
        still = {"encoder_lr": 0.0, "centroid_lr": 0.0, "dropout": False, "train_centroids": False}
        report = run(tiny, queries, tmp_path / scoring, scoring=scoring, max_steps=2, eval_steps=1, **still)
        losses[scoring] = [point["loss"] for point in report.curve.points[1:]]
    assert np.allclose(losses["both"], np.add(losses["quantized"], losses["flat"]) / 2, rtol=1e-5)
    assert not np.allclose(losses["quantized"], losses["flat"], rtol=1e-2)


def test_a_training_for_two_stages_measures_and_writes_what_is_searched(tiny, queries, tmp_path):
    report = run(tiny, queries, tmp_path / "index", rescore=40, vectors="float32", epochs=2)
    index = JPQIndex.open(tmp_path / "index")
    flat = FlatFolder.open(tiny / "flat").embeddings
    assert np.array_equal(index.vectors.read(np.arange(len(index))), flat)
    config = index.record.training["config"]
    assert (config["scoring"], config["vectors"], config["rescore"]) == ("both", "float32", 40)

    topics = [line.split("\t") for line in (queries / "dev.tsv").read_text().splitlines()]
    relevant = dict(line.split()[::2] for line in (queries / "dev.txt").read_text().splitlines())
    searcher = JPQFaissSearcher(tmp_path / "index", rescore=40)
    found = {qid: [hit.docid for hit in searcher.search(text, k=40)] for qid, text in topics}
    ranks = [found[qid].index(relevant[qid]) + 1 if relevant[qid] in found[qid] else np.inf for qid, _ in topics]
    kept = {point["step"]: point for point in report.curve.points}[report.best_step]
    assert kept["rr@10"] == pytest.approx(np.mean([1 / rank if rank <= 10 else 0 for rank in ranks]), abs=1e-9)
    assert kept["r@40"] == pytest.approx(np.mean(np.isfinite(ranks)), abs=1e-9)


@pytest.mark.slow
def test_vectors_may_be_stored_without_training_for_them(tiny, queries, tmp_path):
    for vectors, said in (("int8", {"dtype": "int8"}), ("flat", {"dtype": "float32", "flat": str(tiny / "flat")})):
        run(tiny, queries, tmp_path / vectors, dev=False, vectors=vectors, epochs=0)
        record = IndexRecord.read(tmp_path / vectors)
        sums = {"digest", "sha256"}
        assert {key: value for key, value in record.vectors.items() if key not in sums} == said
        assert record.training["config"]["scoring"] == "quantized"
    run(tiny, queries, tmp_path / "none", dev=False, epochs=0)
    assert IndexRecord.read(tmp_path / "none").vectors == {}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rescore": 10, "vectors": "none"}, "--rescore 10 needs the document vectors"),
        ({"rescore": 10, "compress": False, "scoring": "flat", "negatives_from": "flat"}, "are for quantized indexes"),
        ({"vectors": "int4"}, "--vectors"),
        ({"rescore": -1}, "--rescore"),
    ],
)
def test_settings_that_contradict_each_other(settings, message):
    with pytest.raises(JPQError, match=message):
        TrainConfig(**settings)
