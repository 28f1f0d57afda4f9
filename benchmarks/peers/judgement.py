"""What follows from the records: ratios to the fastest peer with their intervals, and whether the goals are reached."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.peers.contenders import EDGEPACK, FAMILIES
from benchmarks.peers.record import Entrant, Record
from runner import stats
from runner.interval import Interval
from runner.stats.ranks import paired_ratio

CONFIDENCE = 0.9
"""At least: five rounds allow 93.75 %."""
LEAST_SNR_DB = 10.0
"""Answers with more noise than this are no longer the network's: who gives them is told, and not counted."""
LATENCY_BATCH, THROUGHPUT_BATCH = 1, 32
MOST_RATIO, MOST_MEAN = 1.03, 0.95
LEAST_FAMILIES = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """One contender in one case."""

    entrant: Entrant
    median_ns: float | None
    """Median of the processes' medians; None where it failed in every round, or never was built."""

    @property
    def counts(self) -> bool:
        """Whether it was measured, and its answers are the network's."""
        found = self.entrant
        noisy = found.snr_db is not None and found.snr_db < LEAST_SNR_DB
        return self.median_ns is not None and found.agreement is not None and not noisy


@dataclass(frozen=True, kw_only=True, slots=True)
class Duel:
    """edgepack's choice against the fastest peer of one case."""

    family: str
    batch: int
    choice: Standing
    peer: Standing
    ratio: float
    """How long edgepack takes, by how long the peer takes."""
    interval: Interval | None
    """None where there are too few rounds."""
    wrong: tuple[str, ...]
    """Peers that were faster still, with answers that do not count."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Goal:
    """A goal of the comparison, and what became of it."""

    text: str
    found: str
    reached: bool | None
    """None while not all families are measured."""


def medians_ns(record: Record, name: str) -> dict[int, float]:
    """Return the median of a contender's process by the number of the round; rounds that it failed in are not there."""
    return {
        number: stats.median(taken)
        for number, each in enumerate(record.rounds)
        if (taken := each.samples_ns.get(name, ()))
    }


def standings(record: Record) -> tuple[Standing, ...]:
    """Return how each contender did, the fastest first, and last those without a figure."""
    found = [
        Standing(entrant=each, median_ns=stats.median(list(own.values())) if own else None)
        for each in record.entrants
        for own in [medians_ns(record, each.name)]
    ]
    return tuple(sorted(found, key=lambda each: math.inf if each.median_ns is None else each.median_ns))


def duel(record: Record) -> Duel | None:
    """Hold edgepack against the fastest peer that counts; None where either is missing."""
    found = standings(record)
    choice = next((each for each in found if each.entrant.name == EDGEPACK.name), None)
    peers = [each for each in found if each is not choice and each.median_ns is not None]
    peer = next((each for each in peers if each.counts), None)
    if choice is None or peer is None or not choice.counts:
        return None
    ours, theirs = medians_ns(record, EDGEPACK.name), medians_ns(record, peer.entrant.name)
    both = sorted(ours.keys() & theirs.keys())
    if not both:
        return None
    ratio, interval = paired_ratio([theirs[i] for i in both], [ours[i] for i in both], CONFIDENCE)
    return Duel(
        family=record.family,
        batch=record.batch,
        choice=choice,
        peer=peer,
        ratio=ratio,
        interval=interval,
        wrong=tuple(each.entrant.name for each in peers[: peers.index(peer)]),
    )


def geometric_mean(ratios: Sequence[float]) -> float:
    """Return the geometric mean. Raises ValueError without ratios."""
    if not ratios:
        raise ValueError("no mean of 0 ratios")
    return math.exp(math.fsum(map(math.log, ratios)) / len(ratios))


def goals(records: Sequence[Record]) -> tuple[Goal, ...]:
    """Judge the goals by the estimates, whatever their intervals: a family without a ratio is one that is missed."""
    latency, throughput = (_of_batch(records, batch) for batch in (LATENCY_BATCH, THROUGHPUT_BATCH))
    return (*_latency_goals(latency), _throughput_goal(throughput))


def _of_batch(records: Sequence[Record], batch: int) -> dict[str, Duel | None]:
    return {each.family: duel(each) for each in records if each.batch == batch and each.family in FAMILIES}


def _latency_goals(found: dict[str, Duel | None]) -> tuple[Goal, Goal]:
    duels = [each for each in found.values() if each is not None]
    missing = [family for family, each in found.items() if each is None]
    slower = sorted((each for each in duels if each.ratio > MOST_RATIO), key=lambda each: -each.ratio)
    named = [f"{each.family} {each.ratio:.2f}" for each in slower] + [f"{family}: no ratio" for family in missing]
    whole = len(found) == len(FAMILIES)
    largest = f"{max(each.ratio for each in duels):.3f}" if duels else "—"
    mean = geometric_mean([each.ratio for each in duels]) if duels else None
    words = f"largest {largest}; {len(duels) - len(slower)} of {len(found)} families within"
    return (
        Goal(
            text=f"batch {LATENCY_BATCH}: at most {MOST_RATIO} of the fastest peer's time on each family",
            found=words + (f"; beyond: {', '.join(named)}" if named else ""),
            reached=False if named else True if whole else None,
        ),
        Goal(
            text=f"batch {LATENCY_BATCH}: geometric mean at most {MOST_MEAN}",
            found="—" if mean is None else f"{mean:.3f} over {len(duels)} families",
            reached=mean is not None and mean <= MOST_MEAN and not missing if whole else None,
        ),
    )


def _throughput_goal(found: dict[str, Duel | None]) -> Goal:
    duels = [each for each in found.values() if each is not None]
    reached = sum(each.ratio <= 1 for each in duels)
    open_ = sum(each.ratio > 1 and each.interval is not None and each.interval.low <= 1 for each in duels)
    beyond = f", {open_} more where the interval allows it" if open_ else ""
    whole = len(found) == len(FAMILIES)
    return Goal(
        text=f"batch {THROUGHPUT_BATCH}: at least the fastest peer's throughput on {LEAST_FAMILIES} of {len(FAMILIES)}",
        found=f"{reached} of {len(found)} families{beyond}",
        reached=True if reached >= LEAST_FAMILIES else False if whole else None,
    )
