"""The rounding of int8 in a network that is trained (QAT), as the converted network will round."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.ao.quantization.fake_quantize import FakeQuantize, FixedQParamsFakeQuantize
from torch.ao.quantization.observer import (
    MovingAverageMinMaxObserver,
    MovingAveragePerChannelMinMaxObserver,
    ObserverBase,
)

from packager.quantize import Order

Rounding = Callable[[], nn.Module]
"""Makes what is put behind a layer, or on its weights."""
LATEST = 1.0
"""A moving average that is the latest value: a weight's range is always its own."""


class MovingAverage(MovingAverageMinMaxObserver):  # type: ignore[misc]  # torch.ao ships no types
    """Follows the range of activations over the batches of a training."""

    def _load_from_state_dict(
        self, state_dict: dict[str, Tensor], prefix: str, _: Mapping[str, object], *problems: object
    ) -> None:
        """Load a state as it is: files of tensors do not say its version, and torch would take it for an old one."""
        super()._load_from_state_dict(state_dict, prefix, {"version": self._version}, *problems)


class RoundedActivations(FakeQuantize):  # type: ignore[misc]  # as above
    """Rounds activations, and follows their range while the network trains.

    torch's own follows it in eval mode too, where the samples are those of the validation, and cuts what is beyond
    a reduced range, which int8 does not. It computes in float32 also where the network does not.
    """

    def __init__(self, quant_max: int, qscheme: torch.qscheme) -> None:
        super().__init__(MovingAverage, quant_min=0, quant_max=quant_max, dtype=torch.quint8, qscheme=qscheme)

    def forward(self, values: Tensor) -> Tensor:
        """Return the rounded activations, in float32."""
        values = values.float()
        if self.training:
            self.activation_post_process(values.detach())
            scale, zero_point = self.calculate_qparams()
            self.scale.copy_(scale)
            self.zero_point.copy_(zero_point)
        return torch.fake_quantize_per_tensor_affine(values, self.scale, self.zero_point, 0, 255)


class RoundedProbabilities(FixedQParamsFakeQuantize):  # type: ignore[misc]  # as above
    """Rounds what lies in 0 to 1 or in -1 to 1 by its nature."""

    def forward(self, values: Tensor) -> Tensor:
        """Return the rounded values, in float32."""
        rounded: Tensor = super().forward(values.float())
        return rounded


def activations(order: Order, quant_max: int) -> Rounding:
    """Return what rounds activations to integers up to `quant_max`."""
    scheme = torch.per_tensor_symmetric if order.plan.symmetric else torch.per_tensor_affine
    made: Rounding = RoundedActivations.with_args(quant_max=quant_max, qscheme=scheme)
    return made


def fixed(observer: type[ObserverBase]) -> Rounding:
    """Return what rounds values whose range is known."""
    made: Rounding = RoundedProbabilities.with_args(observer=observer)
    return made


def weights(order: Order) -> Rounding:
    """Return what rounds weights, per channel or per tensor as the order says."""
    observer = MovingAveragePerChannelMinMaxObserver if order.per_channel else MovingAverageMinMaxObserver
    made: Rounding = FakeQuantize.with_args(
        observer=observer,
        quant_min=-128,
        quant_max=127,
        dtype=torch.qint8,
        qscheme=torch.per_channel_symmetric if order.per_channel else torch.per_tensor_symmetric,
        averaging_constant=LATEST,
    )
    return made


def start(prepared: nn.Module, images: Tensor) -> None:
    """Give all that rounds its first range, from one batch, and leave everything else in eval mode."""
    prepared.eval()
    for module in prepared.modules():
        if isinstance(module, RoundedActivations):
            module.train()
    prepared(images)
    prepared.eval()
