"""Files in the layout of the authors' release, with small random weights, and their formulas written out."""

import functools
import itertools
import json
import re
from pathlib import Path

import numpy as np
import torch
from torch import nn
from transformers import RobertaConfig, RobertaModel

D, M = 32, 8
_SPECIALS = ("<s>", "<pad>", "</s>", "<unk>")
#: In the order in which they are merged. "Ġ" stands for a space, as in every byte-level vocabulary.
MERGES = ("Ġ w", "h a", "Ġw ha", "Ġwha t", "i s", "Ġ is", "ha t", "Ġ t", "Ġt he", "h e", "Ġt h", "Ġ a", "Ġ c", "w hat")


@functools.cache
def byte_alphabet() -> dict[int, str]:
    """Byte → character of GPT-2's vocabularies: printable ones stand for themselves, the others follow from U+0100."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + i) for i, byte in enumerate(others)}


@functools.cache
def vocabulary() -> dict[str, int]:
    """Token → id: 4 special tokens, 256 bytes in the order of their values, the merges, <mask>."""
    tokens = [*_SPECIALS, *(byte_alphabet()[byte] for byte in range(256))]
    tokens += [merge.replace(" ", "") for merge in MERGES] + ["<mask>"]
    return {token: i for i, token in enumerate(tokens)}


def write_tokenizer(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(vocabulary()))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(MERGES) + "\n", encoding="utf-8")
    return folder


def old_ids(text: str, max_length: int = 512) -> list[int]:
    """What Transformers 2.8 gave for ``encode(text, add_special_tokens=True)`` with ``do_lower_case=True``."""
    if text and not text[0].isspace():
        text = " " + text
    text = "".join(character.lower() for character in text).rstrip()
    pieces = re.findall(r"'s|'t|'re|'ve|'m|'ll|'d| ?[^\W\d_]+| ?\d+| ?(?:[^\s\w]|_)+|\s+(?!\S)|\s+", text)
    ids = []
    for piece in pieces:
        parts = [byte_alphabet()[byte] for byte in piece.encode()]
        while pairs := [pair for pair in itertools.pairwise(parts) if " ".join(pair) in MERGES]:
            best = min(pairs, key=lambda pair: MERGES.index(" ".join(pair)))
            at = list(itertools.pairwise(parts)).index(best)
            parts[at : at + 2] = ["".join(best)]
        ids += [vocabulary()[part] for part in parts]
    return [0, *ids[: max_length - 2], 2]


class RobertaDot(nn.Module):
    """The authors' encoder: linear layer and LayerNorm on the first token of RoBERTa."""

    def __init__(self, seed: int):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.config = RobertaConfig(
                vocab_size=len(vocabulary()),
                hidden_size=D,
                num_hidden_layers=2,
                num_attention_heads=4,
                intermediate_size=64,
                max_position_embeddings=66,
                type_vocab_size=1,
                initializer_range=0.3,
                layer_norm_eps=1e-5,
            )
            self.roberta = RobertaModel(self.config, add_pooling_layer=False)
            self.embeddingHead = nn.Linear(D, D)
            self.norm = nn.LayerNorm(D)
            nn.init.normal_(self.norm.weight)
            nn.init.normal_(self.norm.bias)
        self.eval()

    @torch.no_grad()
    def embed(self, texts, max_length: int) -> np.ndarray:
        """One text after the other, so that nothing is padded; returns (B, D)."""
        rows = []
        for text in texts:
            ids = torch.tensor([old_ids(text, max_length)])
            first = self.roberta(input_ids=ids, attention_mask=torch.ones_like(ids))[0][:, 0]
            rows.append(self.norm(self.embeddingHead(first)).numpy())
        return np.concatenate(rows)


def write_encoder(folder: Path, seed: int, centroids=None, rotation=None, tokenizer: bool = True) -> RobertaDot:
    """Save an encoder as the release does, without a tokenizer unless asked; with centroids it is a dual encoder's."""
    model = RobertaDot(seed)
    folder.mkdir(parents=True)
    config = {**model.config.to_dict(), "architectures": ["RobertaDot"], "gradient_checkpointing": False}
    weights = dict(model.state_dict())
    weights["roberta.embeddings.position_ids"] = torch.arange(66)[None]  # as older releases of Transformers saved it
    if centroids is not None:
        config |= {"MCQ_M": centroids.shape[0], "MCQ_K": centroids.shape[1]}
        weights |= {"centroids": torch.tensor(centroids), "rotation": torch.tensor(rotation)}
    (folder / "config.json").write_text(json.dumps(config))
    torch.save(weights, folder / "pytorch_model.bin")
    if tokenizer:
        write_tokenizer(folder)
    return model


def write_index(path: Path, embeddings: np.ndarray, m: int):
    """Build OPQ{m},IVF1,PQ{m}x8 as their run_init.py does, move the centroids as training does, and save it."""
    import faiss

    index = faiss.index_factory(D, f"OPQ{m},IVF1,PQ{m}x8", faiss.METRIC_INNER_PRODUCT)
    lists = faiss.downcast_index(index.index)
    lists.do_polysemous_training = False  # which takes long
    opq, pq = faiss.downcast_VectorTransform(index.chain.at(0)), lists.pq
    opq.niter, opq.niter_pq, opq.niter_pq_0, pq.cp.niter, pq.cp.min_points_per_centroid = 1, 1, 1, 2, 1
    index.train(embeddings)
    index.add(embeddings)
    centroids = faiss.vector_to_array(pq.centroids)
    moved = centroids + np.random.default_rng(1).normal(0, 0.05, centroids.shape).astype(np.float32)
    faiss.copy_array_to_vector(moved, pq.centroids)
    faiss.write_index(index, str(path))
    return index
