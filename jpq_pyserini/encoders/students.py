"""Smaller query encoders, made from the one that encoded the documents, to be trained to give its vectors.

JPQ trains the query encoder only, so that it may be another model than the documents' encoder, as long as its vectors
have the same dimension. Three kinds: some layers of the full encoder, a table with a vector for each token
(``StaticEmbedding``: a query is the mean of its tokens), and any smaller model. A linear map to the full encoder's
vectors, found by least squares (:func:`fit`), brings the first two nearer than hundreds of training steps: a table then
has 83% of the full encoder's RR@10 on SQuAD's val questions, the first and the last of six layers 78%.
"""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from jpq_pyserini.encoders.text_encoder import embed_queries, query_prompt
from jpq_pyserini.errors import JPQError

#: What ``--query-encoder`` says for a table of token vectors.
STATIC = "static"
_TOKENS = 512  # of the vocabulary, encoded at once


def some_layers(model, count: int):
    """Return a copy of a ``SentenceTransformer`` with ``count`` of its transformer's layers, evenly spaced.

    The first and the last are among them: of two out of six these were the best, before any training.

    Raises:
        JPQError: the model is no transformer, or has fewer layers.
    """
    smaller = copy.deepcopy(model)
    transformer: Any = getattr(smaller[0], "model", None)
    total = getattr(getattr(transformer, "config", None), "num_hidden_layers", 0)
    stacks = [
        (parent, name, layers)
        for parent in (transformer.modules() if transformer is not None else ())
        for name, layers in parent.named_children()
        if isinstance(layers, nn.ModuleList) and len(layers) == total
    ]
    if len(stacks) != 1:
        raise JPQError(f"--query-layers {count}: the layers of a {type(transformer).__name__} are not known")
    if not 1 <= count <= total:
        raise JPQError(f"--query-layers {count}: the encoder has {total} layers; give at most as many")
    parent, name, layers = stacks[0]
    kept = [int(position) for position in np.linspace(0, total - 1, count)]
    setattr(parent, name, nn.ModuleList([layers[position] for position in kept]))
    transformer.config.num_hidden_layers = count
    if getattr(transformer.config, "layer_types", None):  # of each layer, in newer models
        transformer.config.layer_types = [transformer.config.layer_types[position] for position in kept]
    return smaller


@torch.no_grad()
def token_table(model):
    """Return a ``SentenceTransformer`` of static token embeddings: each token, encoded alone by ``model``.

    Raises:
        JPQError: the model has no fast tokenizer.
    """
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, StaticEmbedding
    from tokenizers import Tokenizer

    tokenizer = getattr(model[0], "tokenizer", None)
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise JPQError(f"--query-encoder {STATIC}: the encoder has no fast tokenizer: use --query-layers instead")
    own = Tokenizer.from_str(backend.to_str())  # what follows would change the model's
    own.no_truncation()
    empty, one = (tokenizer(text)["input_ids"] for text in ("", "a"))
    before = next((i for i, (a, b) in enumerate(zip(empty, one, strict=False)) if a != b), len(empty))
    first, last = empty[:before], empty[before:]
    vectors = []
    for start in range(0, own.get_vocab_size(), _TOKENS):
        ids = [[*first, token, *last] for token in range(start, min(start + _TOKENS, own.get_vocab_size()))]
        features = {"input_ids": torch.tensor(ids, device=model.device)}
        features["attention_mask"] = torch.ones_like(features["input_ids"])
        vectors.append(model(features)["sentence_embedding"].float().cpu())
    modules = [StaticEmbedding(own, embedding_weights=torch.cat(vectors))]
    if isinstance(model[-1], Normalize):
        modules.append(Normalize())
    return SentenceTransformer(modules=modules, device=str(model.device))


def with_dimension(model, dimension: int, normalise: bool):
    """Return ``model`` with a linear layer to ``dimension``, of random weights, and normalised or not."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Dense, Normalize

    modules = [module for module in model if not isinstance(module, Normalize)]
    modules.append(Dense(model.get_embedding_dimension(), dimension, activation_function=nn.Identity()))
    if normalise:
        modules.append(Normalize())
    return SentenceTransformer(modules=modules, device=str(model.device), prompts={"query": query_prompt(model)})


def fit(model, queries: Sequence[str], wanted: np.ndarray) -> None:
    """Set what is linear in a smaller encoder by least squares: its last linear layer, or its table of token vectors.

    Args:
        model: what :func:`with_dimension` or :func:`token_table` made, which is changed.
        queries: B texts.
        wanted: (B, D) the vectors that they should have.
    """
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Dense

    modules = list(model)
    static = type(modules[0]).__name__ == "StaticEmbedding"
    end = 1 if static else max(place for place, module in enumerate(modules) if isinstance(module, Dense))
    before = SentenceTransformer(modules=modules[:end], device=str(model.device), prompts=dict(model.prompts))
    weight, bias = map(torch.from_numpy, _least_squares(embed_queries(before, queries), wanted))
    with torch.no_grad():
        if static:  # the mean of mapped vectors is the mapped mean
            table = modules[0].embedding.weight
            table.copy_(table.cpu() @ weight + bias)
        else:
            modules[end].linear.weight.copy_(weight.T)
            modules[end].linear.bias.copy_(bias)


def _least_squares(vectors: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return weight (d, D) and bias (D,) that map (B, d) nearest to (B, D)."""
    design = np.concatenate([vectors, np.ones((len(vectors), 1), np.float32)], axis=1).astype(np.float64)
    ridge = 1e-3 * len(vectors) * np.mean(vectors**2) * np.eye(design.shape[1])
    solved = np.linalg.solve(design.T @ design + ridge, design.T @ wanted.astype(np.float64)).astype(np.float32)
    return solved[:-1], solved[-1]
