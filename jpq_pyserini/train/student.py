"""A smaller query encoder, trained to give the vectors of the full one: what comes before JPQ's own training.

The collection's index takes vectors, whoever makes them. Stage one needs queries but no judgements. For a batch of B
queries with the full encoder's vectors T and the student's S (both (B, D)), and the n documents of a sample that are
best for any query of the batch, it lowers KL(softmax(T·dᵀ) ‖ softmax(S·dᵀ)) + 1 - cos(T, S), mean over the queries.
"""

import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from tqdm import tqdm

from jpq_pyserini.data.corpus import Corpus
from jpq_pyserini.data.flat import Embeddings
from jpq_pyserini.data.made_queries import queries_of
from jpq_pyserini.data.topics import read_topics
from jpq_pyserini.encoders import backends, students
from jpq_pyserini.encoders.limits import QUERY, length_limit
from jpq_pyserini.encoders.query_cache import cache_of
from jpq_pyserini.encoders.text_encoder import embed_queries, embed_with_gradients, query_prompt
from jpq_pyserini.errors import JPQError
from jpq_pyserini.train.losses import distillation
from jpq_pyserini.train.model import word_embeddings
from jpq_pyserini.train.student_config import IMITATION_LR, IMITATION_STEPS, STATIC_LR, StudentConfig

logger = logging.getLogger(__name__)

_POOL = 1 << 15  # documents, a random sample, among which the best of a query are looked for
_BEST = 8  # of them for each query, which all queries of the batch share
_HELD_OUT = 500  # queries that are not trained on: how near the student comes to the teacher
_SORTED = 32  # batches whose queries are sorted by length
_WORTH_EXPORTING = 2000  # texts to encode with the teacher
_WARM_UP = 0.05  # of the steps
_FITTED = 20_000  # queries that a linear map is fitted to before the first step


def distillation_queries(files: Iterable[str | os.PathLike]) -> list[str]:
    """Read queries to imitate on: of topics, or made of a collection (a folder, or a .jsonl of documents).

    Raises:
        JPQError: a file is neither, or is damaged.
    """
    return list(dict.fromkeys(text for file in files for text in _texts(file)))


def _texts(file: str | os.PathLike) -> Iterable[str]:
    if Path(file).is_dir() or str(file).endswith((".jsonl", ".jsonl.gz")):
        try:
            return list(queries_of(Corpus(file)))
        except JPQError:
            if Path(file).is_dir():
                raise
    return read_topics(file).values()


