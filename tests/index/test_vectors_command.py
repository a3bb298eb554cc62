"""``index vectors``, and what the other commands do with the vectors of an index: from embeddings and from texts."""

import json
import shutil

import numpy as np
import pytest

from jpq_pyserini import JPQError, JPQIndex
from jpq_pyserini.codec.quantizer import ProductQuantizer
from jpq_pyserini.data.flat import FlatFolder
from jpq_pyserini.index.__main__ import main
from jpq_pyserini.index.hub import push_to_hub
from jpq_pyserini.index.record import IndexRecord, verify_directory
from jpq_pyserini.prebuilt.packing import pack

from helpers.tiny import tiny_corpus


@pytest.fixture
def index(tiny, tmp_path):
    return shutil.copytree(tiny / "index", tmp_path / "index")


@pytest.fixture
def corpus(tmp_path):
    """The texts of the tiny index, the second half first."""
    lines = [json.dumps({"id": f"d{row}", "contents": text}) for row, text in enumerate(tiny_corpus(300)[0])]
    path = tmp_path / "corpus.jsonl"
    path.write_text("\n".join([*lines[150:], *lines[:150]]) + "\n")
    return path


def run(*arguments):
    main([str(each) for each in arguments])


def vectors_of(directory) -> np.ndarray:
    stored = JPQIndex.open(directory).vectors
    return stored.read(np.arange(stored.count))


def test_vectors_come_from_embeddings_and_go_again(tiny, index, capsys):
    before = IndexRecord.read(index)
    run("vectors", "--index", index, "--embeddings", tiny / "flat", "--dtype", "float32", "--rescore", 150)
    assert "300 documents, float32 vectors" in capsys.readouterr().out
    assert np.array_equal(vectors_of(index), FlatFolder.open(tiny / "flat").embeddings)
    record = IndexRecord.read(index)
    assert record.rescore == 150
    assert (record.training, record.encoder, record.count) == (before.training, before.encoder, before.count)
    assert {name: digest for name, digest in record.sha256.items() if name != "vectors.safetensors"} == before.sha256
    assert verify_directory(index) == []
    run("describe", "--index", index)
    assert "vectors    float32, 128 bytes per document on disk; candidates 150" in capsys.readouterr().out

    (index / "vectors.safetensors").write_bytes(b"damaged")  # which is no reason not to write them again
    run("vectors", "--index", index, "--embeddings", tiny / "flat")
    assert IndexRecord.read(index).vectors["dtype"] == "int8"
    run("vectors", "--index", index, "--remove")
    assert "300 documents, no vectors" in capsys.readouterr().out
    assert verify_directory(index) == []
    assert IndexRecord.read(index).sha256 == before.sha256


def test_vectors_come_from_texts(tiny, index, corpus):
    run("vectors", "--index", index, "--corpus", corpus, "--dtype", "float32")
    assert np.allclose(vectors_of(index), FlatFolder.open(tiny / "flat").embeddings, atol=1e-5)
    assert sorted(path.name for path in index.parent.iterdir()) == ["corpus.jsonl", "index"]


def test_texts_of_another_collection_leave_nothing(index, tmp_path):
    (tmp_path / "other.jsonl").write_text('{"id": "z", "contents": "bace dife"}\n')
    with pytest.raises(JPQError, match="no embedding of docid d0"):
        run("vectors", "--index", index, "--corpus", tmp_path / "other.jsonl")
    assert [path.name for path in index.parent.glob("*vectors*")] == []


@pytest.mark.slow
def test_documents_that_are_added_bring_theirs(tiny, index, tmp_path):
    run("vectors", "--index", index, "--embeddings", tiny / "flat")
    texts, _ = tiny_corpus(310, seed=1)
    more = tmp_path / "more.jsonl"
    more.write_text("".join(json.dumps({"id": f"e{i}", "contents": text}) + "\n" for i, text in enumerate(texts)))
    run("add", "--index", index, "--corpus", more, "--in-place")
    run("embed", "--corpus", more, "--encoder", tiny / "encoder", "--output", tmp_path / "more-flat")
    embeddings = FlatFolder.open(tmp_path / "more-flat").embeddings
    assert np.abs(vectors_of(index)[300:] - embeddings).max() <= np.abs(embeddings).max() / 127
    assert verify_directory(index) == []

    for like, flags, dtype in ((index, (), "int8"), (index, ("--vectors", "none"), None)):
        built = tmp_path / f"built-{dtype}"
        run("build", "--like", like, "--embeddings", tmp_path / "more-flat", "--output", built, *flags)
        assert IndexRecord.read(built).vectors.get("dtype") == dtype
    assert np.array_equal(vectors_of(tmp_path / "built-int8"), vectors_of(index)[300:])


