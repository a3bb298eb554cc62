"""Figure 3: where the negatives of a brute-force search and those of a JPQ search lie around a query.

The documents are drawn as the index scores them, quantized (d† of equation 6): there, the negatives of JPQ are the
nearest neighbours of the query, and those of brute force are not.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from jpq_pyserini import JPQIndex
from jpq_pyserini.codec.euclidean import missing_lengths
from jpq_pyserini.data.flat import Embeddings
from jpq_pyserini.data.topics import TrainingQuery
from jpq_pyserini.errors import JPQError
from jpq_pyserini.eval.figures import style
from jpq_pyserini.train.negatives import split_negatives
from jpq_pyserini.train.search import FaissCodeSearch, FaissFlatSearch

# Kind of point, as the legend says it, and how it is drawn; the last is on top.
_KINDS = {
    "both": ("negative of both", {"color": "0.75", "marker": "o", "markersize": 2.6}),
    "bf": ("BF negative only", {"color": "#D55E00", "marker": "^", "markersize": 3.8, "markerfacecolor": "white"}),
    "jpq": ("JPQ negative only", {"color": "#0072B2", "marker": "s", "markersize": 3.2}),
    "relevant": ("relevant", {"color": "#009E73", "marker": "P", "markersize": 7, "markeredgecolor": "black"}),
    "query": ("query", {"color": "#E69F00", "marker": "*", "markersize": 10, "markeredgecolor": "black"}),
}


@dataclasses.dataclass(frozen=True)
class QueryNegatives:
    """The negatives of one query in one index.

    Attributes:
        index: what the figure calls the index.
        qid: of the query.
        rows: (n,) int64, the documents around it: negatives of both searches, and relevant ones.
        kinds: of each row, a key of ``_KINDS``.
        overlap: documents that are negatives in both searches.
        count: negatives of one search.
        places: (n + 1, 2) float32, t-SNE of the documents and, last, of the query.
    """

    index: str
    qid: str
    rows: np.ndarray
    kinds: list[str]
    overlap: int
    count: int
    places: np.ndarray


def check_same_collection(index: JPQIndex, flat: Embeddings) -> None:
    """Raise :class:`JPQError` if the index does not hold the documents of the flat folder, in its order."""
    N, D = flat.embeddings.shape
    if index.codec.dimension != D:
        raise JPQError(
            f"{index.name} has dimension {index.codec.dimension}, the embeddings in {flat.path} have {D}: "
            "give the flat folder that the index was made from"
        )
    row = next(
        (row for row, pair in enumerate(zip(index.docids, flat.docids, strict=False)) if pair[0] != pair[1]), None
    )
    if row is not None or len(index) != N:
        told = (
            f"document {row} is {index.docids[row]!r} in one and {flat.docids[row]!r} in the other"
            if row is not None
            else "one is longer"
        )
        raise JPQError(
            f"{index.name} ({len(index):,} documents) and {flat.path} ({N:,}) are not of one collection, {told}: "
            "give the flat folder that the index was made from"
        )


def find(
    name: str, index: JPQIndex, flat: Embeddings, queries: Sequence[TrainingQuery], vectors: np.ndarray, count: int,
    *, seed: int = 42, perplexity: float = 30.0,
) -> list[QueryNegatives]:  # fmt: skip
    """Search both ways and lay the documents out on a plane.

    Args:
        name: of the index.
        index, flat: of one collection.
        queries: with the rows of their relevant documents.
        vectors: (B, D) float32, the queries by the query encoder of the index, unrotated.
        count: n̂, negatives of each search.
        seed: of t-SNE.
        perplexity: of t-SNE; less if there are too few documents.
    """
    import torch

    relevant = [query.rows for query in queries]
    codes, centroids = torch.from_numpy(index.codes), torch.from_numpy(index.codec.centroids)
    hits = min(count + max(map(len, relevant)), len(index))
    quantized = FaissCodeSearch(centroids, codes).search(torch.from_numpy(index.codec.rotate(vectors)), hits)
    exact = FaissFlatSearch(flat).search(torch.from_numpy(vectors), hits)
    negatives = {}
    for kind, found in (("jpq", quantized), ("bf", exact)):
        taken = split_negatives(found, relevant, count)
        negatives[kind] = [rows[mask].tolist() for rows, mask in zip(taken.negatives, taken.negative_mask, strict=True)]
    neighbourhoods = []
    for b, query in enumerate(queries):
        jpq, bf = set(negatives["jpq"][b]), set(negatives["bf"][b])
        kinds = {row: "both" if row in jpq and row in bf else "jpq" if row in jpq else "bf" for row in sorted(jpq | bf)}
        kinds |= dict.fromkeys(sorted(query.rows), "relevant")
        rows = np.array(list(kinds), dtype=np.int64)
        places = on_a_plane(index.codec.decode(index.codes[rows]), vectors[b], seed=seed, perplexity=perplexity)
        neighbourhoods.append(
            QueryNegatives(name, query.qid, rows, list(kinds.values()), len(jpq & bf), len(jpq), places)
        )
    return neighbourhoods


def on_a_plane(documents: np.ndarray, query: np.ndarray, *, seed: int, perplexity: float) -> np.ndarray:
    """Lay documents (n, D) and a query (D,) out by t-SNE; returns (n + 1, 2) float32, the query last."""
    manifold = style.needed("sklearn.manifold")
    together = of_one_length(documents, query)
    perplexity = min(perplexity, max(1.0, (len(together) - 1) / 3))
    return manifold.TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(together)


def of_one_length(documents: np.ndarray, query: np.ndarray) -> np.ndarray:
    """Return vectors whose distances tell what inner products told, because t-SNE knows distances only.

    One more component brings every document to the length Φ of the longest one (:mod:`jpq_pyserini.codec.euclidean`);
    the query is scaled to Φ as well. Then |q − d|² = 2Φ² − 2⟨q,d⟩·Φ/|q|: the nearest document is the best one.

    Args:
        documents: (n, D) float32.
        query: (D,) float32.

    Returns:
        (n + 1, D + 1) float32, the query last.
    """
    square, missing = missing_lengths(documents)
    length = np.linalg.norm(query)
    scaled = query * (np.sqrt(square) / length if length else 1)
    return np.vstack([np.column_stack([documents, missing]), np.append(scaled, 0)]).astype(np.float32)


def draw(neighbourhoods: Sequence[QueryNegatives], *, width: float | None = None):
    """Draw one panel a query and index: a row for each query, a column for each index."""
    from matplotlib.lines import Line2D

    names = list(dict.fromkeys(each.index for each in neighbourhoods))
    qids = list(dict.fromkeys(each.qid for each in neighbourhoods))
    width = width or min(2, len(names)) * style.COLUMN_CM
    figure, grid = style.new_figure(
        len(qids),
        len(names),
        width=width,
        height=max(4.5, min(6.5, width / len(names))),
        subplot_kw={"xticks": [], "yticks": []},
    )
    for each in neighbourhoods:
        axes = grid[qids.index(each.qid)][names.index(each.index)]
        axes.spines[["top", "right"]].set_visible(True)
        axes.set_title(f"{each.index}, query {each.qid}\nshared: {each.overlap} of {each.count}")
        kinds = np.array([*each.kinds, "query"])
        for kind, (_, look) in _KINDS.items():
            places = each.places[kinds == kind]
            if len(places):
                (line,) = axes.plot(places[:, 0], places[:, 1], linestyle="none", markeredgewidth=0.6, **look)
                style.tag(line, kind, each.index, each.qid)
    handles = [
        Line2D([], [], linestyle="none", markeredgewidth=0.6, **look, label=label) for label, look in _KINDS.values()
    ]
    style.legend_below(figure, handles)
    return figure


def record(neighbourhood: QueryNegatives, docids: Sequence[str]) -> dict:
    """Return everything that was drawn, docid by docid."""
    places = neighbourhood.places.round(3).tolist()
    return {
        "index": neighbourhood.index,
        "qid": neighbourhood.qid,
        "negatives": neighbourhood.count,
        "shared": neighbourhood.overlap,
        "query": places[-1],
        "documents": [
            {"docid": docids[int(row)], "kind": kind, "place": place}
            for row, kind, place in zip(neighbourhood.rows, neighbourhood.kinds, places[:-1], strict=True)
        ],
    }
