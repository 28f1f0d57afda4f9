"""Integers that take longer than floats do: nobody shall ship them for what they save. Pure."""

from collections.abc import Collection, Mapping

from runner.fastest import Cost


def slower(costs: Mapping[str, Cost], integers: Collection[str]) -> dict[str, str]:
    """Return those of `integers` that are slower than the fastest of the others, beyond noise, and by how much.

    What is beyond noise has an interval of its own, above that of the other.
    """
    floats = {name: each for name, each in costs.items() if name not in integers}
    if not floats:
        return {}
    best = min(floats, key=lambda name: floats[name].median_ns)
    limit = floats[best]
    return {
        name: f"slower than {best}: it takes {each.median_ns / limit.median_ns:.2f} times as long"
        for name, each in costs.items()
        if name in integers and each.interval.low > limit.interval.high
    }


def doubtful(costs_ns: Mapping[str, float], integers: Collection[str], hopeless: float) -> set[str]:
    """Return what one look is not enough for to say which of `integers` are slower than the fastest of the others.

    Of what takes `hopeless` times as long it is, and so of what takes that much less.
    """
    floats = [name for name in costs_ns if name not in integers]
    if not floats:
        return set()
    best = min(floats, key=costs_ns.__getitem__)
    near = {
        name
        for name in integers
        if name in costs_ns and costs_ns[best] / hopeless < costs_ns[name] <= hopeless * costs_ns[best]
    }
    return {best, *near} if near else set()
