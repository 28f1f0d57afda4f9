"""The network as an ONNX file of fixed shape, by PyTorch's exporter, for the peer that starts from one."""

import torch

from benchmarks.peers.case import Case
from benchmarks.peers.runtimes.torch_network import example, network


def export(case: Case, name: str) -> None:
    """Write the file into the case's folder."""
    with torch.no_grad():
        program = torch.onnx.export(network(case), (example(case),), dynamo=True, verbose=False)
    assert program is not None
    program.save(str(case.folder / name))
