"""What PyTorch's own quantization looks at activations with: the ranges that every technique shares."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.ao.quantization.observer import UniformQuantizationObserverBase

from packager import recipe
from packager.quantize import Order
from packager.quantize.ranges import RangeEstimator

MOST_GROUPS = {"x86": 100, "fbgemm": 1}
"""Beyond so many groups of channels a convolution goes to FBGEMM's depthwise kernels, which add up two products in 16
bits even where a CPU has VNNI (torch 2.14, `should_use_onednn_quant`): 8 bits gave 16.3 for 29.1 there."""


class RangeObserver(UniformQuantizationObserverBase):  # type: ignore[misc]  # torch.ao ships no types
    """Passes activations on, and lets a RangeEstimator see them."""

    def __init__(self, plan: recipe.Quantize, quant_max: int, ceiling: float = torch.inf) -> None:
        scheme = torch.per_tensor_symmetric if plan.symmetric else torch.per_tensor_affine
        super().__init__(dtype=torch.quint8, qscheme=scheme, quant_min=0, quant_max=quant_max)
        self.ceiling = ceiling
        self.estimator = RangeEstimator(plan.ranges, percentile=plan.percentile, levels=quant_max + 1)

    def forward(self, values: Tensor) -> Tensor:
        """Return the activations as they are."""
        self.estimator.see(values.detach().clamp(max=self.ceiling))
        return values

    def calculate_qparams(self) -> tuple[Tensor, Tensor]:
        """Return scale and zero point."""
        low, high = self.estimator.range()
        scale, zero_point = self._calculate_qparams(torch.tensor(low), torch.tensor(high))
        return scale, zero_point


def activations(order: Order, quant_max: int, ceiling: float = torch.inf) -> Callable[[], RangeObserver]:
    """Return what observes activations for integers up to `quant_max`; those above `ceiling` count as `ceiling`."""
    made: Callable[[], RangeObserver] = RangeObserver.with_args(plan=order.plan, quant_max=quant_max, ceiling=ceiling)
    return made


def largest(order: Order, module: nn.Module) -> int:
    """Return the integer that the largest activation of a network becomes; the smallest becomes 0.

    Seven bits, where kernels of the target add up two products in 16 bits.
    """
    groups = max((layer.groups for layer in module.modules() if isinstance(layer, nn.Conv1d | nn.Conv2d)), default=1)
    saturates = groups > MOST_GROUPS.get(str(order.target.engine), groups)
    return 127 if order.target.reduce_range or saturates else 255


def calibrate(observed: nn.Module, order: Order) -> None:
    """Show the calibration samples to every observer in the network, as often as their method needs."""
    observers = [module for module in observed.modules() if isinstance(module, RangeObserver)]
    for _ in range(max((observer.estimator.passes for observer in observers), default=0)):
        for batch in order.calibration.batches(f"calibrate {order.target.engine}"):
            observed(torch.from_numpy(batch))
        for observer in observers:
            observer.estimator.end_pass()


def sample(order: Order) -> Tensor:
    """Return one calibration sample as the network sees it."""
    calibration = order.calibration
    return torch.from_numpy(calibration.preprocess.apply(calibration.samples.take(slice(0, 1))))
