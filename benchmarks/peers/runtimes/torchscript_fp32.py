"""TorchScript: traced, frozen and optimised for inference."""

import warnings

import torch

from benchmarks.peers.case import Case
from benchmarks.peers.runtimes import Loaded
from benchmarks.peers.runtimes.torch_network import example, loaded, network

FILE = "network.pt"


def build(case: Case) -> None:
    """Trace the network."""
    save(network(case), case)


def load(case: Case) -> Loaded:
    """Return the file, frozen and optimised."""
    torch.set_num_threads(case.threads)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = torch.jit.optimize_for_inference(load_file(case))
    return loaded(torch.inference_mode()(module))


def load_file(case: Case) -> torch.jit.ScriptModule:
    """Return the file as it is."""
    return torch.jit.load(case.folder / FILE)  # type: ignore[no-untyped-call,no-any-return]  # torch ships it so


def save(module: torch.nn.Module, case: Case) -> None:
    """Write a module as a frozen file."""
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(module, example(case), check_trace=False)  # type: ignore[no-untyped-call]  # torch's
        torch.jit.save(torch.jit.freeze(traced), case.folder / FILE)
