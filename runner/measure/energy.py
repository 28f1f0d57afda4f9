"""The energy of an artifact, where the machine has a meter: in a pass of its own, for meters ask in a thread."""

from collections.abc import Sequence

from runner.device.energy import Energy, Meter
from runner.errors import MeasurementError, RuntimeUnavailable
from runner.measure.rounds import Course
from runner.report import EnergyUse
from runner.worker.order import Timing
from runner.workers import Workers

WARMUP_S = 1.0
TIMED_S = 10.0
"""As long as the slowest meter needs, which is NVML's."""


def sorted_out(found: Sequence[Meter]) -> tuple[list[Meter], tuple[EnergyUse, ...]]:
    """Ask each meter once, and return those that answer, and what is said of the others: no worker is run for them."""
    answering, mute = list[Meter](), list[EnergyUse]()
    for meter in found:
        if reason := meter.obstacle():
            nothing = EnergyUse(
                meter=meter.name, scope=meter.scope, duration_ns=0, inferences=0, joules=None, reason=reason
            )
            mute.append(nothing)
        else:
            answering.append(meter)
    return answering, tuple(mute)


def energy(course: Course, meters: Sequence[Meter], workers: Workers) -> tuple[EnergyUse, ...]:
    """Call an artifact without a break for ten seconds, and return what each meter says of them.

    Nothing is returned where the worker dies: its times tell of that already.
    """
    read, going = list[Energy](), list[Meter]()

    def window(begins: bool) -> None:
        if begins:
            for meter in meters:
                meter.start()
                going.append(meter)
        else:
            read.extend(going.pop(0).stop() for _ in meters)

    timing = Timing(warmup_s=WARMUP_S, timed_s=TIMED_S, seed=0, streams=course.scenario.streams)
    try:
        process = workers.time(course.job, timing, window).process
    except (MeasurementError, RuntimeUnavailable):
        return ()
    finally:
        # It may have died within the window, and meters ask in threads.
        for meter in going:
            meter.stop()
    inferences = len(process.samples_ns) * process.calls_per_sample * course.job.batch
    return tuple(
        EnergyUse(
            meter=each.meter,
            scope=each.scope,
            duration_ns=each.duration_ns,
            inferences=inferences,
            joules=each.joules,
            reason=each.reason,
        )
        for each in read
    )
