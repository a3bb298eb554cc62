"""``index describe``: what an index directory holds, from its record and the sizes of its files."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from jpq_pyserini.codec.quantizer import ProductQuantizer
from jpq_pyserini.index.record import IndexRecord, check_verified
from jpq_pyserini.names import CODEC


def add_parser(commands) -> argparse.ArgumentParser:
    """Add the sub-command to ``commands`` (what ``add_subparsers`` returned); returns its parser."""
    parser = commands.add_parser(
        "describe", help="say what an index directory holds", description="Say what a JPQ index directory holds."
    )
    parser.add_argument("--index", required=True, metavar="DIR", help="JPQ index directory")
    parser.add_argument("--verify", action="store_true", help="compare every file with its recorded SHA-256")
    parser.add_argument("--json", action="store_true", help="print all that is recorded, as JSON")
    return parser


def run(args: argparse.Namespace) -> None:
    """Print the description."""
    record = IndexRecord.read(args.index)
    if args.verify:
        check_verified(args.index)
    print(json.dumps(asdict(record), indent=2) if args.json else "\n".join(_lines(Path(args.index), record)))


def _lines(directory: Path, record: IndexRecord) -> list[str]:
    flat = 4 * record.dimension
    a_document = (record.m * record.nbits + 7) // 8
    lines = [
        f"index      {directory}",
        f"documents  {record.count:,}, dimension {record.dimension}",
        f"codes      M={record.m}, {record.nbits} bits: {a_document} bytes a document, {flat / a_document:.0f}x less "
        "than flat",
        *_choice_lines(directory),
        f"layout     {record.layout}",
    ]
    if record.lists:
        lines.append("lists      " + ", ".join(f"{name} {value}" for name, value in record.lists.items()))
    if record.encoder:
        lines.append(f"encoder    {record.encoder.get('name_or_path')}")
    lines += _training_lines(record.training)
    lines += [f"history    {_told(event)}" for event in record.history]
    sizes = {name: (directory / name).stat().st_size for name in record.sha256 if (directory / name).is_file()}
    for name, size in sizes.items():
        if "/" not in name:
            lines.append(f"file       {name}, {size:,} bytes")
    lines.append(f"in all     {sum(sizes.values()):,} bytes")
    return lines


def _choice_lines(directory: Path) -> list[str]:
    if not (directory / CODEC).is_file():
        return []
    assignment = ProductQuantizer.load(directory / CODEC).assignment
    h = f"score-aware, h={assignment.weight:g}" if assignment.weight else ""
    neighbours = f"{assignment.neighbours} neighbours" if assignment.neighbours else ""
    return [f"assignment {', '.join(filter(None, [h, neighbours])) or 'nearest centroids'}"]


def _training_lines(training: dict) -> list[str]:
    if "zero_shot_of" in training:
        origin = training["zero_shot_of"]
        first = f"training   none here: zero-shot, codec and encoders of {origin.get('index')}"
        return [first, *(f"           of which: {line[11:]}" for line in _training_lines(origin.get("training") or {}))]
    if not training:
        return []
    points = {point["step"]: point.get("rr@10") for point in training.get("curve", [])}
    best = training.get("best_step")
    score = f", RR@10 {points[best]:.4f} on dev" if points.get(best) is not None else ""
    return [f"training   {training.get('steps')} steps, step {best} kept{score}"]


def _told(event: dict) -> str:
    """Tell an entry of the history in one line."""
    day = str(event.get("when", ""))[:10]
    if event.get("event") == "merge":
        parts = [f"{each.get('documents'):,} of {each.get('index')}" for each in event.get("indexes", [])]
        return f"{day} merged {', '.join(parts)}"
    done = {"add": "added", "build": "built from"}.get(event.get("event"), event.get("event"))
    source = f", {event['source']}" if event.get("source") else ""
    return f"{day} {done} {event.get('documents', 0):,} documents{source}"
