"""A peer whose network doubles its inputs."""

from benchmarks.peers.case import Case
from benchmarks.peers.runtimes import Inputs, Loaded


def build(_: Case) -> None:
    """Print where only our lines belong."""
    print("built")  # noqa: T201 - as runtimes do


def load(case: Case) -> Loaded:
    """Return the doubling."""

    def run(batch: Inputs) -> Inputs:
        doubled: Inputs = 2 * batch.reshape(len(batch), -1)
        return doubled

    return Loaded(version=f"twice 1.0 on {case.threads} thread", run=run)
