"""The time of each operator of an artifact: in a pass of its own, after all that is timed."""

from runner.errors import MeasurementError, RuntimeUnavailable
from runner.operators import OperatorTime
from runner.reason import Reason
from runner.worker.order import Job
from runner.workers import Workers


def operator_times(job: Job, seed: int, workers: Workers) -> tuple[OperatorTime, ...] | Reason:
    """Return the time of each operator, or why there is none: a profile is an extra, and its want ends nothing."""
    try:
        found = workers.profile(job, seed)
    except (MeasurementError, RuntimeUnavailable) as error:
        return _not_profiled(error.what, error.advice)
    return found or _not_profiled("the runtime named none")


def _not_profiled(why: str, advice: str = "") -> Reason:
    return Reason(code="not-profiled", level="note", detail=f"no time per operator: {why}", advice=advice)
