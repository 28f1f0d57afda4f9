"""What artifacts are made from: a network, how it is quantized, and the bench that it lies on."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from packager import qat, recipe
from packager.export import Exported
from packager.network import Network, Workbench
from packager.quantize import Order
from packager.quantize.calibration import Calibration
from runner.manifest import Candidate, Target

Integers = Literal["torch", "pt2e", "onnxruntime", "xnnpack"]
"""Whose rule turns weights into integers: they divide a range by other numbers of steps. NNCF's is ONNX Runtime's."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class BuildContext:
    """What artifacts are made from."""

    name: str = ""
    """Of the variant; stands before the names of its artifacts."""
    title: str = ""
    network: Network
    teacher: Network
    """The trained network before anything was taken from it, from which quantization-aware training may learn."""
    quantize: recipe.Quantize | None
    bench: Workbench

    def artifact(self, candidate: Candidate) -> str:
        """Return the name of the artifact that is made of a candidate here."""
        return f"{self.name}-{candidate.name}" if self.name else candidate.name

    def assignment(self, candidate: Candidate) -> recipe.Assignment | None:
        """Return what the recipe says that a search has left of an artifact in fp32; None where it says nothing."""
        plan = self.bench.recipe.optimise
        return plan.found.get(self.artifact(candidate)) if plan else None

    def qat(self, technique: str) -> qat.QatContext:
        """Return what quantization-aware training by a technique of this name starts from."""
        return qat.QatContext(technique=technique, network=self.network, teacher=self.teacher.module, bench=self.bench)

    def order(self, target: Target) -> Order:
        """Return what a technique of quantization is asked for."""
        splits = self.bench.splits
        calibration = Calibration(
            samples=splits.calibration, preprocess=splits.preprocess, progress=self.bench.progress
        )
        return Order(target=target, plan=self.quantize or recipe.Quantize(), calibration=calibration)

    def adjusted(self, order: Order, integers: Integers | None) -> nn.Module:
        """Return the network in fp32 as quantization with these integers shall find it. Raises StepError.

        Biases are corrected for static int8 only; `integers` is None for all else, in which layers round otherwise
        or not at all.
        """
        module, plan = self.network.module, order.plan
        if plan.equalize:
            from packager.quantize import equalization  # noqa: PLC0415 - torch.fx takes its time

            module = equalization.equalized(module, torch.from_numpy(next(order.calibration.batches("equalize"))))
        # What is trained with the rounding in it learns the shift by itself.
        if plan.correct_bias and plan.qat is None and integers is not None:
            from packager.quantize import bias_correction  # noqa: PLC0415 - as above

            module = bias_correction.corrected(
                module,
                order.calibration.batches("correct biases"),
                per_channel=order.per_channel,
                steps=_steps(integers, reduced=order.target.reduce_range),
                stays_fp32=order.stays_fp32,
            )
        return module


Builder = Callable[[BuildContext, Target], Exported]
"""Makes the file of one kind of candidate. Raises StepError."""


def _steps(integers: Integers, *, reduced: bool) -> float:
    from packager.quantize import bias_correction  # noqa: PLC0415 - torch.fx takes its time

    if integers in ("onnxruntime", "xnnpack"):
        return bias_correction.REDUCED_ONNX_RUNTIME if reduced else bias_correction.ONNX_RUNTIME
    return bias_correction.REDUCED_PT2E if reduced and integers == "pt2e" else bias_correction.TORCH
