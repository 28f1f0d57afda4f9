"""The networks that one recipe makes of one training: as it was trained, pruned, pruned otherwise."""

from dataclasses import dataclass

from packager import recipe
from packager.candidates import candidate
from packager.evaluation import Logits, logits
from packager.network import Network, Workbench, pruned
from packager.roads import Workshop
from runner import codec
from runner.manifest import Candidate, Target

UNPRUNED = recipe.Variant(name="unpruned", artifacts=("fp32.onnx",))
"""Stands beside what was pruned, so that tables show what pruning brought on this machine."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Branch:
    """A network, and the artifacts that are made of it."""

    workshop: Workshop
    candidates: tuple[Candidate, ...]
    """Empty means: those of the target."""
    reference: Logits
    """What it answers in fp32 to the evaluation set."""

    def artifacts(self, target: Target) -> tuple[Candidate, ...]:
        """Return what is to be made for a target."""
        wanted = self.candidates or target.artifacts
        quantizes = self.workshop.quantize is not None
        return tuple(each for each in wanted if quantizes or each.precision != "int8")


def branches(trained: Network, bench: Workbench) -> tuple[Branch, ...]:
    """Return the recipe's own branch first, and then its variants. Raises StepError."""
    networks: dict[str, Network] = {}
    answers: dict[str, Logits] = {}
    found = []
    for variant in _variants(bench.recipe):
        plan = codec.digest(variant.prune)
        if plan not in networks:
            networks[plan] = pruned(trained, variant.prune, bench) if variant.prune else trained
        network = networks[plan]
        if network.key not in answers:
            answers[network.key] = logits(network, bench.splits.evaluation, bench.splits.preprocess)
        workshop = Workshop(
            name=variant.name,
            title=variant.title,
            network=network,
            teacher=trained,
            quantize=variant.quantize,
            bench=bench,
        )
        wanted = tuple(map(candidate, variant.artifacts))
        found.append(Branch(workshop=workshop, candidates=wanted, reference=answers[network.key]))
    return tuple(found)


def _variants(plan: recipe.Recipe) -> tuple[recipe.Variant, ...]:
    own, *others = recipe.ways(plan)
    return (own, *([UNPRUNED] if plan.prune else []), *others)
