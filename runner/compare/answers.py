"""One artifact's answers on both sides, paired by sample: flips, whether accuracy differs, and by how much at most."""

from collections.abc import Iterator

from runner.compare.comparison import AccuracyWord, AnswerFlip, Answers, Distance
from runner.interval import Interval
from runner.reason import Reason
from runner.report import Accuracy
from runner.stats import paired

ALPHA = 0.01
"""`differs` is said at a p-value below it."""
CONFIDENCE = 0.9
"""Of the two-sided interval: each end is a one-sided bound of 95 %, on which the number of samples needed rests too."""
FEWEST_FLIPS = 0.01
"""The share of flips that is reckoned with where fewer were seen: few samples show few."""


def compare_answers(
    labels: tuple[int, ...], ours: Accuracy, theirs: Accuracy, margin: float, *, same_file: bool
) -> Answers:
    """Hold the answers of the device against those of the host, of the same samples."""
    flips = _flips(labels, ours, theirs)
    lost = sum(flip.host == flip.label for flip in flips)
    won = sum(flip.device == flip.label for flip in flips)
    interval = paired.bonett_price(won, lost, len(labels), CONFIDENCE)
    p_value = paired.mcnemar(lost, won)
    word = _word(interval, margin)
    return Answers(
        samples=len(labels),
        agreement=1 - len(flips) / len(labels),
        right_to_wrong=lost,
        wrong_to_right=won,
        flips=flips,
        interval=interval,
        p_value=p_value,
        differs=p_value < ALPHA,
        word=word,
        samples_needed=_samples_needed(lost + won, len(labels), margin) if word == "undecided" else None,
        distance=_distance(ours, theirs) if same_file else None,
    )


def undecided(answers: Answers, margin: float) -> Iterator[Reason]:
    """Yield why no word on accuracy can be said, where it is for want of samples."""
    if answers.samples_needed is None:
        return
    discordant, fewest = answers.right_to_wrong + answers.wrong_to_right, paired.fewest_discordant(ALPHA)
    share = max(FEWEST_FLIPS, discordant / answers.samples)
    detail = (
        f"{answers.samples} samples cannot show that top-1 loses less than {_points(margin)}: "
        f"at {100 * share:.2g} % flips that takes about {answers.samples_needed:,}"
    )
    if 0 < discordant < fewest:
        detail += f"; and {discordant} discordant samples never show a difference at p < {ALPHA}, {fewest} may"
    yield Reason(code="few-samples", level="note", detail=detail, advice="a larger evaluation set")


def _flips(labels: tuple[int, ...], ours: Accuracy, theirs: Accuracy) -> tuple[AnswerFlip, ...]:
    margins = {(f.sample, f.host, f.device): (f.host_margin, f.device_margin) for f in theirs.flips}
    rows = enumerate(zip(labels, ours.predictions, theirs.predictions, strict=True))
    return tuple(
        AnswerFlip(sample=sample, label=label, host=a, device=b, host_margin=lead[0], device_margin=lead[1])
        for sample, (label, a, b) in rows
        if a != b
        for lead in (margins.get((sample, a, b), (None, None)),)
    )


def _word(interval: Interval, margin: float) -> AccuracyWord:
    if interval.low > -margin:
        return "non-inferior"
    return "inferior" if interval.high < -margin else "undecided"


def _samples_needed(discordant: int, samples: int, margin: float) -> int | None:
    if margin <= 0:
        return None
    needed = paired.samples_needed(margin, max(FEWEST_FLIPS, discordant / samples))
    return needed if needed > samples else None


def _distance(ours: Accuracy, theirs: Accuracy) -> Distance | None:
    """Return how far the logits are apart: each record has them from those of the host that packed the artifact."""
    if not (ours.identical_to_host or theirs.identical_to_host):
        return None
    other = theirs if ours.identical_to_host else ours
    return Distance(max_abs=other.max_abs_difference, least_cosine=other.least_cosine, kl_nats=other.kl_nats)


def _points(share: float) -> str:
    return "1 point" if share == 0.01 else f"{100 * share:g} points"
