"""In which order channels go, and how many: the ranking within each layer or over all of them."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from packager import recipe
from packager.layers import matches
from packager.prune import Stage
from packager.prune.coupled import Coupled


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Cut:
    """What takes coupled channels from one width to the next that is a multiple of `round_to`."""

    of: Coupled
    width: int
    """That stays."""
    channels: int
    """That go."""
    share: float
    """Of the unpruned width, gone in the middle of the cut: a cut is made where more than this is asked for, which
    rounds to the nearest multiple."""
    worth: float
    """The mean score of what goes."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Ranking:
    """The cuts that a step chooses from, in the order in which they are made."""

    own: Sequence[Cut]
    """In layers that the recipe gives a share of their own: all of these are made."""
    common: Sequence[Cut]
    """In the others: as many of these, from the first on, as the amount asks for."""
    channels: float
    """Of the others, unpruned."""
    gone: float
    """Of these, already."""


def ranking(groups: Sequence[Coupled], plan: recipe.Prune, stage: Stage, widths: Mapping[str, float]) -> Ranking:
    """Return the cuts of a step; `widths` are the unpruned ones."""
    amounts = [_own_amount(group, plan.amounts) for group in groups]
    progress = stage.amount / plan.amount
    own = [
        cut
        for group, amount in zip(groups, amounts, strict=True)
        for cut in cuts(group, plan.round_to, widths[group.layers[0]])
        if amount is not None and cut.share < amount * progress
    ]
    others = [group for group, amount in zip(groups, amounts, strict=True) if amount is None]
    common = [cut for group in others for cut in cuts(group, plan.round_to, widths[group.layers[0]])]
    rank = (lambda cut: (cut.worth, cut.share)) if plan.across_layers else (lambda cut: (cut.share, cut.worth))
    channels = sum(widths[group.layers[0]] for group in others)
    gone = channels - sum(group.width for group in others)
    return Ranking(own=own, common=sorted(common, key=rank), channels=channels, gone=gone)


def share_of_channels(ranked: Ranking, share: float, *, across_layers: bool) -> int:
    """Return how many of the common cuts take this share of the unpruned channels, each layer's or all layers'."""
    if not across_layers:
        return sum(cut.share < share for cut in ranked.common)
    gone, made = ranked.gone, 0
    for cut in ranked.common:
        if gone + cut.channels / 2 >= share * ranked.channels:
            break
        gone, made = gone + cut.channels, made + 1
    return made


def going(cuts: Sequence[Cut]) -> dict[str, list[int]]:
    """Return layer -> the output channels that go with these cuts."""
    widths = {cut.of.layers[0]: (cut.of, cut.width) for cut in sorted(cuts, key=lambda cut: -cut.width)}
    return {name: group.going(width) for name, (group, width) in widths.items()}


def _own_amount(group: Coupled, amounts: Mapping[str, float]) -> float | None:
    named = (amount for pattern, amount in amounts.items() if any(matches(layer, [pattern]) for layer in group.layers))
    return next(named, None)


def cuts(group: Coupled, round_to: int, whole: float | None = None) -> list[Cut]:
    """Return the cuts of a group, the least worthy channels first, down to one multiple of `round_to`.

    Shares are of `whole`, the unpruned width, which is what it has unless told.
    """
    return list(_cuts(group, round_to, whole or group.width))


def _cuts(group: Coupled, round_to: int, whole: float) -> Iterator[Cut]:
    multiple = math.lcm(round_to, group.parts)
    scores, wider = group.scores.sort().values, group.width
    for width in range((group.width - 1) // multiple * multiple, 0, -multiple):
        first, last = ((group.width - bound) // group.parts for bound in (wider, width))
        yield Cut(
            of=group,
            width=width,
            channels=wider - width,
            share=1 - (wider + width) / 2 / whole,
            worth=float(scores[first:last].mean()),
        )
        wider = width
