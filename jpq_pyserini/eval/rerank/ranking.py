"""New scores for the top of each query, and the ranking that they make with the rest."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from jpq_pyserini.eval.measures import trec_order
from jpq_pyserini.eval.rerank.journal import QueryScores
from jpq_pyserini.timing import timed


def reranked(docids: Sequence[str], scores: Mapping[str, float]) -> dict[str, float]:
    """Order the documents that have a score by it, then the others as they are.

    Args:
        docids: one query's documents, best first.
        scores: docid to the re-ranker's score, of some of them.

    Returns:
        docid to score, best first, which trec_eval orders the same: equal scores by docid, descending; a document
        without a score gets one below all others that falls by 1 a rank (more where 32-bit floats are farther apart).
    """
    ranking = {docid: float(np.float32(scores[docid])) for docid in trec_order(scores)}
    others = [docid for docid in docids if docid not in scores]
    floor = min(ranking.values(), default=0.0)
    step = max(1.0, 2 * float(np.spacing(np.float32(abs(floor) + 2 * len(others)))))
    return ranking | {docid: floor - step * number for number, docid in enumerate(others, 1)}


def score_queries(
    heads: Mapping[str, Sequence[str]],
    topics: Mapping[str, str],
    text_of: Callable[[str], str],
    score: Callable[[str, list[str]], np.ndarray],
) -> Iterator[tuple[str, QueryScores]]:
    """Score the documents of each query, a query at a time, and yield what came out.

    Args:
        heads: qid to the docids to score.
        topics: qid to query.
        text_of: docid to text; not timed.
        score: query and texts to scores (n,); timed. The first query is scored twice, because a first pass is slow.
    """
    for number, (qid, docids) in enumerate(heads.items()):
        texts = [text_of(docid) for docid in docids]
        if number == 0:
            score(topics[qid], texts)
        scores, seconds = timed(score, topics[qid], texts)
        yield qid, QueryScores(dict(zip(docids, scores.tolist(), strict=True)), seconds)
