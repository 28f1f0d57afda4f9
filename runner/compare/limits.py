"""Judge stated limits: a limit is missed only where the figures show it, and held only where they show that."""

from collections.abc import Iterable, Iterator, Sequence

from runner.compare import gate
from runner.compare.comparison import ArtifactComparison, Judgement, Limit, Limits, Missing, Verdict
from runner.compare.figures import process_medians
from runner.compare.names import Names
from runner.interval import Interval
from runner.measure.latency import CONFIDENCE
from runner.reason import Reason
from runner.report import Latency, Report
from runner.stats.quantiles import median, median_interval

BEYOND = "even the lower end of the interval is beyond the limit"
WITHIN = "the whole interval is within the limit"
ASTRIDE = "the interval lies on both sides of the limit"
MORE_EFFORT = "measure with more effort"


def judge(
    artifacts: Iterable[ArtifactComparison], missing: Iterable[Missing], limits: Limits, floor: float, names: Names
) -> Iterator[Verdict]:
    """Yield a verdict for each artifact and each limit of the device beside the host, also where one did not run it.

    `floor` is by how much latencies of two sessions may differ with nothing changed, as a fraction.
    """
    for artifact in artifacts:
        if limits.max_slowdown is not None:
            yield _slowdown(artifact, limits.max_slowdown, floor)
        if limits.max_accuracy_drop is not None:
            yield _accuracy_drop(artifact, limits.max_accuracy_drop)
    for name, detail in _absences(missing, names).items():
        if limits.max_slowdown is not None:
            yield _undecided(name, "max_slowdown", limits.max_slowdown, detail)
        if limits.max_accuracy_drop is not None:
            yield _undecided(name, "max_accuracy_drop", limits.max_accuracy_drop, detail)


def judge_latencies(artifacts: Sequence[str], device: Report, limits: Limits, names: Names) -> Iterator[Verdict]:
    """Yield a verdict on the latency of each artifact on the device alone, by the interval of its own median."""
    allowed = limits.max_latency_ns
    if allowed is None:
        return
    absent = f"not run {names.at('device')}"
    for name in artifacts:
        artifact = device.artifact(name)
        obstacles = tuple(gate.time_obstacles("device", device, artifact, names)) if artifact else ()
        if artifact is None or artifact.latency is None or obstacles:
            yield _undecided(name, "max_latency", allowed, _told(obstacles) if artifact else absent)
        else:
            yield _latency(name, artifact.latency, allowed)


def is_missed(verdicts: Iterable[Verdict], limits: Limits) -> bool:
    """Tell whether the verdicts fail the comparison: undecided ones do only where the user asked for it."""
    return any(v.judgement == "violated" or (limits.strict and v.judgement == "undecided") for v in verdicts)


def _absences(missing: Iterable[Missing], names: Names) -> dict[str, str]:
    told: dict[str, str] = {}
    for gap in missing:
        before = f"{told[gap.name]}; " if gap.name in told else ""
        told[gap.name] = f"{before}not run {names.at(gap.side)}: {_told(gap.reasons)}"
    return told


def _slowdown(artifact: ArtifactComparison, allowed: float, floor: float) -> Verdict:
    latency = artifact.delta("latency")
    if latency.ratio is None or latency.interval is None:
        return _undecided(artifact.name, "max_slowdown", allowed, _told(artifact.withheld))
    # The interval knows the scatter of processes, not that of sessions: what another session would say lies this wide.
    widened = Interval(
        low=latency.interval.low / (1 + floor) - 1,
        high=latency.interval.high * (1 + floor) - 1,
        confidence=latency.interval.confidence,
        method=f"{latency.interval.method}{f', widened by a noise floor of {floor:.2g}' if floor else ''}",
    )
    judgement = _judgement(widened, allowed)
    between = f", or the floor of {100 * floor:.2g} % between sessions, which is in it, by `selftest`" if floor else ""
    return Verdict(
        artifact=artifact.name,
        limit="max_slowdown",
        allowed=allowed,
        observed=latency.ratio - 1,
        interval=widened,
        judgement=judgement,
        detail=_detail(judgement, MORE_EFFORT + between),
    )


def _latency(name: str, latency: Latency, allowed: float) -> Verdict:
    # Of the record, as the ratios are: what a report says of itself decides nothing here.
    medians = process_medians(latency)
    interval = median_interval(medians, CONFIDENCE)
    judgement = _judgement(interval, allowed)
    return Verdict(
        artifact=name,
        limit="max_latency",
        allowed=allowed,
        observed=median(medians),
        interval=interval,
        judgement=judgement,
        detail=_detail(judgement, MORE_EFFORT),
    )


def _accuracy_drop(artifact: ArtifactComparison, allowed: float) -> Verdict:
    answers = artifact.answers
    if answers is None:
        return _undecided(artifact.name, "max_accuracy_drop", allowed, _told(artifact.withheld))
    gain = answers.interval
    interval = Interval(low=-gain.high, high=-gain.low, confidence=gain.confidence, method=gain.method)
    found = f"{answers.right_to_wrong} right to wrong and {answers.wrong_to_right} wrong to right of {answers.samples}"
    judgement = _judgement(interval, allowed)
    return Verdict(
        artifact=artifact.name,
        limit="max_accuracy_drop",
        allowed=allowed,
        observed=answers.accuracy_drop,
        interval=interval,
        judgement=judgement,
        detail=f"{found}: {ASTRIDE}, and only more samples decide it" if judgement == "undecided" else found,
    )


def _judgement(interval: Interval, allowed: float) -> Judgement:
    if interval.low > allowed:
        return "violated"
    return "held" if interval.high <= allowed else "undecided"


def _detail(judgement: Judgement, more: str) -> str:
    return {"violated": BEYOND, "held": WITHIN, "undecided": f"{ASTRIDE}: {more}"}[judgement]


def _undecided(name: str, limit: Limit, allowed: float, detail: str) -> Verdict:
    return Verdict(
        artifact=name,
        limit=limit,
        allowed=allowed,
        observed=None,
        interval=None,
        judgement="undecided",
        detail=detail,
    )


def _told(reasons: tuple[Reason, ...]) -> str:
    return "; ".join(reason.detail for reason in reasons) or "no reason given"
