"""The Pareto front over latency, size and accuracy, and which few of it are kept. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

ALIKE = 0.02
"""Times and sizes that differ by no more than this share are taken for equal: less is noise, or a header."""
ALIKE_TOP1 = 0.001
"""A tenth of a point."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Figures:
    """What an artifact is chosen by."""

    name: str
    size_bytes: int
    top1: float
    cost_ns: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Rank:
    """Whether an artifact is kept, and why it is or is not."""

    kept: bool
    why: str


def ranked(figures: Sequence[Figures], keep: int, free: str) -> dict[str, Rank]:
    """Return what becomes of each: the fastest, the smallest and the most accurate first, then the next fastest.

    The artifact named `free` is kept whatever it is like, and counts for none of the `keep`.
    """
    if not figures:
        return {}
    by_cost = sorted(figures, key=lambda each: each.cost_ns)
    fastest, dominators = by_cost[0], {each.name: _dominator(each, by_cost) for each in figures}
    front = [each for each in by_cost if each is fastest or dominators[each.name] is None]
    firsts = {
        "the fastest": fastest,
        "the smallest": min(front, key=lambda each: each.size_bytes),
        "the most accurate": max(front, key=lambda each: each.top1),
    }
    found = {free: Rank(kept=True, why=_first(firsts, free) or "the reference")}
    for each in dict.fromkeys(each.name for each in (*firsts.values(), *front)):
        if each not in found:
            kept = sum(rank.kept for rank in found.values()) <= keep
            why = _first(firsts, each) or "the next fastest that nothing is better than"
            found[each] = Rank(kept=kept, why=why if kept else f"{why}, beyond the {keep} that are kept")
    for name, other in dominators.items():
        if name not in found and other is not None:
            found[name] = Rank(kept=False, why=f"{other.name} is as fast, as small and as right, or better")
    return found


def _first(firsts: dict[str, Figures], name: str) -> str:
    return " and ".join(words for words, each in firsts.items() if each.name == name)


def _dominator(one: Figures, others: Sequence[Figures]) -> Figures | None:
    """Return the first that is no worse in anything and better in something; of two that are alike, the one before."""
    return next((each for each in others if each is not one and _dominates(each, one)), None)


def _dominates(one: Figures, other: Figures) -> bool:
    if not (
        one.cost_ns <= other.cost_ns * (1 + ALIKE)
        and one.size_bytes <= other.size_bytes * (1 + ALIKE)
        and one.top1 >= other.top1 - ALIKE_TOP1
    ):
        return False
    better = (
        one.cost_ns < other.cost_ns * (1 - ALIKE)
        or one.size_bytes < other.size_bytes * (1 - ALIKE)
        or one.top1 > other.top1 + ALIKE_TOP1
    )
    return better or (one.cost_ns, one.size_bytes, one.name) < (other.cost_ns, other.size_bytes, other.name)
