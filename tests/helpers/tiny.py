"""Small real things for tests: a text encoder with random weights, a corpus in its vocabulary, an index with both."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

_SYLLABLES = ("ba", "ce", "di", "fo", "gu", "ka", "le", "mi", "no", "pu", "ra", "se", "ti", "vo")
#: 196 words, each one token of the tiny encoder.
WORDS = tuple(first + second for first in _SYLLABLES for second in _SYLLABLES)


def tiny_encoder(path, dimension: int = 32, seed: int = 0) -> Path:
    """Save a two-layer BERT with random weights, mean pooling and its own vocabulary as a sentence-transformers folder.

    Returns ``path``. The same arguments give the same weights. It is not a JPQ encoder: it has no marker file.
    """
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import BertModel

    path = Path(path)
    plain = path / "plain"
    config = _tokenizer_and_config(plain, dimension)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        BertModel(config).save_pretrained(plain)
    transformer = Transformer(str(plain))
    model = SentenceTransformer(modules=[transformer, Pooling(dimension, pooling_mode="mean")], device="cpu")
    model.max_seq_length = 48
    model.save(str(path), create_model_card=False)
    return path


def tiny_cross_encoder(path, labels: int = 1, seed: int = 0) -> Path:
    """Save a two-layer BERT with random weights and a head of ``labels`` as a plain folder that CrossEncoder loads."""
    import torch
    from transformers import BertForSequenceClassification

    path = Path(path)
    config = _tokenizer_and_config(path, 32)
    config.num_labels = labels
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        BertForSequenceClassification(config).save_pretrained(path)
    return path


def tiny_t5(path) -> Path:
    """Save a T5 of one layer with random weights, which draws words at random and ends now and then."""
    import torch
    from transformers import T5Config, T5ForConditionalGeneration

    path = Path(path)
    words = _tokenizer_and_config(path, 16).vocab_size
    shape = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2}
    config = T5Config(vocab_size=words, pad_token_id=0, eos_token_id=3, decoder_start_token_id=0, **shape)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        T5ForConditionalGeneration(config).save_pretrained(path)
    return path


def _tokenizer_and_config(folder: Path, dimension: int):
    """Save a tokenizer of WORDS in the new ``folder`` and return the configuration of a BERT for it."""
    from transformers import BertConfig, BertTokenizerFast

    folder.mkdir(parents=True)
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    (folder / "vocab.txt").write_text("\n".join([*specials, *WORDS]) + "\n", encoding="utf-8")
    BertTokenizerFast(vocab=str(folder / "vocab.txt"), model_max_length=64).save_pretrained(folder)
    return BertConfig(
        vocab_size=len(specials) + len(WORDS),
        hidden_size=dimension,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=2 * dimension,
        max_position_embeddings=64,
        initializer_range=0.2,  # the usual 0.02 makes all texts look alike
    )


def tiny_corpus(n: int, seed: int = 0) -> tuple[list[str], list[str]]:
    """Return n passages of 8 to 24 known words, and n queries; query i is a few words of passage i."""
    rng = np.random.default_rng(seed)
    texts = [" ".join(rng.choice(WORDS, size=rng.integers(8, 25))) for _ in range(n)]
    queries = [" ".join(rng.permutation(text.split())[:4]) for text in texts]
    return texts, queries


def tiny_index(path, encoder, texts: Sequence[str], *, m: int = 8, docids: Sequence[str] | None = None) -> Path:
    """Write a JPQ index directory of 4-bit OPQ codes, untrained, with docids d0, d1, … if none are given."""
    from jpq_pyserini.codec.opq import train_opq
    from jpq_pyserini.codec.quantizer import ProductQuantizer
    from jpq_pyserini.encoders.text_encoder import embed_passages, load_text_encoder, save_text_encoder
    from jpq_pyserini.index import JPQIndex

    model = load_text_encoder(str(encoder))
    embeddings = embed_passages(model, texts)  # (N, D) float32
    rotation, centroids = train_opq(embeddings, m, 4, iterations=3, final_iterations=2, progress=False)
    codec = ProductQuantizer(centroids, centroids, rotation)
    settings = {"name_or_path": str(encoder), "pooling": None, "l2_norm": False, "max_length": None, "prompt": None}
    docids = docids or [f"d{row}" for row in range(len(texts))]
    index = JPQIndex(codec, codec.encode(embeddings), docids, encoder=settings)
    return index.save(path, lambda folder: save_text_encoder(model, folder))


def tiny_flat(path, encoder, texts: Sequence[str]) -> Path:
    """Write a flat Faiss folder as ``python -m pyserini.encode … output --to-faiss`` does, with docids d0, d1, …"""
    import faiss

    from jpq_pyserini.encoders.text_encoder import embed_passages, load_text_encoder

    embeddings = embed_passages(load_text_encoder(str(encoder)), texts)
    index = faiss.IndexFlatIP(embeddings.shape[1])
    index.add(embeddings)
    path = Path(path)
    path.mkdir(parents=True)
    faiss.write_index(index, str(path / "index"))
    (path / "docid").write_text("".join(f"d{row}\n" for row in range(len(texts))), encoding="utf-8")
    return path
