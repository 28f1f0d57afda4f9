"""Starts the two commands with our packages ahead of a project's own of the same names.

`runner`, `models` and `targets` are words that a user's project may well use too, and with PYTHONPATH set to it they
would be found first. Nobody's module is called as this one is, and it makes the way for the others.
"""

import sys
from pathlib import Path


def pack() -> None:
    """Run `pack`."""
    _ours_first()
    from packager import cli  # noqa: PLC0415 - not before the way is made

    cli.main()


def bench_runner() -> None:
    """Run `bench-runner`."""
    _ours_first()
    from runner import cli  # noqa: PLC0415 - not before the way is made

    cli.main()


def _ours_first() -> None:
    sys.path.insert(0, str(Path(__file__).absolute().parent))
