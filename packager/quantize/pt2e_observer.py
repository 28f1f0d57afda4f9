"""What PT2E looks at activations and weights with, and how it rounds them while a network is trained (QAT).

The ranges are those that every technique shares, in the place of torchao's own observers. Those of its X86
settings also take no scale below 2^-12, which is too coarse for the weights of a folded batch norm.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from packager import recipe
from packager.quantize import Order
from packager.quantize.ranges import RangeEstimator
from packager.quantize.torchao_pt2e import (
    FakeQuantize,
    MinMaxObserver,
    MovingAverageMinMaxObserver,
    MovingAveragePerChannelMinMaxObserver,
    PerChannelMinMaxObserver,
    QuantizationConfig,
    QuantizationSpec,
    UniformQuantizationObserverBase,
)
from runner.manifest import IntegerType

DTYPES: dict[IntegerType, torch.dtype] = {"int8": torch.int8, "uint8": torch.uint8}
LATEST = 1.0
"""A moving average that is the latest value: a weight's range is always its own."""


class RangeObserver(UniformQuantizationObserverBase):  # type: ignore[misc]  # torchao ships no types
    """Passes activations on, and lets a RangeEstimator see them."""

    def __init__(
        self,
        plan: recipe.Quantize,
        dtype: torch.dtype,
        qscheme: torch.qscheme,
        quant_min: int,
        quant_max: int,
        *,
        is_dynamic: bool = False,
    ) -> None:
        super().__init__(dtype, qscheme, quant_min=quant_min, quant_max=quant_max, is_dynamic=is_dynamic)
        self.estimator = RangeEstimator(plan.ranges, percentile=plan.percentile, levels=quant_max - quant_min + 1)

    def forward(self, values: Tensor) -> Tensor:
        """Return the activations as they are."""
        self.estimator.see(values.detach())
        return values

    def calculate_qparams(self) -> tuple[Tensor, Tensor]:
        """Return scale and zero point."""
        low, high = self.estimator.range()
        scale, zero_point = self._calculate_qparams(torch.tensor(low), torch.tensor(high))
        return scale, zero_point


class MovingAverage(MovingAverageMinMaxObserver):  # type: ignore[misc]  # as above
    """Follows the range of activations over the batches of a training."""

    def _load_from_state_dict(
        self, state_dict: dict[str, Tensor], prefix: str, _: Mapping[str, object], *problems: object
    ) -> None:
        """Load a state as it is: files of tensors do not say its version, and torch would take it for an old one."""
        super()._load_from_state_dict(state_dict, prefix, {"version": self._version}, *problems)


class RoundedActivations(FakeQuantize):  # type: ignore[misc]  # as above
    """Rounds activations, and follows their range while the network trains.

    torch's own follows it in eval mode too, where the samples are those of the validation, and takes only float32.
    """

    def __init__(
        self,
        dtype: torch.dtype,
        qscheme: torch.qscheme,
        quant_min: int,
        quant_max: int,
        *,
        is_dynamic: bool = False,
    ) -> None:
        super().__init__(MovingAverage, quant_min, quant_max, is_dynamic=is_dynamic, dtype=dtype, qscheme=qscheme)

    def forward(self, values: Tensor) -> Tensor:
        """Return the rounded activations, in float32."""
        values = values.float()
        if self.training:
            self.activation_post_process(values.detach())
            scale, zero_point = self.calculate_qparams()
            self.scale.copy_(scale)
            self.zero_point.copy_(zero_point)
        return torch.fake_quantize_per_tensor_affine(
            values, self.scale, self.zero_point, self.quant_min, self.quant_max
        )


def config(order: Order, *, qat: bool) -> QuantizationConfig:
    """Return how the order's target has its activations and weights, for torchao's quantizers."""
    activation = _activations(order, RoundedActivations if qat else RangeObserver.with_args(plan=order.plan))
    return QuantizationConfig(activation, activation, _weights(order, qat=qat), None, qat)


def calibrate(observed: nn.Module, order: Order) -> None:
    """Show the calibration samples to every observer in the network, as often as their method needs."""
    observers = [module for module in observed.modules() if isinstance(module, RangeObserver)]
    for _ in range(max((observer.estimator.passes for observer in observers), default=0)):
        for batch in order.calibration.batches("calibrate pt2e"):
            observed(torch.from_numpy(batch))
        for observer in observers:
            observer.estimator.end_pass()


def start(prepared: nn.Module, images: Tensor) -> None:
    """Give all that rounds its first range, from one batch, and leave everything in eval mode."""
    prepared.eval()
    for module in prepared.modules():
        if isinstance(module, RoundedActivations):
            module.training = True
    prepared(images)
    prepared.eval()


def _activations(order: Order, observer: Callable[..., nn.Module]) -> QuantizationSpec:
    dtype = DTYPES[order.target.activation_type]
    return QuantizationSpec(
        dtype=dtype,
        quant_min=torch.iinfo(dtype).min,
        quant_max=torch.iinfo(dtype).max,
        qscheme=torch.per_tensor_symmetric if order.plan.symmetric else torch.per_tensor_affine,
        observer_or_fake_quant_ctr=observer,
    )


def _weights(order: Order, *, qat: bool) -> QuantizationSpec:
    if qat:
        moving = MovingAveragePerChannelMinMaxObserver if order.per_channel else MovingAverageMinMaxObserver
        observer = FakeQuantize.with_args(observer=moving, averaging_constant=LATEST)
    else:
        observer = PerChannelMinMaxObserver if order.per_channel else MinMaxObserver
    largest = 63 if order.target.reduce_range else 127
    # XNNPACK's kernels for ARM without the dot product add two products of 8 bits in 16, which -128 would overflow.
    least = -largest if order.kernels == "xnnpack" else -largest - 1
    return QuantizationSpec(
        dtype=torch.int8,
        quant_min=least,
        quant_max=largest,
        qscheme=torch.per_channel_symmetric if order.per_channel else torch.per_tensor_symmetric,
        ch_axis=0 if order.per_channel else None,
        observer_or_fake_quant_ctr=observer,
    )
