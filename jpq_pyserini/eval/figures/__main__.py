"""``python -m jpq_pyserini.eval.figures FIGURE``: the figures of the paper, from runs and indexes at hand."""

import json
from collections.abc import Sequence
from pathlib import Path

from jpq_pyserini.cli import command_line, note, run_main, say
from jpq_pyserini.data.runs import named_paths
from jpq_pyserini.data.topics import TrainingQuery, read_qrels, read_topics, training_pairs
from jpq_pyserini.errors import JPQError
from jpq_pyserini.eval.comparison import compare
from jpq_pyserini.eval.facts import facts_path
from jpq_pyserini.eval.figures import ablation, points, style, tradeoff
from jpq_pyserini.eval.figures.arguments import parser
from jpq_pyserini.eval.measures import parse_measure
from jpq_pyserini.storage import check_outputs, new_file

# Figure -> its x axis, and the flags that this takes.
_SCALES = {
    "size": (tradeoff.size, ["total"]),
    "memory": (tradeoff.memory, ["uncompressed"]),
    "speed": (tradeoff.speed, ["uncompressed", "with_encoding"]),
}
# Flag -> the fact that it needs besides.
_MORE_FACTS = {"total": "documents", "with_encoding": "encode_ms_per_query"}


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line, draw, write, say where."""
    args = parser().parse_args(argv)
    command = command_line("jpq_pyserini.eval.figures", argv)
    output = Path(args.output)
    output = output.with_suffix("") if output.suffix in (".png", ".svg", ".json") else output
    if not output.name or output.is_dir():
        raise JPQError(f"--output {args.output}: name files to write, without their ending, not a folder")
    check_outputs([f"{output}{ending}" for ending in (".png", ".svg", ".json")], _inputs(args))
    with style.in_print():
        figure, drawn = {"ablation": _ablation, "negatives": _negatives}.get(args.figure, _tradeoff)(args)
        written = style.save(figure, output)
    written.append(Path(f"{output}.json"))
    with new_file(written[-1]) as file:
        file.write(
            json.dumps({"figure": args.figure, "command": command, **drawn}, indent=2, ensure_ascii=False) + "\n"
        )
    say("wrote " + ", ".join(map(str, written)))


def _inputs(args) -> list[str]:
    """Return all files and folders that the arguments name to be read."""
    found = [getattr(args, name, None) for name in ("qrels", "topics", "scores", "embeddings", "encoder")]
    found += getattr(args, "published", [])
    for flag in ("run", "index"):
        paths = named_paths(getattr(args, flag, None) or [], f"--{flag}").values()
        found += [*paths, *map(facts_path, paths)]
    return [path for path in found if path is not None]


def _tradeoff(args):
    measures = _measures(args)
    runs = named_paths(args.run)
    if not runs and not args.published:
        raise JPQError("nothing to draw: give --run NAME=RUN, --published, or both")
    if runs and args.qrels is None:
        raise JPQError("--qrels is missing: give the judgements of the runs' queries")
    own = points.of_runs(runs)
    published = [point for each in args.published for point in points.of_publications(each, measures)]
    published = _complete(published, args)
    scale_of, flags = _SCALES[args.figure]
    scale = scale_of([*own, *published], **{flag: getattr(args, flag) for flag in flags})
    for point in [*own, *published]:
        scale.of(point)  # a fact that is missing is told before the minutes that scoring may take
    qrels = read_qrels(args.qrels) if runs else {}
    found = [*points.scored(own, qrels, measures, note), *published]
    figure, drawn = tradeoff.draw(found, measures, scale, width=args.width or style.COLUMN_CM)
    return figure, {"queries": len(qrels), "x": scale.label, "points": drawn}


def _complete(published: list[points.Point], args) -> list[points.Point]:
    """Return the published points that have the facts of the figure; says how many have not."""
    needed = ["ms_per_query"] if args.figure == "speed" else ["bytes_per_document"]
    needed += [fact for flag, fact in _MORE_FACTS.items() if getattr(args, flag, False)]
    complete = [point for point in published if all(getattr(point.facts, fact) is not None for fact in needed)]
    left_out = [point.title for point in published if point not in complete]
    if left_out:
        note(f"{len(left_out)} published points have no {' and '.join(needed)}, left out: {', '.join(left_out)}")
    if published and not complete:
        raise JPQError(f"--published {args.published[0]}: no point has {' and '.join(needed)}, which this figure draws")
    return complete


def _ablation(args):
    measures = _measures(args)
    if (args.scores is None) == (not args.run):
        raise JPQError("give either --run STRATEGY@M=RUN …, or --scores with what eval.compare wrote")
    if args.scores is not None:
        means = ablation.read_scores(args.scores, measures)
    else:
        if args.qrels is None:
            raise JPQError("--qrels is missing: give the judgements of the runs' queries")
        runs = named_paths(args.run)
        ablation.strategies({name: {} for name in runs})  # before the minutes that scoring may take
        means = compare(runs, read_qrels(args.qrels), measures, note=note).means()
    figure, drawn = ablation.draw(means, measures, width=args.width or style.COLUMN_CM)
    return figure, {"points": drawn}


def _negatives(args):
    from jpq_pyserini import JPQIndex
    from jpq_pyserini.data.docids import RowsByDocid
    from jpq_pyserini.data.embeddings import open_embeddings
    from jpq_pyserini.encoders.text_encoder import embed_queries, load_text_encoder
    from jpq_pyserini.eval.figures import negatives

    style.needed("sklearn.manifold")
    flat = open_embeddings(args.embeddings, args.docids)
    rows = RowsByDocid(flat.docids, str(flat.path))
    judged, _ = training_pairs(read_topics(args.topics), read_qrels(args.qrels), rows)
    queries = _chosen(judged, args.qid)
    found, records = [], []
    for name, path in named_paths(args.index, "--index", "DIR").items():
        index = JPQIndex.open(path)
        negatives.check_same_collection(index, flat)
        encoder = load_text_encoder(args.encoder or str(index.query_encoder_path))
        vectors = embed_queries(encoder, [query.text for query in queries])
        if vectors.shape[1] != index.codec.dimension:
            raise JPQError(
                f"--encoder {args.encoder}: dimension {vectors.shape[1]}, {path} has {index.codec.dimension}"
            )
        found += negatives.find(name, index, flat, queries, vectors, args.negatives, seed=args.seed)
    for each in found:
        say(
            f"{each.index}, query {each.qid}: {each.overlap} of {each.count} negatives are those of brute force as well"
        )
        records.append(negatives.record(each, flat.docids))
    return negatives.draw(found, width=args.width), {"seed": args.seed, "panels": records}


def _chosen(judged: list[TrainingQuery], qids: Sequence[str] | None) -> list[TrainingQuery]:
    """Return the queries asked for, by default the first two."""
    by_id = {query.qid: query for query in judged}
    for qid in qids or []:
        if qid not in by_id:
            raise JPQError(
                f"--qid {qid}: no such query with a relevant document in the topics and qrels "
                f"({len(by_id):,} have one, the first is {judged[0].qid})"
            )
    return [by_id[qid] for qid in dict.fromkeys(qids)] if qids else judged[:2]


def _measures(args) -> list[str]:
    for name in args.measures:
        parse_measure(name)
    return list(dict.fromkeys(args.measures))


if __name__ == "__main__":
    run_main(main)