def imitate(
    student,
    teacher,
    flat: Embeddings,
    texts: list[str],
    config: StudentConfig,
    *,
    scale: float,
    fit: bool = False,
    bf16: bool = False,
    seed: int = 42,
    progress: bool = True,
) -> dict:
    """Train ``student`` in place to give the vectors of ``teacher``.

    Args:
        student, teacher: ``SentenceTransformer`` objects of dimension D, on one device.
        flat: embeddings of the collection.
        texts: the queries; some are held out.
        config: its settings.
        scale: factor on scores, an inverse temperature.
        fit: first set what is linear in the student by least squares (:func:`~jpq_pyserini.encoders.students.fit`).
        bf16: compute the student in bfloat16.
        seed: of the order of the queries and the sample of documents.
        progress: show a bar.

    Returns:
        What the record keeps: ``queries``, ``steps``, and the mean ``cosine`` of the vectors of held-out queries with
        the teacher's, before and after.

    Raises:
        JPQError: there are fewer queries than a batch has.
    """
    steps = IMITATION_STEPS if config.distil_steps is None else config.distil_steps
    rng = np.random.default_rng(seed)
    wanted = steps * config.distil_batch_size + _HELD_OUT
    texts = [texts[i] for i in rng.permutation(len(texts))[:wanted]]
    held_out, texts = texts[: min(_HELD_OUT, len(texts) // 10)], texts[min(_HELD_OUT, len(texts) // 10) :]
    if len(texts) < config.distil_batch_size:
        raise JPQError(
            f"{len(texts):,} queries to imitate on are fewer than --distil-batch-size {config.distil_batch_size}: "
            "give more files as --distil-queries, e.g. the collection, whose titles and first sentences are taken"
        )
    device = student.device
    vectors_of_teacher = _teacher_vectors(teacher, config.teacher, [*held_out, *texts])
    reference, targets = vectors_of_teacher[: len(held_out)], torch.from_numpy(vectors_of_teacher[len(held_out) :])
    if fit:
        students.fit(student, texts[:_FITTED], targets[:_FITTED].numpy())
    record: dict = {"queries": len(texts), "steps": steps, "cosine": [_cosine(student, held_out, reference)]}
    pool = torch.from_numpy(flat.sample(_POOL, seed=seed)).to(device)
    optimizer, scheduler = _optimizer(student, config, steps)
    student.eval()  # without dropout: the target is exact
    batches = _batches(np.array([len(text) for text in texts]), config.distil_batch_size, steps, rng)
    for positions in tqdm(batches, "imitate", steps, disable=not progress):
        target = targets[positions].to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            vectors = embed_with_gradients(student, [texts[i] for i in positions])
        best = (target @ pool.T).topk(min(_BEST, len(pool)), dim=1).indices
        documents = pool[best.unique()]
        ours, theirs = (scale * each @ documents.T for each in (vectors, target))
        loss = distillation(ours, theirs, torch.ones_like(ours, dtype=torch.bool))
        loss = loss + 1 - F.cosine_similarity(vectors, target).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
    record["cosine"].append(_cosine(student, held_out, reference))
    return record


def _teacher_vectors(teacher, folder: str | None, texts: list[str]) -> np.ndarray:
    """Encode texts, (B, D); those of a teacher from a folder are kept where ``JPQ_QUERY_CACHE`` says."""

    def embed(texts):
        _speed_up(teacher, len(texts))
        return embed_queries(teacher, texts)

    cache = None
    if folder is not None and Path(folder).is_dir():
        cache = cache_of(folder, max_length=length_limit(teacher, QUERY), prompt=query_prompt(teacher))
    return embed(texts) if cache is None else cache.encode(texts, embed)


def _speed_up(teacher, texts: int) -> None:
    """Let the teacher run on ONNX Runtime, in half the time, where there is enough to encode on a CPU."""
    if texts < _WORTH_EXPORTING or teacher.device.type != "cpu":
        return
    try:
        backends.exported(teacher, backends.ONNX)
    except JPQError as error:
        logger.warning("the teacher is run with torch, which takes longer: %s", error)


def _optimizer(student, config: StudentConfig, steps: int):
    """AdamW over all but a transformer's word embeddings; linear warm-up, linear decay."""
    frozen = word_embeddings(student)
    trained = [parameter for parameter in student.parameters() if parameter not in frozen]
    for parameter in frozen:
        parameter.requires_grad_(False)
    static = not frozen
    lr = config.distil_lr or (STATIC_LR if static else IMITATION_LR)
    optimizer = torch.optim.AdamW(trained, lr=lr, weight_decay=0.0 if static else 0.01, fused=True)
    warm_up = max(1, int(_WARM_UP * steps))
    factor = lambda step: min((step + 1) / warm_up, (steps - step) / max(1, steps - warm_up))  # noqa: E731
    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, factor)


def _batches(lengths: np.ndarray, size: int, steps: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield positions (size,) of texts of similar length, in a new random order for each pass.

    A batch costs what its longest text costs. What is left at the end of a pass is passed over.
    """
    while steps > 0:
        order = rng.permutation(len(lengths))
        for start in range(0, len(order) - size + 1, size * _SORTED):
            group = order[start : start + size * _SORTED]
            group = group[lengths[group].argsort(kind="stable")]
            firsts = rng.permutation(range(0, len(group) - size + 1, size))[:steps]
            yield from (group[first : first + size] for first in firsts)
            steps -= len(firsts)


def _cosine(student, texts: list[str], reference: np.ndarray) -> float | None:
    if not texts:
        return None
    vectors = embed_queries(student, texts)
    norms = np.linalg.norm(vectors, axis=1) * np.linalg.norm(reference, axis=1)
    return round(float(((vectors * reference).sum(1) / norms).mean()), 4)
