"""Judge stated limits: a limit is missed only where the figures show it, and held only where they show that."""

from collections.abc import Iterable, Iterator

from runner.compare.comparison import ArtifactComparison, Judgement, Limit, Limits, Missing, Verdict
from runner.interval import Interval
from runner.report import Reason


def judge(artifacts: Iterable[ArtifactComparison], missing: Iterable[Missing], limits: Limits) -> Iterator[Verdict]:
    """Yield a verdict for each stated limit and each artifact, also for those that one side did not run."""
    for artifact in artifacts:
        if limits.max_slowdown is not None:
            yield _slowdown(artifact, limits.max_slowdown)
        if limits.max_accuracy_drop is not None:
            yield _accuracy_drop(artifact, limits.max_accuracy_drop)
    for name, detail in _absences(missing).items():
        if limits.max_slowdown is not None:
            yield _undecided(name, "max_slowdown", limits.max_slowdown, detail)
        if limits.max_accuracy_drop is not None:
            yield _undecided(name, "max_accuracy_drop", limits.max_accuracy_drop, detail)


def is_missed(verdicts: Iterable[Verdict], limits: Limits) -> bool:
    """Tell whether the verdicts fail the comparison: undecided ones do only where the user asked for it."""
    return any(v.judgement == "violated" or (limits.strict and v.judgement == "undecided") for v in verdicts)


def _absences(missing: Iterable[Missing]) -> dict[str, str]:
    told: dict[str, str] = {}
    for gap in missing:
        before = f"{told[gap.name]}; " if gap.name in told else ""
        told[gap.name] = f"{before}not run on the {gap.side}: {_told(gap.reasons)}"
    return told


def _slowdown(artifact: ArtifactComparison, allowed: float) -> Verdict:
    latency = artifact.delta("latency")
    if latency.ratio is None or latency.interval is None:
        return _undecided(artifact.name, "max_slowdown", allowed, _told(artifact.withheld))
    low, high = latency.interval.low - 1, latency.interval.high - 1
    judgement: Judgement = "violated" if low > allowed else "held" if high <= allowed else "undecided"
    detail = {
        "violated": "even the lower end of the interval is beyond the limit",
        "held": "the whole interval is within the limit",
        "undecided": "the interval lies on both sides of the limit: measure with more effort",
    }
    return Verdict(
        artifact=artifact.name,
        limit="max_slowdown",
        allowed=allowed,
        observed=latency.ratio - 1,
        interval=Interval(low=low, high=high, confidence=latency.interval.confidence, method=latency.interval.method),
        judgement=judgement,
        detail=detail[judgement],
    )


def _accuracy_drop(artifact: ArtifactComparison, allowed: float) -> Verdict:
    if artifact.answers is None:
        return _undecided(artifact.name, "max_accuracy_drop", allowed, _told(artifact.withheld))
    answers = artifact.answers
    return Verdict(
        artifact=artifact.name,
        limit="max_accuracy_drop",
        allowed=allowed,
        observed=answers.accuracy_drop,
        interval=None,
        judgement="violated" if answers.accuracy_drop > allowed else "held",
        detail=f"{answers.right_to_wrong} right to wrong and {answers.wrong_to_right} wrong to right"
        f" of {answers.samples}",
    )


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
