"""PyTorch's quantization engine: a setting of the whole process, which packs weights and runs what was packed."""

import torch

from runner.errors import StepError
from runner.manifest import Target


def use_engine(target: Target) -> None:
    """Set the target's engine, for what follows. Raises StepError where this torch has it not."""
    supported = [engine for engine in torch.backends.quantized.supported_engines if engine != "none"]
    if target.engine not in supported:
        what = f"this build of torch has no quantization engine {target.engine!r}, but {', '.join(supported) or 'none'}"
        raise StepError(what, where=target.name, advice="pack on an x86-64 host")
    torch.backends.quantized.engine = target.engine
