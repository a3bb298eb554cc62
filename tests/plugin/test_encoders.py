"""The two encoders, compared with sentence-transformers used directly."""

import json

import numpy as np
import pytest

from jpq_pyserini.encoders.text_encoder import load_text_encoder, save_text_encoder
from jpq_pyserini.errors import JPQError

from helpers.processes import run_python

QUERIES = ["bace didi", "", "fogu kale mino pura seti vovo bace didi fogu", "kale"]


@pytest.fixture(scope="module")
def encoder_module():
    from jpq_pyserini.plugin import encoders as encoder

    return encoder


@pytest.fixture(scope="module")
def reference(tiny):
    """The tiny encoder, used without the library: (texts) -> (B, D)."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(tiny / "encoder"), device="cpu")
    return lambda texts: np.stack([model.encode(text) for text in texts])


@pytest.mark.parametrize("part", ["index", "index/query_encoder"])
def test_query_encoder_from_either_folder(tiny, encoder_module, reference, part):
    encoder = encoder_module.JPQQueryEncoder(str(tiny / part))
    batch = encoder.encode_batch(QUERIES)  # (B, D)
    assert batch.shape == (4, 32)
    assert batch.dtype == np.float32
    np.testing.assert_allclose(batch, reference(QUERIES), atol=1e-5)
    single = encoder.encode(QUERIES[0])  # (D,)
    assert single.shape == (32,)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, batch[0], atol=1e-5)
    assert encoder.encode_batch([]).shape == (0, 32)
    assert np.array_equal(encoder.encode_batch(np.array(QUERIES)), batch)
    encoded = [value for name, value in vars(encoder).items() if name.startswith("has_encoded_quer")]
    assert (encoder.has_model, encoded, encoder.is_bound) == (True, [False], True)


def test_what_pyserini_passes_besides_is_ignored(tiny, encoder_module, reference):
    encoder = encoder_module.JPQQueryEncoder(
        encoder_dir=str(tiny / "index"), tokenizer_name=None, device="cpu", prefix=None, fp16=False,
        pooling="cls", l2_norm=True, max_length=2, multimodal=False,
    )  # fmt: skip
    np.testing.assert_allclose(encoder.encode_batch(QUERIES), reference(QUERIES), atol=1e-5)


def test_queries_that_are_cut_are_told_of_once(tiny, encoder_module, caplog):
    encoder = encoder_module.JPQQueryEncoder(str(tiny / "index"), query_length=4)
    for query in ("kale", "bace didi", QUERIES[2], "bace " * 9, "bace " * 2, "bace " * 7, QUERIES[2]):
        encoder.encode(query)
    (said,) = caplog.messages
    assert said.startswith("50% of the queries (of 6 looked at) are longer than the 4 tokens")
    assert "the longest has 11: give --max-length" in said


def test_half_precision_gives_float32(tiny, encoder_module, reference):
    embedding = encoder_module.JPQQueryEncoder(str(tiny / "index"), fp16=True).encode(QUERIES[2])
    assert embedding.dtype == np.float32
    np.testing.assert_allclose(embedding, reference(QUERIES)[2], atol=0.05)


def test_saved_prompt_and_length_are_kept_and_a_prefix_replaces_the_prompt(tiny, tmp_path, encoder_module, reference):
    model = load_text_encoder(str(tiny / "encoder"), prompt="bace: ", max_length=8)
    save_text_encoder(model, tmp_path / "prompted")
    long_query = " ".join(["didi fogu kale"] * 10)
    saved = encoder_module.JPQQueryEncoder(str(tmp_path / "prompted"))
    assert saved.model.max_seq_length == 8
    np.testing.assert_allclose(saved.encode("didi"), reference(["bace: didi"])[0], atol=1e-5)
    np.testing.assert_allclose(saved.encode(long_query), saved.encode(long_query + " vovo"), atol=1e-5)
    replaced = encoder_module.JPQQueryEncoder(str(tmp_path / "prompted"), prefix="kale")
    np.testing.assert_allclose(replaced.encode("didi"), reference(["kale didi"])[0], atol=1e-5)
    bare = encoder_module.JPQQueryEncoder(str(tmp_path / "prompted"), prefix="")
    np.testing.assert_allclose(bare.encode("didi"), reference(["didi"])[0], atol=1e-5)


def test_bare_encoder_binds_once(tiny, tmp_path, encoder_module, reference):
    encoder = encoder_module.JPQQueryEncoder()
    assert not encoder.is_bound
    assert encoder.dimension is None
    with pytest.raises(JPQError, match="does not know its index"):
        encoder.encode("bace")
    with pytest.raises(JPQError, match=r"no jpq\.json"):
        encoder.bind(tmp_path)
    encoder.bind(tiny / "index")
    encoder.bind(str(tiny / "index") + "/")  # the same index again
    np.testing.assert_allclose(encoder.encode("bace"), reference(["bace"])[0], atol=1e-5)
    with pytest.raises(JPQError, match="make a new JPQQueryEncoder"):
        encoder.bind(tmp_path)


def test_bad_query_encoders_end_in_one_line(tiny, tmp_path, encoder_module):
    with pytest.raises(JPQError, match="neither a JPQ index directory"):
        encoder_module.JPQQueryEncoder(str(tiny / "encoder"))
    with pytest.raises(JPQError, match="own tokenizer"):
        encoder_module.JPQQueryEncoder(str(tiny / "index"), tokenizer_name="bert-base-uncased")
    (tmp_path / "jpq.json").write_text("{}")
    with pytest.raises(JPQError, match="not complete"):
        encoder_module.JPQQueryEncoder(str(tmp_path))
    (tmp_path / "query_encoder").mkdir()
    (tmp_path / "query_encoder" / "jpq_encoder.json").write_text("{}")
    with pytest.raises(JPQError, match="pooling is unknown") as caught:
        encoder_module.JPQQueryEncoder(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_document_encoder_uses_what_the_index_records(tiny, encoder_module, reference):
    texts, titles = ["bace didi", "", "fogu"], ["kale", None, ""]
    for name in ("index", "encoder"):
        encoder = encoder_module.JPQDocumentEncoder(str(tiny / name))
        got = encoder.encode(texts, titles=titles, max_length=256, fp16=False, add_sep=False)
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, reference(["kale bace didi", "", "fogu"]), atol=1e-5)
    assert encoder.encode([]).shape == (0, 32)
    with pytest.raises(JPQError, match="add-sep"):
        encoder.encode(texts, titles=titles, add_sep=True)


def test_document_length_of_the_index_wins(tiny, tmp_path, encoder_module, reference):
    record = json.loads((tiny / "index" / "jpq.json").read_text())
    text = " ".join(["didi"] * 30)
    plain = encoder_module.JPQDocumentEncoder(str(tiny / "index"))
    np.testing.assert_allclose(plain.encode([text], max_length=12)[0], reference(["didi " * 10])[0], atol=1e-5)
    np.testing.assert_allclose(plain.encode([text], max_length=256)[0], reference([text])[0], atol=1e-5)
    record["encoder"]["max_length"] = 7
    (tmp_path / "jpq.json").write_text(json.dumps(record))
    short = encoder_module.JPQDocumentEncoder(str(tmp_path))
    np.testing.assert_allclose(short.encode([text], max_length=256)[0], reference(["didi " * 5])[0], atol=1e-5)


@pytest.mark.parametrize("name", ["jpq", "index/query_encoder"])
def test_documents_are_not_encoded_with_a_query_encoder(tiny, encoder_module, name):
    with pytest.raises(JPQError, match="name the index directory"):
        encoder_module.JPQDocumentEncoder(name if name == "jpq" else str(tiny / name))


def test_index_record_without_encoder(tiny, tmp_path, encoder_module):
    record = json.loads((tiny / "index" / "jpq.json").read_text())
    (tmp_path / "jpq.json").write_text(json.dumps({**record, "encoder": {}}))
    with pytest.raises(JPQError, match="does not say which encoder"):
        encoder_module.JPQDocumentEncoder(str(tmp_path))


def test_text_encoder_needs_no_pyserini():
    run_python("-c", "import sys, jpq_pyserini.encoders.text_encoder; assert 'pyserini' not in sys.modules")


def test_max_length_of_pyserinis_commands(tiny, encoder_module, reference, monkeypatch):
    from jpq_pyserini.plugin import register

    texts = ["bace di fo gu ka le mi no", "bace di"]
    plain = encoder_module.JPQQueryEncoder(str(tiny / "index"))
    monkeypatch.setattr(register, "_limits", ["4"])
    cut = register._query_encoder(str(tiny / "index"))
    short = plain.encode(" ".join(plain.model.tokenizer.tokenize(texts[0])[:2]))
    np.testing.assert_allclose(cut.encode(texts[0]), short, atol=1e-5)  # [CLS] and [SEP] count
    np.testing.assert_allclose(cut.encode_batch(texts)[1], plain.encode(texts[1]), atol=1e-5)
    for limit, words in (("9999", "positions: lower it"), ("x", "not a whole number")):
        monkeypatch.setattr(register, "_limits", [limit])
        with pytest.raises(JPQError, match=words):
            register._query_encoder(str(tiny / "index"))
