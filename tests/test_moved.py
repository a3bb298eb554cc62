"""Every module of version 0.1 is still found under its old name, unless nobody but the package itself used it."""

import importlib
import importlib.util

import pytest

import jpq_pyserini  # noqa: F401 (makes the old names known)

#: Package -> its modules, all of version 0.1.0 but those of the quickstart, which is one module now.
OLD = {
    "jpq_pyserini": (
        "anisotropic backends cli codec describe docids doctor encoder errors eval exact flat hub index "
        "layouts lines names neighbours plugin prebuilt quickstart searcher storage text_encoder topics "
        "torch_search train"
    ),
    "jpq_pyserini.eval": (
        "compare comparison encoding expansion facts figures fusion latency lists measures memory msmarco "
        "report reproduce rerank run_writing runs significance submission systems timing train_step"
    ),
    "jpq_pyserini.eval.expansion": "__main__ predicted_queries term_weights",
    "jpq_pyserini.eval.figures": "__main__ ablation arguments labels negatives points style tradeoff",
    "jpq_pyserini.eval.fusion": "__main__ fusing tuning",
    "jpq_pyserini.eval.latency": "__main__ queries race report runs workers",
    "jpq_pyserini.eval.report": "forms gains html latex markdown plots record table text",
    "jpq_pyserini.eval.reproduce": (
        "__main__ checking experiment loading making matrix plan published reading reporting scoring variables"
    ),
    "jpq_pyserini.eval.rerank": "__main__ cross_encoder journal ranking texts train",
    "jpq_pyserini.eval.submission": "__main__ file findings query",
    "jpq_pyserini.eval.systems": "_base _euclidean _faiss annoy bm25 falconn flann flat hnsw imi jpq lsh pq scann",
    "jpq_pyserini.index": "__main__ add build coding collection convert corpus describe grow merge record sources",
    "jpq_pyserini.layouts": "exhaustive inverted",
    "jpq_pyserini.plugin": "java register startup",
    "jpq_pyserini.prebuilt": (
        "__main__ adopt archive catalogue download packing paths readme release release_encoder release_fetch "
        "release_index store"
    ),
    "jpq_pyserini.train": (
        "__main__ checkpoint config evaluation given_negatives initialise inputs interrupt losses model "
        "negatives objective opq optimizer pipeline report run_hits stopwatch trainer"
    ),
}
#: Steps of a command that took and gave objects of that command only.
INTERNAL = {
    "jpq_pyserini.eval.msmarco",
    "jpq_pyserini.eval.report.forms",
    "jpq_pyserini.eval.reproduce.making",
    "jpq_pyserini.eval.reproduce.matrix",
    "jpq_pyserini.eval.reproduce.reading",
}


@pytest.mark.parametrize("package", OLD)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_every_old_module_is_found(package):
    names = {f"{package}.{name}" for name in OLD[package].split()}
    missing = {name for name in names if importlib.util.find_spec(name) is None}
    assert missing == names & INTERNAL


@pytest.mark.parametrize(
    ("old", "new", "name"),
    [
        ("jpq_pyserini.index.grow", "jpq_pyserini.index.coding", "check_codes"),
        ("jpq_pyserini.index.corpus", "jpq_pyserini.data.corpus", "Corpus"),
        ("jpq_pyserini.layouts.inverted", "jpq_pyserini.index.layouts.inverted", "Coarse"),
        ("jpq_pyserini.eval.run_writing", "jpq_pyserini.data.runs", "write_run"),
        ("jpq_pyserini.eval.timing", "jpq_pyserini.timing", "summary"),
        ("jpq_pyserini.train.run_hits", "jpq_pyserini.train.run_negatives", "best_irrelevant"),
    ],
)
def test_an_old_name_gives_the_new_module_and_says_so(old, new, name):
    importlib.sys.modules.pop(old, None)
    with pytest.warns(DeprecationWarning, match=f"{old} is now {new}"):
        module = importlib.import_module(old)
    assert getattr(module, name) is getattr(importlib.import_module(new), name)
