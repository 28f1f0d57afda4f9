"""Pairs of reports for the tests of comparisons: real ones, in which one thing differs."""

from collections.abc import Sequence
from dataclasses import replace

from runner import report
from runner.compare.comparison import Limits
from runner.facts import DeviceFacts
from runner.reason import Reason
from runner.report import Report
from tests import reports

NO_LIMITS = Limits()


EMULATED = Reason(code="emulated", level="invalid", detail="this machine is emulated", advice="the real one")


def device_with(medians_us: Sequence[int], *, wrong: Sequence[int] = (7,), facts: DeviceFacts | None = None) -> Report:
    """Return the host's report with other figures of int8.onnx."""
    int8 = reports.artifact("int8.onnx", size=60 * reports.KIB, medians_us=medians_us, wrong=wrong)
    return report.seal(replace(reports.with_artifact(reports.host(), int8), device=facts or reports.device()))


def many(b: int, c: int, samples: int) -> tuple[Report, Report]:
    """Return two reports of so many samples, with b right on the host alone, and c right on the device alone."""
    labels = tuple(sample % 3 for sample in range(samples))
    host_wrong, device_wrong = set(range(c)), set(range(c, c + b))
    sides = []
    for whole, wrong in ((reports.host(), host_wrong), (reports.board(), device_wrong)):
        part = whole.artifacts[1]
        assert part.accuracy is not None
        predictions = tuple((label + 1) % 3 if sample in wrong else label for sample, label in enumerate(labels))
        record = replace(
            part.accuracy, samples=samples, predictions=predictions, label_ranks=(0,) * samples, losses=(0.5,) * samples
        )
        artifacts = (replace(part, accuracy=record),)
        sides.append(report.seal(replace(whole, labels=labels, reference_predictions=labels, artifacts=artifacts)))
    return sides[0], sides[1]
