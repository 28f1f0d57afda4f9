"""Does this machine, measured this way, find what is there and nothing else? Pairs of sessions of one artifact tell.

In some pairs nothing is changed, in others every call of the second session is made longer by a known share. How often
a difference is spoken of is the rate of false alarms in the first, and the power in the others. Sessions that follow
each other are judged by their statistics alone, and as `compare` judges them, which knows of a noise floor; those that
take turns need none. What two sessions differ by with nothing changed is the floor of this machine.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from runner import noise
from runner.compare.comparison import Margins, Word
from runner.compare.figures import blocks, process_medians
from runner.compare.latency import judge, judge_blocks
from runner.errors import MeasurementError
from runner.facts import DeviceFacts
from runner.interval import Interval
from runner.measure import conditions
from runner.measure.disturbance import disturbances
from runner.measure.gpu import gpu_disturbances
from runner.measure.latency import LEAST_PROCESSES, Plan, latency
from runner.measure.rounds import Course, Instruments, time_in_rounds
from runner.process import Process
from runner.progress import Progress
from runner.reason import Reason
from runner.report import Latency
from runner.stats.proportions import clopper_pearson

SCHEMA = "1.0"
LEAST_PAIRS = 10
"""Of unchanged sessions, for their largest difference to be remembered as the machine's noise floor."""
LEAST_BLOCKS = 8
"""Of an interleaved pair: the signed-rank test can use no fewer."""
BLOCKS = 12
"""Of an interleaved pair, as measured."""
MOST_LOST = 3
"""After so many pairs in a row have been lost to dying workers, no more are tried."""
SLOWDOWNS = (0.03, 0.05)
SESSION = Plan(processes=LEAST_PROCESSES, warmup_s=0.3, timed_s=0.5, until_precise=False)
TURNS = replace(SESSION, processes=BLOCKS)
MARGIN = Margins().latency

Sides = tuple[Sequence[float], Sequence[float]]
"""The medians of the processes of both sessions of a pair, in nanoseconds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rate:
    """What the verdicts on pairs of one kind were, by one rule."""

    interleaved: bool
    """Both sessions in turn, process by process; otherwise one after the other."""
    slowdown: float
    """By what share the second was made longer."""
    floor: float = 0.0
    """The noise floor that they were judged with; 0 is: by their statistics alone."""
    ratios: tuple[float, ...]
    words: tuple[Word, ...]
    lost: int = 0
    """How many more pairs have no verdict, for too many of their worker processes died."""

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
    """Of separate sessions first by their statistics alone, then with each floor."""
    applied: float
    """The noise floor that `compare` went by here until now: remembered, or what such machines are taken to have."""
    floor: float | None
    """The largest difference between two separate sessions with nothing changed, as a fraction. None without any."""
    reasons: tuple[Reason, ...] = ()
    """What disturbed the pairs with nothing changed: where one is `invalid`, the floor is none for later."""
    complete: bool = True
    """False after Ctrl-C: the rates are of the pairs that were whole by then."""

    @property
    def unchanged(self) -> Rate:
        """The separate sessions with nothing changed, which the floor is of."""
        return next(rate for rate in self.rates if not rate.interleaved and not rate.slowdown)


@dataclass(kw_only=True, slots=True)
class Kind:
    """Pairs of one kind, of which there are more as the test goes on."""

    interleaved: bool
    slowdown: float
    asked: int
    pairs: list[Sides] = field(default_factory=list)
    processes: list[Process] = field(default_factory=list)
    """Of its whole pairs, without their samples: what the machine did meanwhile."""
    lost: int = 0


class LostPairError(MeasurementError):
    """Too many worker processes of a pair died: it is counted, and the test goes on."""


def selftest(
    course: Course,
    facts: DeviceFacts,
    applied: float,
    pairs: Sequence[int],
    instruments: Instruments,
    progress: Progress,
) -> SelfTest:
    """Measure pairs of sessions of one artifact: `pairs` without a change, and with each slow-down, in both ways.

    `applied` is the noise floor that `compare` goes by on this device. After Ctrl-C the pairs so far are judged.
    Raises MeasurementError where three pairs in a row are lost to dying processes, or one gives other answers than
    before.
    """
    kinds = [
        Kind(interleaved=interleaved, slowdown=slowdown, asked=count)
        for interleaved in (False, True)
        for slowdown, count in zip((0.0, *SLOWDOWNS), pairs, strict=True)
    ]
    complete = _measure(course, kinds, instruments, progress)
    floor = max((max(ratio, 1 / ratio) - 1 for ratio in _judged(kinds[0], 0.0).ratios), default=None)
    return SelfTest(
        device=facts.board or facts.cpu,
        artifact=course.name,
        threads=course.scenario.threads,
        created=datetime.now(tz=UTC).isoformat(timespec="seconds"),
        rates=tuple(rate for kind in kinds for rate in rates(kind, applied, floor)),
        applied=applied,
        floor=floor,
        reasons=_reasons(kinds, facts),
        complete=complete,
    )


def not_to_remember(found: SelfTest) -> str | None:
    """Return why the floor is not one for later comparisons, if it is not."""
    if not found.complete:
        return "the self-test was interrupted"
    if found.floor is None or len(found.unchanged.ratios) < LEAST_PAIRS:
        return f"fewer than {LEAST_PAIRS} pairs may have met a quiet hour"
    void = next((reason for reason in found.reasons if reason.level == "invalid"), None)
    return void.detail if void else None


def remembered(found: SelfTest, facts: DeviceFacts) -> noise.NoiseFloor:
    """Return what is to be remembered of the device, of a test that has found a floor."""
    assert found.floor is not None
    return noise.NoiseFloor(
        device=facts.board or facts.cpu,
        floor=found.floor,
        pairs=len(found.unchanged.ratios),
        threads=found.threads,
        created=found.created,
    )


def _measure(course: Course, kinds: Sequence[Kind], instruments: Instruments, progress: Progress) -> bool:
    """Fill in the kinds, and say whether that came to its end."""
    in_a_row = 0
    work = [(kind, number) for kind in kinds for number in range(kind.asked)]
    with progress.task("selftest", len(work)) as advance:
        try:
            for kind, number in work:
                try:
                    add_pair(course, kind, number, instruments)
                    in_a_row = 0
                except LostPairError as error:
                    kind.lost += 1
                    in_a_row += 1
                    if in_a_row == MOST_LOST:
                        what = f"{in_a_row} pairs in a row were lost: {error.what}"
                        raise MeasurementError(what, advice=error.advice) from None
                advance(1, f"{kind.slowdown:.0%} {'in turn' if kind.interleaved else 'one after the other'}")
        except KeyboardInterrupt:
            return False
    return True


def _reasons(kinds: Sequence[Kind], facts: DeviceFacts) -> tuple[Reason, ...]:
    """Return what speaks against the floor: what the machine is, and what it did in the pairs with nothing changed."""
    unchanged = [process for kind in kinds if not kind.slowdown for process in kind.processes]
    return (*conditions.emulation(facts), *disturbances(unchanged), *gpu_disturbances(unchanged))


def rates(kind: Kind, applied: float, own: float | None) -> Iterator[Rate]:
    """Judge pairs by every rule: where the run's own floor comes from the very same pairs it would prove nothing."""
    floors = [0.0] if kind.interleaved else [0.0, applied, *([own] if kind.slowdown and own is not None else [])]
    for floor in dict.fromkeys(floors):
        yield _judged(kind, floor)


