"""The official measure of MS MARCO's leaderboards, MRR over the ranks that a run's file states."""

from collections.abc import Mapping

from jpq_pyserini.errors import JPQError

OFFICIAL = "MSMARCO-MRR"


def official_reciprocal_rank(run, qid: str, relevances: Mapping[str, int], cutoff: int) -> float:
    """Return what ``msmarco_passage_eval`` (cutoff 10) and ``msmarco_doc_eval`` (100) add up for one query.

    The script goes by the third column of an MS MARCO run, not by scores; a TREC run is taken by its rank column, which
    is what Anserini's converter between the formats does. Where two documents have one rank, the later line counts; a
    rank that nothing has is a miss. The script takes every line of its qrels for relevant; here those above zero are,
    which is the same for the qrels it is made for.

    Raises:
        JPQError: ``run`` is not from a file, or its ranks are not 1, 2, ….
    """
    if not hasattr(run, "at_ranks"):
        raise JPQError(f"{OFFICIAL}@{cutoff} needs the ranks of a run file: use RR@{cutoff}, which goes by scores")
    for rank, docid in enumerate(run.at_ranks(qid, cutoff), 1):
        if docid is not None and relevances.get(docid, 0) > 0:
            return 1 / rank
    return 0.0
