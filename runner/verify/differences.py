"""Figures as reported, beside what the record gives."""

import math
from collections.abc import Iterator, Mapping

TOLERANCE = 1e-9
"""Relative: sums may be taken in another order than they were when the report was made."""


def differences(path: str, figures: Mapping[str, tuple[float | None, float | None]]) -> Iterator[str]:
    """Yield each figure, reported and computed, of which the two are not the same."""
    for name, (reported, computed) in figures.items():
        if reported is None or computed is None:
            same = reported is computed
        else:
            same = math.isclose(reported, computed, rel_tol=TOLERANCE)
        if not same:
            yield f"{path}.{name}: reported {_shown(reported)}, the record gives {_shown(computed)}"


def _shown(value: float | None) -> str:
    return "none" if value is None else f"{value:.10g}"
