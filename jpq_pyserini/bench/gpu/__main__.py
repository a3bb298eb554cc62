"""Measure search over codes, training and encoding on a GPU, within a few minutes.

Most informative parts first; each has a share of the time. Results are written after each measurement, so that a run
that is stopped early leaves those it made. Without a GPU small sizes are run, which only shows that the command works.
"""

import platform

from jpq_pyserini.bench.gpu.clock import Clock
from jpq_pyserini.bench.records import check_record, write_record
from jpq_pyserini.cli import add_device, add_output, bounded, new_parser, progress, run_main, say
from jpq_pyserini.lazy import Later

MODULE = "jpq_pyserini.bench.gpu"
#: Name, part, share of the time.
PARTS = tuple(
    (name, Later(f"jpq_pyserini.bench.gpu.{name}"), share)
    for name, share in (("search", 0.5), ("training", 0.35), ("encoding", 0.15))
)


def main(argv=None) -> None:
    """Measure all parts and write the results after each measurement."""
    parser = new_parser(MODULE, __doc__)
    add_output(parser, "results, as JSON")
    parser.add_argument(
        "--minutes", type=bounded(float, 0.05), default=6.0, metavar="X", help="time of all parts together"
    )
    parser.add_argument("--parts", nargs="+", choices=[name for name, _, _ in PARTS], help="only these parts")
    add_device(parser, what="torch device")
    args = parser.parse_args(argv)
    check_record(args)
    import torch

    device = args.device or ("cuda:0" if torch.cuda.is_available() else "cpu")
    small = not device.startswith("cuda")
    name = torch.cuda.get_device_name(device) if not small else f"{platform.machine()} CPU, small sizes"
    points: list[dict] = []
    parts = [part for part in PARTS if args.parts is None or part[0] in args.parts]
    whole = sum(share for _, _, share in parts)
    for title, part, share in parts:
        progress(f"{title}: up to {60 * args.minutes * share / whole:.0f} s")
        for point in part.points(Clock(60 * args.minutes * share / whole), device, small):
            points.append(point)
            write_record(args.output, MODULE, argv, device=name, points=points)
            progress("  " + as_line(point))
    say(f"{len(points)} measurements on {name}: {args.output}")


def as_line(point: dict) -> str:
    """One measurement in a line."""
    return ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}" for name, value in point.items()
    )


if __name__ == "__main__":
    run_main(main)
