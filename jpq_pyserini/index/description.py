"""What an index directory's record says: as text, and in Markdown for READMEs of prebuilt indexes and model cards."""

import os
from collections.abc import Mapping
from pathlib import Path

from jpq_pyserini.codec.quantizer import ProductQuantizer
from jpq_pyserini.encoders.text_encoder import kind_of, saved_settings
from jpq_pyserini.index.record import EncoderSettings, IndexRecord, TrainingRecord
from jpq_pyserini.index.vectors import row_bytes
from jpq_pyserini.names import CODEC, QUERY_ENCODER
from jpq_pyserini.tables import as_markdown


def facts(record: IndexRecord) -> str:
    """Return a table of what the index is."""
    codec_bytes = record.m * record.nbits / 8
    rows = [
        ("Documents", f"{record.count:,}"),
        ("Dimension D", record.dimension),
        ("Sub-vectors M", record.m),
        ("Bits a code", record.nbits),
        ("Bytes a document", f"{codec_bytes:g} ({4 * record.dimension / codec_bytes:.0f} times fewer than float32)"),
        ("Layout", record.layout),
        ("Document vectors", _vectors(record)),
        ("Document encoder", _encoder(record.encoder)),
    ]
    return as_markdown([("", ""), *((name, str(value)) for name, value in rows)], "l")


def history(record: IndexRecord) -> str:
    """Return how the index was made: its training settings, data and versions; says so when nothing is recorded."""
    training = record.training
    parts = []
    if imported := training.get("imported_from"):
        parts.append(
            f"Imported from {imported.get('release')}: index {(imported.get('index') or {}).get('file', 'none')}, "
            f"query encoder {imported.get('encoder')}."
        )
    if data := training.get("data"):
        parts.append("Data: " + ", ".join(f"{name} `{value}`" for name, value in data.items()) + ".")
    if "steps" in training:
        parts.append(
            f"{training['steps']:,} steps on {training.get('training_queries', 0):,} queries; the weights of step "
            f"{training.get('best_step', 0):,} were kept, by {training.get('dev_queries', 0):,} development queries."
        )
    if config := training.get("config"):
        parts.append("Settings: " + ", ".join(f"`{name}={value}`" for name, value in config.items()) + ".")
    if not parts:
        parts.append("No training information recorded.")
    if record.versions:
        parts.append("Written by " + ", ".join(f"{name} {number}" for name, number in record.versions.items()) + ".")
    return "\n\n".join(parts)


def scores(record: IndexRecord) -> dict[str, dict[str, float]]:
    """Return the scores that the training measured: ``{"development queries": {"RR@10": 0.5}}``, or an empty dict."""
    training = record.training
    kept = [point for point in training.get("curve", []) if point.get("step") == training.get("best_step")]
    score = kept[0].get("rr@10") if kept else None
    return {} if score is None else {"development queries": {"RR@10": score}}


def score_table(expected: dict[str, dict[str, float]]) -> str:
    """Return ``{queries: {measure: value}}`` as a table."""
    rows = [
        (queries, measure, f"{value:.3f}") for queries, values in expected.items() for measure, value in values.items()
    ]
    return as_markdown([("Queries", "Measure", "Score"), *rows], "l")


def public_name(encoder: EncoderSettings) -> str | None:
    """Return the document encoder's name; of a path, which means nothing on other machines, the last part."""
    name = encoder.get("name_or_path")
    return os.path.basename(os.path.normpath(name)) if name and os.path.isabs(name) else name


def _encoder(encoder: EncoderSettings) -> str:
    if not encoder:
        return "not recorded: documents cannot be added"
    details = [f"{key} {encoder[key]}" for key in ("pooling", "max_length") if encoder.get(key)]
    return f"`{public_name(encoder)}`" + (f" ({', '.join(details)})" if details else "")


def _vectors(record: IndexRecord) -> str:
    """Say what there is to rescore with; the bytes are those on disk."""
    if not record.vectors:
        return "none"
    dtype = record.vectors["dtype"]
    where = f" in {record.vectors['flat']}" if "flat" in record.vectors else ""
    candidates = "chosen by the number of hits" if record.rescore is None else f"{record.rescore:,}"
    return f"{dtype}{where}, {row_bytes(dtype, record.dimension)} bytes per document on disk; candidates {candidates}"


