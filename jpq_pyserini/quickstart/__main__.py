"""Train and search a JPQ index, beside BM25, flat and OPQ: ``python -m jpq_pyserini.quickstart --help``."""

import argparse
import os
import signal
import sys

# Read when the OpenMP runtimes of torch and Faiss load: threads that wait for work must not spin against each other.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from jpq_pyserini.cli import add_dataclass_arguments, dataclass_from_arguments, run_main
from jpq_pyserini.quickstart.settings import Settings

DESCRIPTION = """\
Everything once, with the commands that do it: BM25 and flat baselines, an untrained (OPQ) and a trained (JPQ) index of
the same size, searches through Pyserini's own command lines, and one table. Without options it runs on the
documentation strings of the installed packages, in a few minutes on two cores and without a network. Run it again after
an interruption: it goes on where it stopped.
"""


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(
        prog="python -m jpq_pyserini.quickstart",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_dataclass_arguments(parser, Settings)
    settings = dataclass_from_arguments(Settings, parser.parse_args())
    from jpq_pyserini.quickstart.run import run

    sys.stdout.reconfigure(line_buffering=True)  # in a pipe, too, what the commands print comes in between
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that a command that is running is stopped, too
    run(settings)


if __name__ == "__main__":
    run_main(main)
