"""The user's own collection, checked and brought into the form that a quickstart needs."""

from collections.abc import Mapping, Sequence

from jpq_pyserini.data.topics import read_qrels, read_topics, training_pairs
from jpq_pyserini.errors import JPQError
from jpq_pyserini.quickstart.collection import PARTS, Query, part_of


def read_queries(files: Mapping[str, tuple[str, str] | None], docids: Sequence[str]) -> dict[str, list[Query]]:
    """Read the topics and qrels of each part and split off by hash the parts that are not given.

    Queries of train and dev whose text is a test query too are left out: the table would flatter JPQ.

    Args:
        files: Part (train, dev, test) to (topics, qrels), names or files; None to split the part off from train.
        docids: The ids of the collection.

    Raises:
        JPQError: see :mod:`jpq_pyserini.data.topics`; or a part would be left without queries.
    """
    rows = {docid: row for row, docid in enumerate(docids)}
    queries = {part: _judged(*names, rows) if names else [] for part, names in files.items()}
    total = len(queries["train"])
    missing = {part for part in PARTS if files[part] is None}
    if missing:
        given, queries["train"] = queries["train"], []
        for query in given:
            part = part_of("query " + query.qid)
            queries[part if part in missing else "train"].append(query)
    tested = {_folded(query.text) for query in queries["test"]}
    for part in ("train", "dev"):
        kept = [query for query in queries[part] if _folded(query.text) not in tested]
        if len(kept) < len(queries[part]):
            print(f"  {len(queries[part]) - len(kept)} {part} queries left out: their text is a test query, too")
        queries[part] = kept
    for part, least in (("train", 1), ("dev", 1), ("test", 2)):
        if len(queries[part]) < least:
            raise JPQError(
                f"{files['train'][0]}: {total} judged queries leave {len(queries[part])} for {part}: "
                "give more, or --dev-topics/--dev-qrels and --test-topics/--test-qrels"
            )
    return queries


def _folded(text: str) -> str:
    return " ".join(text.split()).casefold()


def _judged(topics_name: str, qrels_name: str, rows: Mapping[str, int]) -> list[Query]:
    """Return the queries that have a relevant document, with their judgements."""
    topics, qrels = read_topics(topics_name), read_qrels(qrels_name)
    pairs, _ = training_pairs(topics, qrels, rows)
    return [Query(pair.qid, pair.text, qrels[pair.qid]) for pair in pairs]