def as_text(directory: Path, record: IndexRecord) -> str:
    """Return what a directory holds, by its record and the sizes of its files, as ``index describe`` prints it."""
    flat = 4 * record.dimension
    a_document = (record.m * record.nbits + 7) // 8
    lines = [
        f"index      {directory}",
        f"documents  {record.count:,}, dimension {record.dimension}",
        f"codes      M={record.m}, {record.nbits} bits: {a_document} bytes per document, "
        f"{flat / a_document:.0f}x smaller than flat",
        *_assignment_lines(directory),
        f"layout     {record.layout}",
        f"metric     {record.metric.replace('_', ' ')}",
    ]
    if record.lists:
        lines.append("lists      " + ", ".join(f"{name} {value}" for name, value in record.lists.items()))
    if record.vectors:
        lines.append(f"vectors    {_vectors(record)}")
    if record.encoder:
        lines.append(f"encoder    {record.encoder.get('name_or_path')}{_of_passages(record.encoder)}")
    lines += _query_lines(directory)
    if made := record.training.get("query_encoder"):
        before, after = made["cosine"]
        near = "" if after is None else f", cosine {before} before, {after} after"
        lines.append(f"           imitates {made['teacher']}: {made['steps']} steps, {made['queries']:,} queries{near}")
    lines += _training_lines(record.training)
    lines += [f"history    {_event_line(event)}" for event in record.history]
    sizes = {name: (directory / name).stat().st_size for name in record.sha256 if (directory / name).is_file()}
    for name, size in sizes.items():
        if "/" not in name:
            lines.append(f"file       {name}, {size:,} bytes")
    lines.append(f"total      {sum(sizes.values()):,} bytes")
    return "\n".join(lines)


def _of_passages(encoder: Mapping) -> str:
    said = [f"pooling {encoder['pooling']}"] if encoder.get("pooling") else []
    said += ["normalised"] if encoder.get("l2_norm") else []
    said += [f"passages truncated at {encoder['max_length']} tokens"] if encoder.get("max_length") else []
    said += [f"passage prefix {encoder['passage_prefix']!r}"] if encoder.get("passage_prefix") else []
    return f" ({', '.join(said)})" if said else ""


def _query_lines(directory: Path) -> list[str]:
    """Say how a query is encoded, from the files of the query encoder."""
    folder = directory / QUERY_ENCODER
    settings = saved_settings(folder)
    if not settings:
        return []
    limit, prompt = settings.get("max_length"), settings.get("prompt")
    modules, kind = folder / "modules.json", kind_of(folder)
    normalised = modules.is_file() and '"Normalize"' in modules.read_text(encoding="utf-8").replace(".", '"')
    return [
        f"queries    {f'truncated at {limit} tokens' if limit else 'of any length'}, "
        f"{f'prompt {prompt!r} (counted)' if prompt else 'no prompt'}, {'' if normalised else 'not '}normalised",
        *([f"           by {kind}"] if kind else []),
    ]


def _assignment_lines(directory: Path) -> list[str]:
    if not (directory / CODEC).is_file():
        return []
    assignment = ProductQuantizer.load_assignment(directory / CODEC)
    h = f"score-aware, h={assignment.weight:g}" if assignment.weight else ""
    neighbours = f"{assignment.neighbours} neighbours" if assignment.neighbours else ""
    return [f"assignment {', '.join(filter(None, [h, neighbours])) or 'nearest centroids'}"]


def _training_lines(training: TrainingRecord) -> list[str]:
    if "zero_shot_of" in training:
        origin = training["zero_shot_of"]
        theirs: TrainingRecord = origin.get("training") or TrainingRecord()
        first = f"training   zero-shot: codec and encoders of {origin.get('index')}"
        return [first, *(f"           of which: {line[11:]}" for line in _training_lines(theirs))]
    if not training:
        return []
    points = {point["step"]: point.get("rr@10") for point in training.get("curve", [])}
    best = training.get("best_step")
    score = f", RR@10 {points[best]:.4f} on dev" if points.get(best) is not None else ""
    return [f"training   {training.get('steps')} steps, step {best} kept{score}"]


def _event_line(event: dict) -> str:
    """Return an entry of the history in one line."""
    day = str(event.get("when", ""))[:10]
    if event.get("event") == "merge":
        parts = [f"{each.get('documents'):,} of {each.get('index')}" for each in event.get("indexes", [])]
        return f"{day} merged {', '.join(parts)}"
    done = {"add": "added", "build": "built from"}.get(str(event.get("event")), event.get("event"))
    source = f", {event['source']}" if event.get("source") else ""
    return f"{day} {done} {event.get('documents', 0):,} documents{source}"
