"""A network becomes a file that a runtime can execute: one format, one file."""

import copy

import torch
from torch import Tensor, nn


class HalfPrecision(nn.Module):
    """Compute in float16 behind a float32 face, so that every artifact takes and returns the same types."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = copy.deepcopy(module).half()
        self.eval()

    def forward(self, inputs: Tensor) -> Tensor:
        """Return float32 logits."""
        answers: Tensor = self.module(inputs.to(torch.float16))
        return answers.to(torch.float32)
