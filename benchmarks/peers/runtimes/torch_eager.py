"""PyTorch as it is."""

import torch

from benchmarks.peers.case import Case
from benchmarks.peers.runtimes import Loaded
from benchmarks.peers.runtimes.torch_network import loaded, network


def build(_: Case) -> None:
    """Build nothing."""


def load(case: Case) -> Loaded:
    """Return the module."""
    return loaded(torch.inference_mode()(network(case)))
