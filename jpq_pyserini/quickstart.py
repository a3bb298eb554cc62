"""The experiment ``quickstart`` under a short name: ``python -m jpq_pyserini.quickstart --help``."""

import os
from collections.abc import Sequence
from pathlib import Path

# Read when the OpenMP runtimes of torch and Faiss load: threads that wait for work must not spin against each other.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from jpq_pyserini.cli import new_parser, positive_int, run_main
from jpq_pyserini.encoders.minilm import dimension_of, find_encoder, pyserini_pooling, token_limit
from jpq_pyserini.eval.reproduce.loading import load
from jpq_pyserini.names import QUERY_ENCODER

#: Variables that have a shorter flag here; ``$topics`` is another one.
_SHORT = {"train_topics": "--topics", "train_qrels": "--qrels"}
#: Defaults for a collection of one's own: longer passages, and training's own choice of when to evaluate.
_OWN = {"max_length": "256", "eval_steps": ""}


def main(argv: Sequence[str] | None = None) -> int:
    """Turn the options into variables of the experiment and run it."""
    experiment = load("quickstart")
    parser = new_parser("jpq_pyserini.quickstart", experiment.about)
    add = parser.add_argument
    add("--output", default="jpq-quickstart", metavar="DIR", help="directory for everything that is made")
    add(
        "--threads",
        type=positive_int,
        default=os.cpu_count() or 1,
        metavar="N",
        help="CPU threads of Lucene and Pyserini",
    )
    add("--dry-run", action="store_true", help="print the commands that would be run, and run none")
    options = {name: each for name, each in experiment.variables.items() if not name.startswith("flat_")}
    for name, variable in options.items():
        flag = _SHORT.get(name, "--" + name.replace("_", "-"))
        text = variable.help + (f" (default: {variable.default})" if variable.default else "")
        if variable.switch:
            add(flag, dest=name, action="store_const", const=variable.switch, help=text)
        else:
            add(flag, dest=name, metavar="VALUE", help=text)
    args = parser.parse_args(argv)
    values = {name: variable.default or "" for name, variable in options.items()}
    values |= _OWN if args.corpus else {}
    values |= {name: value for name in values if (value := getattr(args, name)) is not None}
    if not args.dry_run:
        values["encoder"] = os.path.abspath(folder := find_encoder(args.encoder))
        own = (args.pooling, bool(args.l2_norm)) if args.pooling else pyserini_pooling(folder)
        pooling, l2_norm = own or ("", False)
        values["flat_encoder"] = values["encoder"] if own else f"opq/{QUERY_ENCODER}"
        values |= {"flat_pooling": pooling, "flat_l2_norm": "--l2-norm" if l2_norm else ""}
        if own and values["m"].isdecimal() and (D := dimension_of(Path(folder))):
            from jpq_pyserini.codec.opq import check_sizes

            check_sizes(1 << 8, D, int(values["m"]), 8)  # before an hour of work
        if values["max_length"].isdecimal():
            values["max_length"] = str(min(int(values["max_length"]), token_limit(folder)))
    words = [word for name, value in values.items() for word in ("--set", f"{name}={value}")]
    words += ["--dry-run"] if args.dry_run else ["--display-commands"]
    from jpq_pyserini.eval.reproduce.__main__ import main as reproduce

    return reproduce(["quickstart", "--directory", args.output, "--threads", str(args.threads), *words])


if __name__ == "__main__":
    run_main(main)