def test_a_stopped_coding_goes_on_with_codes_and_vectors(tiny, index, corpus, tmp_path, monkeypatch):
    from jpq_pyserini.index import coding

    run("vectors", "--index", index, "--embeddings", tiny / "flat")
    build = ("build", "--like", index, "--corpus", corpus, "--output", tmp_path / "built")
    monkeypatch.setattr(coding, "CHUNK", 64)
    plain, calls = coding.encode, []

    def stop(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return plain(*arguments)

    monkeypatch.setattr(coding, "encode", stop)
    with pytest.raises(KeyboardInterrupt):
        run(*build)
    work = tmp_path / "built.coding"
    with open(work / "vectors", "ab") as file:  # as if it had been stopped between the two files
        file.write(bytes(64 * 36))
    monkeypatch.setattr(coding, "encode", plain)
    run(*build, "--resume")
    built = JPQIndex.open(tmp_path / "built")
    docids = list(JPQIndex.open(index).docids)
    rows = [docids.index(docid) for docid in built.docids]
    assert np.abs(vectors_of(tmp_path / "built") - vectors_of(index)[rows]).max() < 0.02
    assert not work.exists()


def test_an_index_that_refers_to_a_folder_stays_at_home(tiny, index, tmp_path):
    run("vectors", "--index", index, "--embeddings", tiny / "flat", "--refer")
    with pytest.raises(JPQError, match=r"vectors of .* are in .*flat: copy them with"):
        push_to_hub(index, "nobody/nothing")
    with pytest.raises(JPQError, match=r"vectors of .* are in .*flat: copy them with"):
        pack(index, tmp_path / "packed")
    with pytest.raises(JPQError, match="--refer goes with --embeddings"):
        run("vectors", "--index", index, "--remove", "--refer")


def test_the_number_of_candidates_is_set_alone(tiny, index, capsys):
    with pytest.raises(JPQError, match="has no vectors to rescore with: give --embeddings or --corpus too"):
        run("vectors", "--index", index, "--rescore", 70)
    run("vectors", "--index", index, "--embeddings", tiny / "flat", "--dtype", "float16")
    before = (index / "vectors.safetensors").read_bytes()
    run("vectors", "--index", index, "--rescore", 70)
    assert "float16 vectors" in capsys.readouterr().out
    assert IndexRecord.read(index).rescore == 70
    assert (index / "vectors.safetensors").read_bytes() == before
    assert verify_directory(index) == []


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((), "nothing to do"),
        (("--remove", "--rescore", 70), "--rescore 70 needs the document vectors"),
        (("--rescore", 70, "--dtype", "int8"), "--dtype is for vectors that are written"),
    ],
)
def test_flags_that_would_do_nothing_are_refused(index, flags, message):
    with pytest.raises(JPQError, match=message):
        run("vectors", "--index", index, *flags)


def test_texts_are_encoded_with_the_dimensions_that_the_encoder_was_cut_to(tiny, corpus, tmp_path):
    kept = np.array(FlatFolder.open(tiny / "flat").embeddings[:, :16])
    steps = np.quantile(kept, np.linspace(0, 1, 256), axis=0).T[..., None].astype(np.float32)
    codec = ProductQuantizer(steps, steps)
    encoder = {"name_or_path": str(tiny / "encoder"), "truncate_dim": 16}
    docids = FlatFolder.open(tiny / "flat").docids
    index = JPQIndex(codec, codec.encode(kept), docids, encoder=encoder).save(tmp_path / "cut")
    run("vectors", "--index", index, "--corpus", corpus, "--dtype", "float32")
    assert np.allclose(vectors_of(index), kept, atol=1e-5)
