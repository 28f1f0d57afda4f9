"""Static int8 by FX graph mode: the network is traced, observed on calibration samples, and converted.

PyTorch has deprecated this road for torchao's PT2E. It is kept because only its networks become TorchScript files,
which run bit for bit alike on x86 and ARM with the engine qnnpack.
"""

import copy
import warnings

import torch
from torch import nn
from torch.ao.quantization import QConfig, QConfigMapping, default_weight_observer, get_default_qconfig_mapping
from torch.ao.quantization.observer import default_per_channel_weight_observer
from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx

from packager.failing_layer import ADVICE, failing_layer
from packager.quantize.calibration import Calibration
from runner.errors import StepError
from runner.manifest import Target


def quantize(module: nn.Module, target: Target, calibration: Calibration) -> nn.Module:
    """Return an int8 copy of the network for the target's engine. Raises StepError naming the failing layer."""
    engine = str(target.engine)
    if engine not in torch.backends.quantized.supported_engines:
        raise StepError(f"this build of torch has no quantization engine {engine!r}", advice="pack on an x86-64 host")
    torch.backends.quantized.engine = engine
    batches = calibration.batches(f"calibrate {engine}")
    example = torch.from_numpy(next(batches))
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # deprecation: known, and nothing that the user asked for
        observed = _observed(module, _mapping(target), example)
        observed(example)
        for batch in batches:
            observed(torch.from_numpy(batch))
        converted: nn.Module = convert_fx(observed)
    return converted


def _observed(module: nn.Module, mapping: QConfigMapping, example: torch.Tensor) -> nn.Module:
    def prepare(network: nn.Module) -> nn.Module:
        return prepare_fx(copy.deepcopy(network), mapping, example)  # type: ignore[no-any-return]  # untyped upstream

    try:
        return prepare(module)
    except Exception as error:
        layer = failing_layer(module, prepare)
        message = str(error).strip().splitlines()
        what = f"the network cannot be quantized, in {layer}: {type(error).__name__}: {message[0] if message else ''}"
        raise StepError(what, advice=ADVICE) from error


def _mapping(target: Target) -> QConfigMapping:
    """Return the engine's own settings, with the granularity of weights that the target asks for."""
    mapping = get_default_qconfig_mapping(str(target.engine))
    default = mapping.global_qconfig
    weight = default_per_channel_weight_observer if target.per_channel else default_weight_observer
    return mapping.set_global(QConfig(activation=default.activation, weight=weight))
