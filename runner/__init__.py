"""The device side of edgepack: opens a bundle, measures what is in it, uses it, and compares two reports."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from runner.loading.classifier import Classifier
    from runner.report import Report

__version__ = "0.1.0"


def load(
    path: "str | Path", *, prefer: "str | Path | Report | None" = None, threads: int | None = None
) -> "Classifier":
    """Return the fastest artifact of a bundle that runs here and answers as it did on the host, ready to be called.

    `prefer` is the name of an artifact, or a report of this bundle whose fastest is meant: `bench-runner` writes one.
    Without it the host's report decides, as far as its latencies say something of this machine. What cannot be had
    gives way to the next, and `choice` says why. An artifact that no report of such a machine has timed answers in
    a process of its own first, so that one that kills its process does not end the caller's: measured once by
    `bench-runner`, it is loaded sooner. `threads` are those of the report that is preferred, or as many as
    there are usable CPUs.
    Raises BundleError, ReportError, UsageError, RuntimeUnavailable where no runtime is here that any artifact needs,
    and MeasurementError where none answers as on the host.
    """
    from runner import install  # noqa: PLC0415 - the commands that never load start without all of this

    install.hold_numpy(to_measure=True)
    from runner import loading  # noqa: PLC0415 - as above

    return loading.load(path, prefer=prefer, threads=threads)
