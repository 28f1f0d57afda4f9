"""Structured pruning: whole channels leave the network, and with them arithmetic, bytes and milliseconds.

Where the share that is asked for is of multiply-accumulates or of parameters, the cuts are made one after the other,
in order of rank, until so much has gone: the number of cuts is found by bisection, on copies.
"""

import bisect
import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from packager import layers, recipe
from packager.counting import count
from packager.prune import Evidence, Pruned, Stage
from packager.prune.coupled import Coupled, coupled, without
from packager.prune.cuts import Cut, Ranking, cuts, going, ranking, share_of_channels
from packager.prune.importance import score
from packager.prune.unpruned import Unpruned, carry, unpruned
from runner.errors import StepError, first_line

LESS = "a smaller `round_to` or a shorter `keep` in the recipe's [prune]"
WEIGHTS = '`method = "l1"` in the recipe\'s [prune], which leaves the channels as they are'
WORDS: dict[recipe.Share, str] = {"macs": "multiply-accumulates", "parameters": "parameters", "channels": "channels"}


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Subject:
    """A network that is to lose channels."""

    module: nn.Module
    example: Tensor

    def after(self, cuts: Sequence[Cut]) -> nn.Module:
        """Return a copy after these cuts. Raises StepError where its own code is written for the widths it had."""
        try:
            module = without(self.module, self.example, going(cuts)).eval()
            with torch.no_grad():
                whole, answers = self.module(self.example), module(self.example)
        except Exception as error:
            # Whatever the network's own code raises, or torch-pruning where a layer is not as layers are.
            raise StepError(first_line(error)) from error
        if answers.shape != whole.shape:
            raise StepError(f"its answers have the shape {tuple(answers.shape)} in place of {tuple(whole.shape)}")
        return module

    def size(self, cuts: Sequence[Cut], of: recipe.Share) -> int:
        """Return the parameters or multiply-accumulates after these cuts. Raises StepError as `after` does."""
        counts = count(self.after(cuts), self.example)
        return counts.macs if of == "macs" else counts.parameters


def prune(module: nn.Module, plan: recipe.Prune, stage: Stage, evidence: Evidence) -> Pruned:
    """Return a copy with fewer channels. Raises StepError where none can go, or too few for the share asked for."""
    layers.check(module, plan.keep, "prune.keep")
    layers.check(module, tuple(plan.amounts), "prune.amounts")
    subject = Subject(module=copy.deepcopy(module).eval(), example=evidence.example)
    groups = _removable(subject, plan, evidence, first=not stage.before)
    whole = unpruned(subject.module, groups, evidence.example, stage)
    found = ranking(groups, plan, stage, whole.widths)
    chosen = [*found.own, *found.common[: _how_many(subject, found, plan, stage, whole)]]
    only = stage == Stage(before=0.0, amount=plan.amount)
    if only and not chosen:
        raise StepError(
            f"{plan.amount:.0%} of the channels is less than half of {plan.round_to} in every layer: nothing would go",
            where="prune.amount",
            advice=f"a larger amount, or {LESS}",
        )
    pruned = subject.after(chosen)
    for name, parameter in module.named_parameters():
        pruned.get_parameter(name).requires_grad_(parameter.requires_grad)
    carry(pruned, whole, to_next=stage.amount < plan.amount)
    return Pruned(module=pruned)


def _removable(subject: Subject, plan: recipe.Prune, evidence: Evidence, *, first: bool) -> list[Coupled]:
    """Return the channels that may go. Raises StepError where there are none, or where none can in a first step.

    Where the network cannot run without some of them all, each is tried alone: those that its own code reshapes to a
    fixed width stay.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(evidence.seed)
        measure = score(plan.importance, subject.module, evidence.batches)
        found = coupled(subject.module, subject.example, measure)
    subject.module.zero_grad()
    free = [group for group in found if not any(layers.matches(layer, plan.keep) for layer in group.layers)]
    if first and not any(cuts(group, plan.round_to) for group in free):
        raise StepError(_nothing(found, free, plan), where="prune", advice=LESS if found else WEIGHTS)
    fault = _fault(subject, free, plan)
    running = free if fault is None else [group for group in free if _fault(subject, [group], plan) is None]
    if first and not any(cuts(group, plan.round_to) for group in running):
        names = ", ".join(group.layers[0] for group in free)
        raise StepError(f"the network does not run with fewer channels in {names}: {fault}", advice=WEIGHTS)
    return running


def _fault(subject: Subject, groups: Sequence[Coupled], plan: recipe.Prune) -> str | None:
    """Return why the network cannot run with each of these as narrow as it may become; None where it can."""
    try:
        subject.after([cut for group in groups for cut in cuts(group, plan.round_to)])
    except StepError as error:
        return error.what
    return None


def _how_many(subject: Subject, found: Ranking, plan: recipe.Prune, stage: Stage, whole: Unpruned) -> int:
    """Return how many of the common cuts are made. Raises StepError where all of them are too few for the plan."""
    if plan.of == "channels":
        return share_of_channels(found, stage.amount, across_layers=plan.across_layers)
    unpruned_size = whole.macs if plan.of == "macs" else whole.parameters

    def gone(number: int) -> float:
        return 1 - subject.size([*found.own, *found.common[:number]], plan.of) / unpruned_size

    most = gone(len(found.common))
    if most < plan.amount:
        raise StepError(
            f"{plan.amount:.0%} of the {WORDS[plan.of]} cannot go: with all the channels that may, it is {most:.0%}",
            where="prune.amount",
            advice=f"a smaller amount, or {LESS}",
        )
    return bisect.bisect_left(range(len(found.common)), stage.amount, key=gone)


def _nothing(found: Sequence[Coupled], free: Sequence[Coupled], plan: recipe.Prune) -> str:
    if not found:
        return "the network has no layer whose channels could go without changing its answers' shape"
    if not free:
        return f"no channels can go: `keep` holds all layers that have some to lose, {_names(found)}"
    return f"no channels can go: layers keep a multiple of {plan.round_to}, and none has more than one, {_names(free)}"


def _names(groups: Sequence[Coupled]) -> str:
    return ", ".join(f"{group.layers[0]} {group.width}" for group in groups)
