"""The networks that one recipe makes of one training: as it was trained, pruned, pruned otherwise."""

from dataclasses import dataclass, replace

from packager import candidates, recipe
from packager.apart import Start
from packager.builders import BuildContext
from packager.candidates import OPTIMISED, REFERENCE
from packager.evaluation import Logits, logits
from packager.network import Network, Workbench, pruned
from runner import codec
from runner.manifest import Candidate, Target

UNPRUNED = recipe.Variant(name="unpruned", artifacts=(REFERENCE.name,))
"""Stands beside what was pruned, so that tables show what pruning brought on this machine."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Branch:
    """A network, and the artifacts that are made of it."""

    context: BuildContext
    asked: tuple[str, ...]
    """For which artifacts, by name; empty means: those of the target."""
    reference: Logits
    """What it answers in fp32 to the evaluation set."""

    def artifacts(self, target: Target) -> tuple[Candidate, ...]:
        """Return what is to be made for a target."""
        quantizes = self.context.quantize is not None
        wanted = candidates.wanted(self.asked, target)
        # What a search has found is made beside the others; what it is still to find cannot be made yet.
        found = (OPTIMISED,) if quantizes and self.context.assignment(OPTIMISED) else ()
        named = tuple(each for each in wanted if each != OPTIMISED and (quantizes or each.precision != "int8"))
        return (*named, *found)


def branches(trained: Network, bench: Workbench) -> tuple[Branch, ...]:
    """Return the recipe's own branch first, and then its variants. Raises StepError.

    A variant that brings a network of its own is followed by its fp32 file, where the recipe does not list that.
    """
    made = networks(trained, bench)
    if bench.apart is not None:
        keys = tuple({trained.key, *(each.key for each in made.values())})
        bench.apart.prepare(Start(recipe=bench.recipe, cache=str(bench.cache.folder), networks=keys))
    answers: dict[str, Logits] = {}
    found = list[Branch]()
    for variant in _variants(bench.recipe):
        network = made[codec.digest(variant.prune)]
        if network.key not in answers:
            answers[network.key] = logits(network, bench.splits.evaluation, bench.splits.preprocess)
        context = BuildContext(
            name=variant.name,
            title=variant.title,
            network=network,
            teacher=trained,
            quantize=variant.quantize,
            bench=bench,
        )
        first = all(network is not each.context.network for each in found)
        found.append(Branch(context=context, asked=variant.artifacts, reference=answers[network.key]))
        if first and variant.name and variant.prune and variant.artifacts and REFERENCE.name not in variant.artifacts:
            # Without it, nothing would tell the size and the time of this network from those of int8.
            bare = replace(context, title="", quantize=None)
            found.append(replace(found[-1], context=bare, asked=(REFERENCE.name,)))
    return tuple(found)


def networks(trained: Network, bench: Workbench) -> dict[str, Network]:
    """Return what each way of pruning leaves, by its digest: None's is the trained network. Raises StepError."""
    plans = {codec.digest(each.prune): each.prune for each in _variants(bench.recipe)}
    return {key: pruned(trained, plan, bench) if plan else trained for key, plan in plans.items()}


def _variants(plan: recipe.Recipe) -> tuple[recipe.Variant, ...]:
    own, *others = recipe.ways(plan)
    return (own, *([UNPRUNED] if plan.prune else []), *others)
