"""Numbers are checked where they are given: one line names argument, value and what is allowed."""

import argparse
import dataclasses

import pytest

from jpq_pyserini.cli import add_dataclass_arguments, add_seed, bounded, fraction, natural_int, positive_int


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (positive_int, ["1", "2147483647"], ["0", "-1", "2147483648", "9" * 30, "1.5", "x", "", "nan"]),
        (natural_int, ["0", "42"], ["-1", "18446744073709551616"]),
        (fraction, ["0", "0.99", "1"], ["nan", "-0.1", "1.01", "inf", "x"]),
        (bounded(float, 0), ["0", "8", "inf"], ["nan", "-1"]),
    ],
)
def test_bounds(kind, good, bad):
    assert [kind(text) for text in good] == [float(text) for text in good]
    for text in bad:
        with pytest.raises(argparse.ArgumentTypeError):
            kind(text)


def test_what_a_refused_number_is_told(capsys):
    @dataclasses.dataclass(frozen=True)
    class Settings:
        rounds: int = dataclasses.field(default=7, metadata={"help": "rounds", "type": positive_int})

    parser = argparse.ArgumentParser()
    add_seed(parser)
    add_dataclass_arguments(parser, Settings)
    assert parser.parse_args(["--rounds", "3"]) == argparse.Namespace(seed=42, rounds=3)
    for flag, allowed in (("--rounds", "from 1 to 2147483647"), ("--seed", "from 0 to 2147483647")):
        with pytest.raises(SystemExit) as end:
            parser.parse_args([flag, "-1"])
        assert end.value.code == 2
        assert f"error: argument {flag}: -1 is not a whole number {allowed}" in capsys.readouterr().err
