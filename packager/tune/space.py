"""What can be chosen for a trial: shares of channels by stage, importance, artifact, calibration."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import cast, get_args

import optuna
from torch import nn

from packager import heard, tune
from packager.network import Network, Workbench
from packager.onnx_model import OnnxModel
from packager.recipe import Importance, OnnxOperators, Prune, Quantize, Ranges
from packager.tune.plan import Plan
from packager.tune.stages import Stage, stages
from runner.manifest import INTEGERS, Candidate, Target

MOST_GONE, STEP = 0.75, 0.125
"""Of a stage's channels."""
Parameters = dict[str, str | bool]


@dataclass(frozen=True, kw_only=True, slots=True)
class Way:
    """A technique that makes one of the target's artifacts."""

    name: str
    artifact: str
    quantize: Quantize | None
    is_calibrated: bool = False
    """Whether there are ranges to choose."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Space:
    """All that may be tried."""

    stages: tuple[Stage, ...]
    """Empty where nothing can be pruned."""
    importances: tuple[Importance, ...]
    prune: Prune
    """What the recipe says of fine-tuning and of layers that are left alone."""
    ways: tuple[Way, ...]
    per_channel: bool
    """Of the target."""
    equalizes: bool

    def first(self) -> Parameters:
        """Return the parameters of the trial that stands at the beginning: unpruned, quantized as the recipe has it."""
        way = self.ways[0]
        parameters: Parameters = {"artifact": way.name}
        if self.stages:
            parameters["prune"] = False
        if (plan := way.quantize) and way.is_calibrated:
            parameters |= {"ranges": plan.ranges, "equalize": plan.equalize}
            parameters["per channel"] = self.per_channel if plan.per_channel is None else plan.per_channel
        return parameters

    def suggest(self, trial: optuna.Trial) -> Plan:
        """Return what a trial is to do."""
        prunes = bool(self.stages) and trial.suggest_categorical("prune", (True, False))
        prune = self._pruning(trial) if prunes else None
        chosen = trial.suggest_categorical("artifact", tuple(way.name for way in self.ways))
        way = next(way for way in self.ways if way.name == chosen)
        quantize = self._quantization(trial, way.quantize) if way.quantize and way.is_calibrated else way.quantize
        return Plan(prune=prune, quantize=quantize, artifact=way.artifact)

    def _pruning(self, trial: optuna.Trial) -> Prune | None:
        shares = [trial.suggest_float(f"prune {stage[0]}", 0, MOST_GONE, step=STEP) for stage in self.stages]
        importance = cast("Importance", trial.suggest_categorical("importance", self.importances))
        if not any(shares):
            return None
        amounts = {name: share for stage, share in zip(self.stages, shares, strict=True) for name in stage}
        # Every layer that can lose channels is in a stage: the amount is but what tables call it.
        return replace(self.prune, amount=sum(shares) / len(shares), importance=importance, amounts=amounts)

    def _quantization(self, trial: optuna.Trial, base: Quantize) -> Quantize:
        plan = replace(base, per_channel=trial.suggest_categorical("per channel", (True, False)))
        if plan.qat is not None:  # it learns the ranges, and makes the best of those of the weights
            return replace(plan, ranges=Quantize().ranges, percentile=Quantize().percentile)
        ranges = trial.suggest_categorical("ranges", get_args(Ranges))
        percentile = base.percentile if ranges == "percentile" else Quantize().percentile
        plan = replace(plan, ranges=ranges, percentile=percentile)
        if not self.equalizes:
            return plan
        equalize = trial.suggest_categorical("equalize", (True, False))
        return replace(plan, equalize=equalize, correct_bias=equalize or base.correct_bias)


def space(trained: Network, bench: Workbench, target: Target) -> Space:
    """Return what there is to choose for a network and a target. Raises StepError where it cannot be followed."""
    plan, only_a_file = bench.recipe, isinstance(trained.model, OnnxModel)
    prune = replace(plan.prune or Prune(), method="channels", of="channels", across_layers=False)
    found = () if plan.prune is None or only_a_file else stages(trained.module, bench.example, prune)
    return Space(
        stages=found,
        importances=_importances(trained.module) if found else (),
        prune=prune,
        ways=tuple(way for each in tune.searched(plan, target) for way in _ways(each, plan.quantize, target)),
        per_channel=target.per_channel,
        equalizes=not only_a_file,
    )


def _importances(module: nn.Module) -> tuple[Importance, ...]:
    normalised = any(isinstance(layer, nn.BatchNorm2d) and layer.affine for layer in module.modules())
    return ("l1", "l2", "batch-norm", "taylor") if normalised else ("l1", "l2", "taylor")


def _ways(candidate: Candidate, plan: Quantize | None, target: Target) -> Iterator[Way]:
    """Yield what makes an artifact: of techniques that lead to the same kernels, the one that the recipe names."""
    plan = plan and heard.of_use_to(candidate.name, plan)
    if candidate.precision != "int8" or plan is None:
        weights_only = candidate.precision in INTEGERS
        yield Way(name=candidate.name, artifact=candidate.name, quantize=plan if weights_only else None)
    elif candidate.format == "onnx" and plan.onnx == "onnxruntime" and plan.qat is None:
        # The recipe's own first. Signed activations in integer operators can be checked on no x86 machine.
        known: tuple[OnnxOperators, ...] = ("qdq",) if target.activation_type == "int8" else get_args(OnnxOperators)
        for operators in sorted(known, key=lambda name: name != plan.operators):
            yield Way(
                name=f"{candidate.name}, {operators}",
                artifact=candidate.name,
                quantize=replace(plan, operators=operators),
                is_calibrated=True,
            )
    else:
        yield Way(name=candidate.name, artifact=candidate.name, quantize=plan, is_calibrated=True)
