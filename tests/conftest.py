"""Fixtures shared by the tests: a tiny index, and the real command lines in subprocesses."""

import gc
import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
if not Path("/dev/nvidiactl").exists():  # without a GPU kernels are interpreted; Triton reads this when it is imported
    os.environ.setdefault("TRITON_INTERPRET", "1")


def pytest_collection_finish() -> None:
    """What has been imported stays: garbage collections in the tests need not look at it each time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> Path:
    """A folder with ``encoder``, ``index`` (JPQ) and ``flat`` of passages d0 to d299, ``topics.tsv`` (q0 to q19),
    ``qrels.txt``."""
    from helpers.tiny import tiny_corpus, tiny_encoder, tiny_flat, tiny_index

    root = tmp_path_factory.mktemp("tiny")
    texts, queries = tiny_corpus(300)
    tiny_index(root / "index", tiny_encoder(root / "encoder"), texts)
    tiny_flat(root / "flat", root / "encoder", texts)
    (root / "topics.tsv").write_text("".join(f"q{i}\t{query}\n" for i, query in enumerate(queries[:20])))
    (root / "qrels.txt").write_text("".join(f"q{i} 0 d{i} 1\n" for i in range(20)))
    return root


@pytest.fixture(scope="session")
def static_index(tiny, tmp_path_factory) -> Path:
    """An index of the same passages whose query encoder is a table of token vectors."""
    from jpq_pyserini import StudentConfig, TrainConfig, train_index
    from jpq_pyserini.train import EncoderSource

    student = StudentConfig(distil_steps=5, distil_batch_size=8)
    source = EncoderSource(
        str(tiny / "encoder"), query_encoder="static", student=student, distil_queries=(str(tiny / "topics.tsv"),)
    )
    output = tmp_path_factory.mktemp("static") / "index"
    train_index(tiny / "flat", source, output, config=TrainConfig(m=8, epochs=0, opq_iterations=2), progress=False)
    return output


@pytest.fixture(scope="session")
def release(tmp_path_factory) -> Path:
    """A folder in the layout of the authors' release: ``OPQ8,IVF1,PQ8x8.index`` of ``collection.tsv``, ``m8``."""
    from helpers.release_files import M, write_encoder, write_index
    from helpers.tiny import tiny_corpus

    root = tmp_path_factory.mktemp("release")
    texts, _ = tiny_corpus(300)
    (root / "collection.tsv").write_text("".join(f"D{7 * i}\t{text}\n" for i, text in enumerate(texts)))
    write_index(root / f"OPQ{M},IVF1,PQ{M}x8.index", write_encoder(root / "star", seed=5).embed(texts, 64), M)
    write_encoder(root / f"m{M}", seed=6)
    return root


@pytest.fixture(scope="session")
def index_file(release) -> Path:
    """Their Faiss file."""
    return next(release.glob("*.index"))


@pytest.fixture(scope="session")
def imported(release, index_file, tmp_path_factory) -> Path:
    """The index directory made from that and from ``m8``."""
    from jpq_pyserini.index.imported.convert import import_release

    return import_release(release / "m8", tmp_path_factory.mktemp("imported") / "out", index=index_file)
