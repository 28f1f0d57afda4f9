"""ExecuTorch with the XNNPACK delegate, by its Python runtime."""

import warnings
from importlib import metadata

import torch

from benchmarks.peers.case import Case
from benchmarks.peers.runtimes import Loaded
from benchmarks.peers.runtimes.torch_network import example, loaded, network

FILE = "network.pte"


def build(case: Case) -> None:
    """Export the network."""
    with torch.no_grad():
        write(torch.export.export(network(case), (example(case),)), case)


def write(program: torch.export.ExportedProgram, case: Case) -> None:
    """Lower an exported program to XNNPACK, and write it."""
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import (  # noqa: PLC0415 - for building alone
        XnnpackPartitioner,
    )
    from executorch.exir import to_edge_transform_and_lower  # noqa: PLC0415 - as above

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()]).to_executorch()
    (case.folder / FILE).write_bytes(lowered.buffer)


def load(case: Case) -> Loaded:
    """Return the program's method."""
    from executorch.extension.pybindings import portable_lib  # noqa: PLC0415 - not for building
    from executorch.runtime import Runtime  # noqa: PLC0415 - as above

    torch.set_num_threads(case.threads)
    # Its threads are of a pool of its own, which no other setting reaches.
    portable_lib._unsafe_reset_threadpool(case.threads)  # noqa: SLF001 - there is no other
    program = Runtime.get().load_program(case.folder / FILE)
    method = program.load_method("forward")
    assert method is not None

    def run(batch: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = method.execute([batch])[0]
        return logits

    return loaded(run, metadata.version("executorch"))
