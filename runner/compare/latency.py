"""Judge two sets of latencies, one figure per process: a word where the whole interval allows it, and no other way.

How small an effect would be found follows from the interval. With half-width h in logarithms and coverage c, an effect
of margin + h (1 + z(0.8) / z((1 + c) / 2)) has its whole interval beyond the margin in about 80 % of such measurements:
the interval must lie beyond, and its middle scatters by h / z. In simulations of 5 to 20 processes a side this held for
normal, skewed and heavy-tailed effects alike (72 to 81 %). The number of processes that would settle a verdict is the
one at which this reach, which shrinks with the square root, fits between the estimate and the nearest border.
"""

import math
from collections.abc import Sequence
from itertools import count
from statistics import NormalDist

from runner.compare.comparison import LatencyVerdict, Word
from runner.interval import Interval
from runner.stats.ranks import hodges_lehmann_ratio, mann_whitney_counts, paired_ratio, signed_rank_counts

POWER = 0.8
"""How surely the smallest detectable effect is found."""
MOST_MORE = 1000
"""Where even so many more would not settle it, no number is named."""


def judge(
    x: Sequence[float], y: Sequence[float], margin: float, confidence: float = 0.99, *, floor: float = 0.0
) -> LatencyVerdict:
    """Judge by what factor `y` is longer than `x`: one latency per process, in any unit, each side measured alone.

    `margin` is what is of no interest, `floor` by how much two sessions on this device differ with nothing changed,
    both as fractions. The larger is what a difference must exceed; and what a floor above the margin hides is
    never called equivalent. Raises ValueError without values on both sides, or with one that is not positive.
    """
    ratio, interval = hodges_lehmann_ratio(x, y, confidence)
    if interval is None:
        more = next(k for k in count(1) if _reaches(mann_whitney_counts(len(x) + k, len(y) + k), confidence))
        needed = next(n for n in count(1) if _reaches(mann_whitney_counts(n, n), confidence))
        return _undecided(ratio, max(margin, floor), more, needed)
    return _verdict(ratio, interval, margin, floor, (len(x), len(y)))


def judge_blocks(x: Sequence[float], y: Sequence[float], margin: float, confidence: float = 0.99) -> LatencyVerdict:
    """Judge by what factor `y` is longer than `x`, measured in turn: one latency of each in every block.

    Raises ValueError without blocks, where the two are not of one length, or with a value that is not positive.
    """
    ratio, interval = paired_ratio(x, y, confidence)
    if interval is None:
        more = next(k for k in count(1) if _reaches(signed_rank_counts(len(x) + k), confidence))
        return _undecided(ratio, margin, more, len(x) + more)
    return _verdict(ratio, interval, margin, 0.0, (len(x), len(y)))


def _reaches(counts: Sequence[int], confidence: float) -> bool:
    """Say whether the widest interval of a test with these counts has the confidence."""
    return 1 - 2 / sum(counts) >= confidence


def _undecided(ratio: float, margin: float, more: int, needed: int) -> LatencyVerdict:
    return LatencyVerdict(
        ratio=ratio,
        interval=None,
        word="inconclusive",
        margin=margin,
        hidden=False,
        smallest_effect=None,
        more_processes=more,
        processes_needed=needed,
    )


def _verdict(
    ratio: float, interval: Interval, margin: float, floor: float, processes: tuple[int, int]
) -> LatencyVerdict:
    border = math.log1p(max(margin, floor))
    low, high, estimate = math.log(interval.low), math.log(interval.high), math.log(ratio)
    word: Word = "inconclusive"
    if low > border:
        word = "slower"
    elif high < -border:
        word = "faster"
    elif -border <= low and high <= border and floor <= margin:
        word = "equivalent"
    normal = NormalDist()
    reach = (high - low) / 2 * (1 + normal.inv_cdf(POWER) / normal.inv_cdf((1 + interval.confidence) / 2))
    hidden = word == "inconclusive" and floor > margin and abs(estimate) <= border
    settled = hidden or word != "inconclusive"
    more = None if settled else _more(reach, abs(abs(estimate) - border), processes)
    return LatencyVerdict(
        ratio=ratio,
        interval=interval,
        word=word,
        margin=max(margin, floor),
        hidden=hidden,
        smallest_effect=math.expm1(border + reach),
        more_processes=more,
        processes_needed=None if more is None else _on_both(processes, more),
    )


def _more(reach: float, room: float, processes: tuple[int, int]) -> int | None:
    """Return how many more on each side make the reach fit: it goes with the root of the sum of 1 / processes."""
    x, y = processes
    target = (1 / x + 1 / y) * (room / reach) ** 2
    return next((k for k in range(1, MOST_MORE + 1) if 1 / (x + k) + 1 / (y + k) <= target), None)


def _on_both(processes: tuple[int, int], more: int) -> int:
    """Return how many on each side are worth as much as these and so many more: their harmonic mean."""
    return math.ceil(2 / sum(1 / (count + more) for count in processes))
