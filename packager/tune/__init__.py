"""The search for the smallest or fastest network whose accuracy holds: what is asked for, and what no search can give.

Light: what cannot be meant is told before the libraries load.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from packager import candidates
from packager.recipe import Quantize, Recipe
from runner.facts import DeviceFacts
from runner.manifest import Candidate, Target

Objective = Literal["latency", "size", "macs"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """What is searched for, and for how long."""

    objective: Objective = "latency"
    max_drop: float = 1.0
    """Of top-1, in points of a hundred, against the trained network in fp32; on the validation split."""
    trials: int = 20
    """Over all runs of the same search."""
    timeout_s: float | None = None
    """No trial begins after it."""


def searched(plan: Recipe, target: Target) -> tuple[Candidate, ...]:
    """Return the artifacts to choose from: the int8 ones, or where there are none, what else is smaller than fp32."""
    wanted = candidates.wanted(plan.candidates, target)
    for chosen in (
        [each for each in wanted if each.precision == "int8"],
        [each for each in wanted if each.precision != "fp32"],
    ):
        if chosen:
            return tuple(chosen)
    return wanted


FOUND = ("method", "of", "amount", "amounts", "importance", "across_layers")
"""Keys of [prune] that a search sets by itself."""
SETTINGS = {
    r"--quantize static": "--set quantize.method=static",
    r"--ranges ([\w-]+)": r"--set quantize.ranges=\1",
    r"--prune-method channels": "leave prune.method out",
    r"--prune 0\b": "leave pruning out",
}
"""Ways out by options that only `pack` itself has, and what stands for them in a search."""


def overruled(settings: tuple[str, ...]) -> list[str]:
    """Return what is wrong with settings that a search would not hear of."""
    keys = [setting.partition("=")[0].strip() for setting in settings]
    return [f"{key}: a search finds it by itself; leave it out" for key in keys if key in map("prune.{}".format, FOUND)]


def as_settings(problem: str) -> str:
    """Return what is told of a recipe with ways out that a search has, too."""
    for pattern, otherwise in SETTINGS.items():
        problem = re.sub(pattern, otherwise, problem)
    return problem


def without_what_is_searched(plan: Recipe) -> Recipe:
    """Return the recipe without what a search finds by itself, or holds by itself."""
    usual = Quantize()
    fixed = plan.quantize and replace(plan.quantize, ranges=usual.ranges, percentile=usual.percentile)
    return replace(plan, budget=None, optimise=None, quantize=fixed)


def impossible(plan: Recipe, target: Target, wish: Wish, here: DeviceFacts) -> list[str]:
    """Return what no search could do, each as `what: why; the way out`."""
    return list(_of_the_wish(wish)) + list(_of_the_recipe(plan, target, wish)) + list(_of_latency(target, wish, here))


def _of_the_wish(wish: Wish) -> Iterator[str]:
    if not 0 <= wish.max_drop <= 100:
        yield f"--max-drop: expected 0 to 100 points, got {wish.max_drop:g}"
    if wish.trials < 1:
        yield f"--trials: expected 1 or more, got {wish.trials}"
    if wish.timeout_s is not None and not 0 < wish.timeout_s < math.inf:
        yield f"--timeout: expected a number of seconds above 0, got {wish.timeout_s:g}"


def _of_the_recipe(plan: Recipe, target: Target, wish: Wish) -> Iterator[str]:
    if plan.models:
        yield f"models: one network is tuned at a time, and there are {len(plan.models)}; --model {plan.models[0]}"
    found = searched(plan, target)
    if candidates.OPTIMISED in found:
        yield f"{candidates.OPTIMISED.name}: a search of its own makes it, that of `pack --optimise-for`; int8.onnx"
    if plan.variants and all(each.precision == "fp32" for each in found):
        names = ",".join(each.name for each in found)
        smaller = "fp16.onnx" if target.device == "cuda" else "int8.onnx --set quantize.method=static"
        yield (
            f"{names} of a recipe with variants: it is what these are compared with, and no search looks at variants; "
            f"--candidates {names},{smaller}"
        )
    int8 = any(each.precision == "int8" for each in found)
    if int8 and plan.quantize is None:
        yield "no quantization: how to quantize is what is searched for; --set quantize.method=static"
    if int8 and plan.quantize is not None and plan.quantize.method == "dynamic":
        yield "dynamic quantization: it has no calibration to search; --set quantize.method=static"
    if wish.objective == "macs" and plan.prune is None:
        yield "--minimise macs and a network that cannot be pruned: no MACs can go; --minimise latency, or size"


def _of_latency(target: Target, wish: Wish, here: DeviceFacts) -> Iterator[str]:
    if wish.objective != "latency":
        return
    if here.machine != target.machine:
        yield (
            f"--minimise latency and {target.name}: this machine is {here.machine}, and what it measures says nothing "
            f"of {target.machine}; --minimise macs, or size"
        )
    elif target.device == "cuda" and not here.cuda:
        yield f"--minimise latency and {target.name}: there is no CUDA device here; --minimise macs, or size"
