"""A network becomes a file that a runtime can execute: one format, one file."""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from runner.packing import Epoch


@dataclass(frozen=True, kw_only=True, slots=True)
class Exported:
    """A file's bytes, and what is to be known of them."""

    content: bytes
    dynamic_batch: bool = True
    """False where the network's code fixes the batch to one."""
    epochs: tuple[Epoch, ...] = ()
    """Of the training that it took, if there was one."""


class HalfPrecision(nn.Module):
    """Compute in float16 or bfloat16 behind a float32 face: every artifact takes and returns the same types."""

    def __init__(self, module: nn.Module, dtype: torch.dtype = torch.float16) -> None:
        super().__init__()
        self.dtype = dtype
        self.module = copy.deepcopy(module).to(dtype)
        self.eval()

    def forward(self, inputs: Tensor) -> Tensor:
        """Return float32 logits."""
        answers: Tensor = self.module(inputs.to(self.dtype))
        return answers.to(torch.float32)
