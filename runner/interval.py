"""A figure's uncertainty."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """A confidence interval."""

    low: float
    high: float
    confidence: float
    """The coverage that the method reaches here, as a fraction."""
    method: str
