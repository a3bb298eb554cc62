"""Encoders of the sizes that people use, with random weights, made on the spot: a benchmark needs no download."""

import tempfile
from pathlib import Path

import numpy as np
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

from jpq_pyserini.encoders.text_encoder import quietly

#: Name -> hidden size, layers, heads, intermediate size: all-MiniLM-L6-v2's and BERT-base's, and one for tests.
SIZES = {
    "MiniLM": (384, 6, 12, 1536),
    "BERT-base": (768, 12, 12, 3072),
    "tiny": (32, 2, 4, 64),
}
_WORDS = 2000  # of the vocabulary; each is one token
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def random_encoder(size: str, device: str) -> SentenceTransformer:
    """Return a BERT of one of the :data:`SIZES` with mean pooling and random weights, on ``device``."""
    from transformers import BertConfig, BertModel, BertTokenizerFast

    hidden, layers, heads, intermediate = SIZES[size]
    with tempfile.TemporaryDirectory() as folder:
        vocabulary = Path(folder, "vocab.txt")
        vocabulary.write_text("\n".join([*_SPECIAL, *map(word, range(_WORDS))]) + "\n", encoding="utf-8")
        BertTokenizerFast(vocab=str(vocabulary), model_max_length=512).save_pretrained(folder)
        config = BertConfig(
            vocab_size=30_522,  # as published, for the size of the word embeddings
            hidden_size=hidden,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            intermediate_size=intermediate,
        )
        with quietly():
            BertModel(config).save_pretrained(folder)
            modules = [Transformer(folder), Pooling(hidden, pooling_mode="mean")]
        return SentenceTransformer(modules=modules, device=device)


def word(number: int) -> str:
    """Return the word of that number: three syllables."""
    syllables = [first + second for first in "bdfgklmnprst" for second in "aeiou"]
    first, rest = divmod(number, len(syllables) ** 2)
    return "".join(syllables[n] for n in (first, *divmod(rest, len(syllables))))


def random_texts(count: int, words: int, seed: int) -> list[str]:
    """Return texts of about ``words`` words, half to one and a half times as many."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(max(1, words // 2), words + words // 2 + 1, count)
    return [" ".join(map(word, rng.integers(0, _WORDS, length))) for length in lengths]
