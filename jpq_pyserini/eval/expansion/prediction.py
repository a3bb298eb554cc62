"""Queries that a sequence-to-sequence model predicts for passages, as docT5query does: sampled, resumable.

Nogueira and Lin, "From doc2query to docTTTTTquery" (2019): for each passage, cut at 512 tokens, a T5 samples queries of
at most 64 tokens, each token from the 10 likeliest. The published expansion of MS MARCO has 40 of them for a passage.
"""

import itertools
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from jpq_pyserini.cli import check_settings, setting
from jpq_pyserini.data.corpus import Corpus
from jpq_pyserini.data.lines import text_lines
from jpq_pyserini.encoders.loading import check_device, checked_weights
from jpq_pyserini.encoders.text_encoder import loading
from jpq_pyserini.json_text import parse_json
from jpq_pyserini.resume import GrowingLines, WorkFolder, fingerprint
from jpq_pyserini.storage import check_output, locked, new_file

_CHUNK = 256  # passages sorted by length together, and kept when a run is stopped
_MOST = 1 << 14  # of queries, and of tokens: beyond that a model only runs for hours


@dataclass(frozen=True)
class Sampling:
    """How queries are sampled; the command line is made from these fields."""

    samples: int = setting(40, "queries predicted for a passage", least=1, most=_MOST)
    top_k: int = setting(10, "each token is drawn from the K likeliest", least=1)
    max_length: int = setting(512, "passages are cut at this many tokens", least=1, most=_MOST)
    max_query_length: int = setting(64, "queries have at most this many tokens", least=1, most=_MOST)
    batch_size: int = setting(8, "passages at once; each takes the memory of all its queries", least=1)
    seed: int = setting(42, "random seed", least=0)

    def __post_init__(self):
        check_settings(self)


def predict_queries(
    corpus: str | os.PathLike,
    model: str,
    output: str | os.PathLike,
    sampling: Sampling = Sampling(),
    *,
    device: str | None = None,
    resume: bool = False,
) -> int:
    """Predict queries for every passage; write JSON lines ``{"id": …, "predicted_queries": […]}``.

    Until they are written, the folder ``OUTPUT.predicting`` keeps what there is, so that a stopped run goes on; the
    result is the same. Equal queries of a passage all stay: how often a term comes is what BM25 counts.

    Args:
        corpus: as :class:`~jpq_pyserini.data.corpus.Corpus` takes it.
        model: sequence-to-sequence model of transformers, say ``castorini/doc2query-t5-base-msmarco``; name or folder.
        output: file to write.
        sampling: how.
        device: torch device; None: a GPU if there is one.
        resume: continue from what a stopped run left, if it left anything.

    Returns:
        The number of passages.

    Raises:
        JPQError: the model cannot be loaded or is of another kind, or a line of the corpus is no passage.
    """
    passages = Corpus(corpus)
    check_output(output)
    made_from = asdict(sampling) | {"model": fingerprint(model), "corpus": passages.fingerprint()}
    with locked(output):
        work = WorkFolder(f"{os.fspath(output)}.predicting", made_from, resume)
        count = len(passages.docids())
        generator, tokenizer = _load(model, device)
        work.claim()
        done = GrowingLines(work.path / "chunks.jsonl")
        for chunk in _predicted(passages, count, done, generator, tokenizer, sampling):
            done.append(chunk)
        with new_file(output) as file:
            for _, line in text_lines(done.path):
                for docid, queries in parse_json(line):
                    file.write(json.dumps({"id": docid, "predicted_queries": queries}, ensure_ascii=False) + "\n")
        work.discard()
    return count


def _predicted(passages, count: int, done: GrowingLines, model, tokenizer, sampling: Sampling) -> Iterator[list]:
    """Yield chunks that are not done yet: (docid, queries) of each passage, in order."""
    import torch
    from tqdm import tqdm

    first = sum(1 for _ in text_lines(done.path)) if done.path.is_file() else 0
    rest = itertools.islice(passages, first * _CHUNK, None)
    bar = tqdm(desc="predict queries", total=count, initial=min(count, first * _CHUNK), unit="passage", disable=None)
    with bar, torch.inference_mode():
        for number in itertools.count(first):
            chunk = list(itertools.islice(rest, _CHUNK))
            if not chunk:
                return
            torch.manual_seed(sampling.seed + number)  # whether or not the chunks before were made in this run
            found: list[list[str]] = [[]] * len(chunk)
            order = sorted(range(len(chunk)), key=lambda at: -len(chunk[at][1]))
            for start in range(0, len(chunk), sampling.batch_size):
                batch = order[start : start + sampling.batch_size]
                queries = _queries([chunk[at][1] for at in batch], model, tokenizer, sampling)
                for at, its in zip(batch, queries, strict=True):
                    found[at] = its
                bar.update(len(batch))
            yield [(docid, queries) for (docid, _), queries in zip(chunk, found, strict=True)]


def _queries(texts: list[str], model, tokenizer, sampling: Sampling) -> list[list[str]]:
    """Return the queries of each text."""
    inputs = tokenizer(texts, padding=True, truncation=True, max_length=sampling.max_length, return_tensors="pt")
    tokens = model.generate(
        input_ids=inputs["input_ids"].to(model.device),
        attention_mask=inputs["attention_mask"].to(model.device),
        do_sample=True,
        top_k=sampling.top_k,
        top_p=1.0,
        temperature=1.0,
        num_beams=1,
        max_new_tokens=sampling.max_query_length,
        num_return_sequences=sampling.samples,
    )
    queries = [" ".join(each.split()) for each in tokenizer.batch_decode(tokens, skip_special_tokens=True)]
    return [queries[at : at + sampling.samples] for at in range(0, len(queries), sampling.samples)]


def _load(name_or_path: str, device: str | None) -> tuple[Any, Any]:
    """Load a model, on its device, and its tokenizer; weights must be safetensors, because pickles can run code."""
    import torch
    import transformers

    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    check_device(device)
    remedy = (
        "name a folder with model.safetensors, or a model of the Hugging Face hub that is in its cache or can be "
        "reached, such as castorini/doc2query-t5-base-msmarco"
    )
    with loading("sequence-to-sequence model", name_or_path, remedy), checked_weights(name_or_path):
        model = transformers.AutoModelForSeq2SeqLM.from_pretrained(name_or_path, use_safetensors=True)
        tokenizer = transformers.AutoTokenizer.from_pretrained(name_or_path)
    return model.to(device).eval(), tokenizer
