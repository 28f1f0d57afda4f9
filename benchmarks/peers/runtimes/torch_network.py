"""The network in PyTorch, its weights and samples: where every peer that starts from a module starts."""

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import models
from benchmarks.peers.case import CALIBRATION, WEIGHTS, Case
from benchmarks.peers.runtimes import Inputs, Loaded


def network(case: Case) -> nn.Module:
    """Return the module with the case's weights, in eval mode, on as many threads as the case has."""
    torch.set_num_threads(case.threads)
    module = models.build(case.model, case.shape[0], case.classes, case.shape[1], case.shape[2])
    # Into the network's own mapping: it holds the version that some modules (torchvision's MNASNet) ask for.
    state = module.state_dict()
    state.update(load_file(case.subject / WEIGHTS))
    module.load_state_dict(state)
    return module.eval().requires_grad_(False)


def example(case: Case) -> Tensor:
    """Return one batch of calibration samples."""
    return torch.from_numpy(case.batches(CALIBRATION)[0])


def calibration(case: Case) -> list[Tensor]:
    """Return the calibration samples in batches of the case's size."""
    return [torch.from_numpy(batch) for batch in case.batches(CALIBRATION)]


def loaded(run: object, version: str = torch.__version__) -> Loaded:
    """Return a network that takes and gives tensors, after two calls, which compile what compiles at its first."""
    assert callable(run)
    return Loaded(version=version, run=run, take=torch.from_numpy, give=_array)


def own_relus(module: nn.Module) -> nn.Module:
    """Give each use of a shared activation a module of its own: torchao's quantizer for x86 asks for that.

    X86InductorQuantizer takes the nodes of one module for one partition ("has more than one output node").
    """
    traced = torch.fx.symbolic_trace(module)
    for number, node in enumerate(traced.graph.nodes):
        if node.op == "call_module" and isinstance(found := traced.get_submodule(str(node.target)), ACTIVATIONS):
            name = f"activation_{number}"
            traced.add_submodule(name, type(found)(inplace=False))
            node.target = name
    traced.recompile()
    return traced


ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.Hardswish, nn.Hardsigmoid, nn.SiLU)


def _array(value: Tensor) -> Inputs:
    return value.detach().numpy()
