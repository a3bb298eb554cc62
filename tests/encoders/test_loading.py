"""Encoders of every kind: loaded as what they are or refused, and queries encoded alike in training and in search."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Router, StaticEmbedding, Transformer

from jpq_pyserini.encoders.limits import QUERY, CutTexts, length_limit, limit_queries
from jpq_pyserini.encoders.text_encoder import (
    embed_passages,
    embed_queries,
    embed_with_gradients,
    load_text_encoder,
    query_prompt,
    save_text_encoder,
)
from jpq_pyserini.errors import JPQError

from helpers.tiny import WORDS, tiny_encoder

QUERIES = ["bace dife", "kale gufo mipu tira", "vo vovo"]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return tiny_encoder(tmp_path_factory.mktemp("loading") / "encoder")


@pytest.fixture
def copied(encoder, tmp_path):
    """A copy of the encoder's folder, to be damaged."""
    return shutil.copytree(encoder, tmp_path / "encoder")


def settings_of(folder, **changes):
    path = folder / "config_sentence_transformers.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def weights_of(folder, change):
    path = folder / "model.safetensors"
    save_file(change(load_file(path)), path, {"format": "pt"})


def test_weights_under_other_names(copied):
    weights_of(copied, lambda weights: {f"backbone.{name}": value for name, value in weights.items()})
    with pytest.raises(JPQError, match=r"has no weights for \d+ places of a BertModel .* 37 weights for .* no place"):
        load_text_encoder(str(copied))


def test_weights_that_are_left_over_or_lacking(copied):
    weights_of(copied, lambda weights: weights | {"embeddingHead.weight": torch.ones(2, 2)})
    with pytest.raises(JPQError, match=r"has 1 weights for which there is no place \(embeddingHead.weight"):
        load_text_encoder(str(copied))
    lacking = ("embeddingHead.weight", "encoder.layer.1.output.dense.bias")
    weights_of(copied, lambda weights: {name: value for name, value in weights.items() if name not in lacking})
    with pytest.raises(JPQError, match=r"no weights for 1 places of a BertModel \(encoder.layer.1.output.dense.bias"):
        load_text_encoder(str(copied))


def test_a_pooler_and_heads_of_other_tasks_do_not_matter(encoder, copied):
    names = ("cls.predictions.bias", "head.norm.weight", "decoder.bias", "mask_predictions.dense.weight")  # four kinds
    heads = {name: torch.ones(2) for name in names}
    weights_of(copied, lambda weights: {n: value for n, value in weights.items() if "pooler" not in n} | heads)
    expected = embed_queries(load_text_encoder(str(encoder)), QUERIES)
    np.testing.assert_allclose(embed_queries(load_text_encoder(str(copied)), QUERIES), expected, atol=1e-6)


