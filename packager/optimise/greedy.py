"""The search itself: one proposal after the other against the best so far, until the time is up."""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from packager.optimise.proposals import Proposal, Space, starts, steps
from packager.optimise.study import Confirmed, Outcome, Study
from packager.optimise.units import Division
from packager.recipe import Assignment, OnnxOperators
from runner.errors import StepError
from runner.interval import Interval
from runner.packing import Drop, Speed

CLEARLY = 0.97
"""Less than this share of the time counts as faster though the interval does not say so: it is confirmed at the end."""
CONFIRMING = 2
"""How many of the longest trials the confirmation takes, where it is clear: three files, in more rounds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ratio:
    """By what factor one file takes longer than another, in pairs of processes."""

    estimate: float
    interval: Interval | None

    @property
    def faster(self) -> bool:
        """Whether it takes less time: by its interval, or clearly by the estimate."""
        return self.estimate < CLEARLY or (self.interval is not None and self.interval.high < 1)


class Judge(Protocol):
    """Makes, runs and times the files of divisions."""

    def ratio(self, new: Division, old: Division) -> Ratio:
        """Return how much longer the new one takes. Raises StepError."""

    def drop(self, division: Division) -> Drop:
        """Return what it loses on the validation split. Raises StepError where it is broken."""

    def confirm(self, division: Division) -> tuple[Speed, ...]:
        """Time fp32, all in int8, and a division beside each other, in this order. Raises StepError."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Terms:
    """What a search has to hold."""

    max_drop: float
    """A fraction."""
    for_s: float
    """Over all runs."""
    clock: Callable[[], float]
    """In seconds."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Search:
    """A search as far as it has come: all that it goes on from stands in the study."""

    space: Space
    judge: Judge
    study: Study
    terms: Terms
    say: Callable[[Outcome], None] = lambda _: None

    def run(self) -> Confirmed | None:
        """Try until the time is up or nothing is left, and confirm the best; None is: nothing is faster than fp32.

        Raises StepError where the best cannot be timed once more.
        """
        while (proposal := self.proposal()) is not None and self._has_time():
            outcome = self._tried(proposal)
            self.study.write(outcome)
            self.say(outcome)
        best = self.best()
        if best == self.space.fp32:
            return None
        written = [line for line in self.study.lines if isinstance(line, Confirmed)]
        found = next((line for line in written if line.assignment == self._assignment(best)), None)
        if found is None:
            found = self._confirmed(best)
            self.study.write(found)
        return found if found.faster else None

    def best(self) -> Division:
        """Return the last division that was accepted, but for one that has not been confirmed; else all in fp32."""
        found = self.space.fp32
        for line in self.study.lines:
            if isinstance(line, Outcome) and line.accepted:
                found = self.space.division(line.assignment)
            elif isinstance(line, Confirmed) and not line.faster:
                found = self.space.fp32
        return found

    def proposal(self) -> Proposal | None:
        """Return the first one that has not been tried yet: it follows from the record alone."""
        best = self.best()
        names = {outcome.what for outcome in self.study.outcomes}
        seen = {self.space.fp32, best, *(self.space.division(each.assignment) for each in self.study.outcomes)}
        now = best if best != self.space.fp32 else Division(operators=self._form(), fp32=best.fp32)
        untried = (
            each
            for each in itertools.chain(starts(self.space), steps(self.space, now))
            if each.what not in names and each.division not in seen and each.division.fp32 != self.space.everything
        )
        return next(untried, None)

    def _form(self) -> OnnxOperators:
        """Return the form in which all in int8 was least slow, for what begins from fp32 again."""
        ratios = {
            outcome.assignment.operators: outcome.ratio
            for outcome in self.study.outcomes
            if not outcome.assignment.fp32 and outcome.ratio is not None
        }
        return min(self.space.forms, key=lambda form: ratios.get(form, math.inf))

    def _has_time(self) -> bool:
        """Say whether another trial can come to its end, and the confirmation after it. The first is always begun."""
        longest = max((outcome.duration_s for outcome in self.study.outcomes), default=None)
        return longest is None or self.study.spent_s + (1 + CONFIRMING) * longest < self.terms.for_s

    def _tried(self, proposal: Proposal) -> Outcome:
        began_s, new, old = self.terms.clock(), proposal.division, self.best()
        ratio = drop = None
        try:
            ratio = self.judge.ratio(new, old)
            drop = self.judge.drop(new) if ratio.faster else None
            reason = self._objection(ratio, drop)
        except StepError as error:
            reason = error.what
        return Outcome(
            what=proposal.what,
            assignment=self._assignment(new),
            ratio=ratio.estimate if ratio else None,
            interval=ratio.interval if ratio else None,
            drop=drop,
            accepted=not reason,
            reason=reason,
            duration_s=self.terms.clock() - began_s,
        )

    def _objection(self, ratio: Ratio, drop: Drop | None) -> str:
        if drop is None:
            return "not faster" if ratio.estimate < 1 else "slower"
        return "" if drop.within(self.terms.max_drop) else "loses too much"

    def _confirmed(self, best: Division) -> Confirmed:
        began_s = self.terms.clock()
        speeds = self.judge.confirm(best)
        against = speeds[-1].interval_of_ratio
        return Confirmed(
            assignment=self._assignment(best),
            speeds=speeds,
            faster=against is not None and against.high < 1,
            duration_s=self.terms.clock() - began_s,
        )

    def _assignment(self, division: Division) -> Assignment:
        return division.assignment(self.space.units)