def _judged(kind: Kind, floor: float) -> Rate:
    verdicts = [
        judge_blocks(x, y, MARGIN) if kind.interleaved else judge(x, y, MARGIN, floor=floor) for x, y in kind.pairs
    ]
    return Rate(
        interleaved=kind.interleaved,
        slowdown=kind.slowdown,
        floor=floor,
        ratios=tuple(verdict.ratio for verdict in verdicts),
        words=tuple(verdict.word for verdict in verdicts),
        lost=kind.lost,
    )


def add_pair(course: Course, kind: Kind, number: int, instruments: Instruments) -> None:
    """Measure one pair. Raises LostPairError, and MeasurementError where answers have changed."""
    first = replace(course, processes=[], failures=[], changed=None, stopped=None)
    second = replace(first, processes=[], failures=[], slowdown=kind.slowdown)
    x, y = (_in_turn if kind.interleaved else _separate)(first, second, number, instruments)
    kind.pairs.append((x, y))
    # Samples by the hundred thousand would fill a small machine's memory in an hour.
    kind.processes += [replace(each, samples_ns=(), warmup_ns=()) for each in (*first.processes, *second.processes)]


def _in_turn(first: Course, second: Course, number: int, instruments: Instruments) -> Sides:
    time_in_rounds([first, second], TURNS, number, instruments, _silent)
    x, y = blocks(_latency(first), _latency(second))
    if len(x) < LEAST_BLOCKS:
        raise _lost(first, second)
    return x, y


def _separate(first: Course, second: Course, number: int, instruments: Instruments) -> Sides:
    time_in_rounds([first], SESSION, 2 * number, instruments, _silent)
    x = process_medians(_latency(first))
    time_in_rounds([second], SESSION, 2 * number + 1, instruments, _silent)
    return x, process_medians(_latency(second))


def _latency(course: Course) -> Latency:
    if course.changed:
        raise MeasurementError(f"{course.name}: {course.changed.detail}", advice=course.changed.advice)
    found = latency(course.timings())
    if found is None or len(found.processes) < LEAST_PROCESSES:
        raise _lost(course)
    return found


def _lost(*courses: Course) -> LostPairError:
    timings = [course.timings() for course in courses]
    failures = "; ".join(failure for each in timings for failure in each.failures)
    advice = next((each.advice for each in timings if each.advice), "")
    return LostPairError(f"{courses[0].name}: too many worker processes died: {failures}", advice=advice)


def _silent(steps: int = 1, note: str = "") -> None:
    """Leave the progress to the pairs."""