def test_tokenizer_files_are_missing(copied):
    for name in ("tokenizer.json", "vocab.txt", "tokenizer_config.json", "special_tokens_map.json"):
        (copied / name).unlink(missing_ok=True)
    with pytest.raises(JPQError, match=r"its tokenizer has 5 words, its word embeddings are 201: copy the tokenizer"):
        load_text_encoder(str(copied))


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
def test_a_folder_cloned_without_git_lfs(copied, name):
    (copied / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 90\n")
    with pytest.raises(JPQError, match=rf"encoder/{name} is a Git LFS pointer, not the file itself: fetch it with"):
        load_text_encoder(str(copied))


def test_a_tokenizer_of_special_words_only(tmp_path):
    """What transformers makes of a T5 folder without tokenizer files has a hundred words, all of them special."""
    from transformers import T5Config, T5EncoderModel

    T5EncoderModel(T5Config(vocab_size=150, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2)).save_pretrained(
        tmp_path
    )
    with pytest.raises(JPQError, match="its tokenizer knows no words: copy the tokenizer files"):
        load_text_encoder(str(tmp_path), pooling="mean")


def test_tokenizer_files_of_another_kind_than_the_model(encoder, tmp_path):
    """transformers makes the tokenizer that config.json asks for, whatever the files hold; it finds no word."""
    from transformers import AutoTokenizer, Qwen2Config, Qwen2Model

    AutoTokenizer.from_pretrained(encoder).save_pretrained(tmp_path)
    config = Qwen2Config(vocab_size=201, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    config.num_key_value_heads = 2
    Qwen2Model(config).save_pretrained(tmp_path)
    with pytest.raises(JPQError, match="a Qwen2Tokenizer, does not know its own words"):
        load_text_encoder(str(tmp_path), pooling="lasttoken")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_trained_in_float32(copied, dtype):
    weights_of(copied, lambda weights: {name: value.to(dtype) for name, value in weights.items()})
    for folder in (copied, copied / "plain"):
        config = folder / "config.json"
        config.write_text(json.dumps(json.loads(config.read_text()) | {"dtype": str(dtype).removeprefix("torch.")}))
    model = load_text_encoder(str(copied))
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert embed_with_gradients(model, QUERIES).requires_grad


@pytest.mark.parametrize(
    ("prompts", "default"),
    [
        ({"query": "kale gufo "}, "query"),
        ({"query": "kale gufo ", "document": "dimi "}, None),
        ({"search": "kale gufo "}, "search"),
        ({"passage": "dimi "}, None),
    ],
)
def test_prompts_are_sentence_transformers(copied, tmp_path, prompts, default):
    settings_of(copied, prompts=prompts, default_prompt_name=default)
    reference = SentenceTransformer(str(copied), device="cpu")
    model = load_text_encoder(str(copied))
    expected = reference.encode_query(QUERIES)
    np.testing.assert_allclose(embed_queries(model, QUERIES), expected, atol=1e-6)
    np.testing.assert_allclose(embed_with_gradients(model.eval(), QUERIES).detach(), expected, atol=1e-5)
    np.testing.assert_allclose(embed_passages(model, QUERIES), reference.encode_document(QUERIES), atol=1e-6)
    save_text_encoder(model, tmp_path / "saved")
    np.testing.assert_allclose(embed_queries(load_text_encoder(str(tmp_path / "saved")), QUERIES), expected, atol=1e-6)


@pytest.mark.slow
def test_a_model_with_a_tower_for_queries(tmp_path):
    towers = {}
    for seed, name in enumerate(("query", "document")):
        plain = tiny_encoder(tmp_path / name, seed=seed) / "plain"
        towers[f"{name}_modules"] = [Transformer(str(plain)), Pooling(32, pooling_mode="mean")]
    reference = SentenceTransformer(modules=[Router.for_query_document(**towers)], device="cpu")
    reference.save(str(tmp_path / "router"), create_model_card=False)
    model = load_text_encoder(str(tmp_path / "router"))
    expected = reference.encode_query(QUERIES)
    np.testing.assert_allclose(embed_queries(model, QUERIES), expected, atol=1e-6)
    np.testing.assert_allclose(embed_with_gradients(model.eval(), QUERIES).detach(), expected, atol=1e-5)
    np.testing.assert_allclose(embed_passages(model, QUERIES), reference.encode_document(QUERIES), atol=1e-6)
    assert not np.allclose(expected, reference.encode_document(QUERIES), atol=1e-2)
    limit_queries(model, 3, "")
    assert (length_limit(model, "query"), length_limit(model, "document")) == (3, 64)
    save_text_encoder(model, tmp_path / "saved")
    assert json.loads((tmp_path / "saved" / "jpq_encoder.json").read_text())["max_length"] == 3
    saved = load_text_encoder(str(tmp_path / "saved"))
    np.testing.assert_array_equal(embed_queries(saved, ["bace dife"]), embed_queries(saved, ["bace kale"]))


def test_static_embeddings(encoder, tmp_path):
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(encoder / "tokenizer.json"))
    static = StaticEmbedding(tokenizer, embedding_dim=16)
    SentenceTransformer(modules=[static], device="cpu").save(str(tmp_path / "static"), create_model_card=False)
    model = load_text_encoder(str(tmp_path / "static"), max_length=8)
    assert limit_queries(model, 4, "") is None
    rows = [tokenizer.encode(QUERIES[0], add_special_tokens=False).ids][0]
    expected = static.embedding.weight[rows].mean(0).detach().numpy()
    np.testing.assert_allclose(embed_queries(model, QUERIES)[0], expected, atol=1e-6)
    save_text_encoder(model, tmp_path / "saved")
    assert json.loads((tmp_path / "saved" / "jpq_encoder.json").read_text())["max_length"] is None
    from jpq_pyserini.encoders.backends import exported

    with pytest.raises(JPQError, match="runs transformers, not a StaticEmbedding"):
        exported(model, "onnx")


@pytest.mark.parametrize("kind", ["qwen2", "gpt2"])  # with rotary positions, and with absolute ones
def test_a_decoder_with_left_padding_and_no_padding_token(tmp_path, kind):
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import GPT2Config, GPT2Model, PreTrainedTokenizerFast, Qwen2Config, Qwen2Model

    folder = tmp_path / "decoder"
    pieces = Tokenizer(models.BPE())
    pieces.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet)
    pieces.train_from_iterator([" ".join(WORDS)], trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=pieces, eos_token="<|endoftext|>", padding_side="left")
    tokenizer.save_pretrained(folder)
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 64}
    shape |= {"vocab_size": len(tokenizer), "initializer_range": 0.2}
    config = (
        Qwen2Config(num_key_value_heads=2, intermediate_size=64, **shape) if kind == "qwen2" else GPT2Config(**shape)
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        decoder = {"qwen2": Qwen2Model, "gpt2": GPT2Model}[kind](config).eval()
    decoder.save_pretrained(folder)
    model = load_text_encoder(str(folder), pooling="lasttoken")
    together = embed_queries(model, QUERIES)
    for query, vector in zip(QUERIES, together, strict=True):  # alone there is no padding
        with torch.no_grad():
            alone = decoder(torch.tensor([tokenizer(query)["input_ids"]])).last_hidden_state[0, -1]
        np.testing.assert_allclose(vector, alone, atol=1e-4)
    np.testing.assert_allclose(embed_with_gradients(model, QUERIES).detach(), together, atol=1e-4)


def test_dimensions_that_are_cut(copied, tmp_path):
    whole = embed_queries(load_text_encoder(str(copied)), QUERIES)
    assert np.array_equal(embed_queries(load_text_encoder(str(copied), truncate_dim=8), QUERIES), whole[:, :8])
    settings_of(copied, truncate_dim=16)
    model = load_text_encoder(str(copied))
    assert model.get_embedding_dimension() == 16
    np.testing.assert_allclose(embed_with_gradients(model.eval(), QUERIES).detach(), whole[:, :16], atol=1e-5)
    save_text_encoder(model, tmp_path / "saved")
    assert embed_queries(load_text_encoder(str(tmp_path / "saved")), QUERIES).shape == (3, 16)
    with pytest.raises(JPQError, match="--truncate-dim 99: the encoder has 32"):
        load_text_encoder(str(copied), truncate_dim=99)


def test_what_cannot_be_loaded_has_its_own_line(copied):
    config = copied / "plain" / "config.json"
    plain = json.loads(config.read_text())
    config.write_text(json.dumps(plain | {"model_type": "dpr", "architectures": ["DPRQuestionEncoder"]}))
    with pytest.raises(JPQError, match="is a DPR model, which is pooled by CLS"):
        load_text_encoder(str(copied / "plain"), pooling="mean")
    config.write_text(json.dumps(plain | {"model_type": "dpr", "architectures": ["DPRReader"]}))
    with pytest.raises(JPQError, match="a DPR model of class DPRReader"):
        load_text_encoder(str(copied / "plain"))
    config.write_text(json.dumps(plain | {"model_type": "own", "auto_map": {"AutoModel": "own.Own"}}))
    with pytest.raises(JPQError, match=r"own Python code, .*JPQ_TRUST_REMOTE_CODE=1"):
        load_text_encoder(str(copied / "plain"), pooling="cls")
    config.write_text(json.dumps(plain))
    with pytest.raises(JPQError, match=r"no modules.json.*--pooling cls or --pooling mean \(decoders: lasttoken\)"):
        load_text_encoder(str(copied / "plain"))


def test_the_limit_counts_the_query_and_not_its_prompt(encoder):
    prompt = " ".join(WORDS[:40]) + " "
    model = load_text_encoder(str(encoder), prompt=prompt)
    assert limit_queries(model, 6, query_prompt(model)) == 46
    first, same, other = embed_queries(model, ["bace dife kale vo vo", "bace dife kale vo gufo", "bace dife gufo vo"])
    assert np.array_equal(first, same)  # four words and two special tokens
    assert not np.allclose(first, other, atol=1e-3)
    with pytest.raises(JPQError, match="--max-query-length 65 is more than the encoder's 64 positions"):
        limit_queries(model, 65, "")
    with pytest.raises(JPQError, match=r"has 80 tokens, the encoder takes 64"):
        limit_queries(model, 32, prompt * 2)


def test_cut_texts_are_told_of_once(encoder, caplog):
    model = load_text_encoder(str(encoder), max_length=6)
    cut = CutTexts(model, QUERY, "queries", "give more")
    fits, longer = "bace dife kale vovo", "bace dife kale vovo gufo"  # with two special tokens 6 and 7
    assert not cut.count([fits] * 30 + [longer] * 2, "")  # 6%, but two
    assert not cut.count([fits] * 30 + [longer], "")  # 5%
    assert not caplog.messages
    assert cut.count([longer + " gufo"], "")
    assert cut.count([longer] * 20, "")
    assert caplog.messages == [
        "6% of the queries (of 64 looked at) are longer than the 6 tokens that the encoder takes of them, prompt "
        "included, and are cut; the longest has 8: give more"
    ]
    assert CutTexts(model, QUERY, "queries", "").count([fits] * 3, "bace ")


def test_roberta_and_dpr_by_cls(encoder, tmp_path):
    from transformers import AutoTokenizer, DPRConfig, DPRQuestionEncoder, RobertaConfig, RobertaModel

    tokenizer = AutoTokenizer.from_pretrained(encoder / "plain")
    size = {"vocab_size": len(tokenizer), "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    size |= {"intermediate_size": 16, "pad_token_id": 0}
    torch.manual_seed(0)
    roberta = RobertaModel(RobertaConfig(max_position_embeddings=34, **size)).eval()
    dpr = DPRQuestionEncoder(DPRConfig(max_position_embeddings=34, **size)).eval()
    batch = tokenizer(QUERIES, padding=True, return_tensors="pt")
    with torch.no_grad():
        expected = {"roberta": roberta(**batch).last_hidden_state[:, 0], "dpr": dpr(**batch).pooler_output}
    for name, model in (("roberta", roberta), ("dpr", dpr)):
        model.save_pretrained(tmp_path / name)
        tokenizer.save_pretrained(tmp_path / name)
        loaded = load_text_encoder(str(tmp_path / name), pooling={"roberta": "cls", "dpr": None}[name])
        np.testing.assert_allclose(embed_queries(loaded, QUERIES), expected[name], atol=1e-5)
        positions = {"roberta": 33, "dpr": 34}[name]  # RoBERTa counts from after the padding
        with pytest.raises(JPQError, match=f"the encoder's {positions} positions"):
            limit_queries(loaded, 35, "")
