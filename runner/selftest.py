"""Does this machine, measured this way, find what is there and nothing else? Pairs of sessions of one artifact tell.

In some pairs nothing is changed, in others every call of the second session is made longer by a known share. How often
a difference is spoken of, before any noise floor is known, is the rate of false alarms in the first, and the power in
the others. What two sessions differ by with nothing changed is that floor, which later comparisons have to exceed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from runner import noise
from runner.compare.comparison import Margins, Word
from runner.compare.figures import blocks, process_medians
from runner.compare.latency import judge, judge_blocks
from runner.errors import MeasurementError
from runner.facts import DeviceFacts
from runner.interval import Interval
from runner.measure.latency import LEAST_PROCESSES, Plan, latency
from runner.measure.rounds import Course, Instruments, time_in_rounds
from runner.progress import Progress
from runner.report import Latency
from runner.stats.proportions import clopper_pearson

SCHEMA = "1.0"
LEAST_PAIRS = 10
"""Of unchanged sessions, for their largest difference to be remembered as the machine's noise floor."""
BLOCKS = 12
"""Of an interleaved pair: 8 are the least that the signed-rank test can use."""
SLOWDOWNS = (0.03, 0.05)
SESSION = Plan(processes=LEAST_PROCESSES, warmup_s=0.3, timed_s=0.5, until_precise=False)
TURNS = replace(SESSION, processes=BLOCKS)


@dataclass(frozen=True, kw_only=True, slots=True)
class Rate:
    """What the verdicts on pairs of one kind were."""

    interleaved: bool
    """Both sessions in turn, process by process; otherwise one after the other."""
    slowdown: float
    """By what share the second was made longer."""
    ratios: tuple[float, ...]
    words: tuple[Word, ...]

    @property
    def found(self) -> int:
        """How often a difference was spoken of: a false alarm where there is none, else only of the right kind."""
        return sum(word in (("faster", "slower") if not self.slowdown else ("slower",)) for word in self.words)

    @property
    def interval(self) -> Interval:
        """The exact 95 % interval of the rate."""
        return clopper_pearson(self.found, len(self.words))


@dataclass(frozen=True, kw_only=True, slots=True)
class SelfTest:
    """What was found of a machine."""

    schema: str = SCHEMA
    device: str
    artifact: str
    threads: int
    created: str
    rates: tuple[Rate, ...]
    floor: float
    """The largest difference between two separate sessions with nothing changed, as a fraction."""


def selftest(
    course: Course, facts: DeviceFacts, pairs: Sequence[int], instruments: Instruments, progress: Progress
) -> SelfTest:
    """Measure pairs of sessions of one artifact: `pairs` without a change, and with each slow-down, in both ways.

    Raises MeasurementError where too many of its processes die, or give other answers than before.
    """
    kinds = [
        (interleaved, slowdown, count)
        for interleaved in (False, True)
        for slowdown, count in zip((0.0, *SLOWDOWNS), pairs, strict=True)
    ]
    total = sum(count for _, _, count in kinds)
    rates = []
    with progress.task("selftest", total) as advance:
        for interleaved, slowdown, count in kinds:
            verdicts = []
            for number in range(count):
                verdicts.append(_pair(course, slowdown, number, instruments, interleaved=interleaved))
                advance(1, f"{slowdown:.0%} {'in turn' if interleaved else 'one after the other'}")
            ratios, words = zip(*verdicts, strict=True) if verdicts else ((), ())
            rates.append(Rate(interleaved=interleaved, slowdown=slowdown, ratios=ratios, words=words))
    unchanged = next(rate for rate in rates if not rate.interleaved and not rate.slowdown)
    return SelfTest(
        device=facts.board or facts.cpu,
        artifact=course.name,
        threads=course.scenario.threads,
        created=datetime.now(tz=UTC).isoformat(timespec="seconds"),
        rates=tuple(rates),
        floor=max((max(ratio, 1 / ratio) - 1 for ratio in unchanged.ratios), default=0.0),
    )


def remembered(found: SelfTest, facts: DeviceFacts) -> noise.NoiseFloor:
    """Return what is to be remembered of the device."""
    pairs = next(len(rate.ratios) for rate in found.rates if not rate.interleaved and not rate.slowdown)
    return noise.NoiseFloor(
        device=facts.board or facts.cpu, floor=found.floor, pairs=pairs, threads=found.threads, created=found.created
    )


def _pair(
    course: Course, slowdown: float, number: int, instruments: Instruments, *, interleaved: bool
) -> tuple[float, Word]:
    first = replace(course, processes=[], failures=[], changed=None, stopped=None)
    second = replace(first, processes=[], failures=[], slowdown=slowdown)
    margin = Margins().latency
    if interleaved:
        time_in_rounds([first, second], TURNS, number, instruments, _silent)
        verdict = judge_blocks(*blocks(_latency(first), _latency(second)), margin)
    else:
        time_in_rounds([first], SESSION, 2 * number, instruments, _silent)
        time_in_rounds([second], SESSION, 2 * number + 1, instruments, _silent)
        verdict = judge(process_medians(_latency(first)), process_medians(_latency(second)), margin)
    return verdict.ratio, verdict.word


def _latency(course: Course) -> Latency:
    if course.changed:
        raise MeasurementError(f"{course.name}: {course.changed.detail}", advice=course.changed.advice)
    found = latency(course.timings())
    if found is None or len(found.processes) < LEAST_PROCESSES:
        timings = course.timings()
        what = f"{course.name}: too many worker processes died: {'; '.join(timings.failures)}"
        raise MeasurementError(what, advice=timings.advice)
    return found


def _silent(steps: int = 1, note: str = "") -> None:
    """Leave the progress to the pairs."""
