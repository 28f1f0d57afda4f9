"""Static int8 in eager mode: modules are observed on calibration samples, and exchanged for integer ones.

What users of eager mode write by hand is done here: stubs where int8 begins and ends, layers fused with what follows
them, and modules in the place of `+` and `torch.cat`. Layers that have no integer kernel stay in fp32 between stubs.

PyTorch has deprecated it too, for torchao's PT2E.
"""

import copy

import torch
from torch import Tensor, nn
from torch.ao.quantization import QConfig, convert, default_weight_observer, prepare
from torch.ao.quantization.observer import default_per_channel_weight_observer
from torch.fx import GraphModule, symbolic_trace
from torch.fx.passes.shape_prop import ShapeProp

from packager.quantize import Order, observer
from packager.quantize.eager_graph import layer, modular
from packager.quantize.eager_stubs import quantized
from packager.quantize.engine import use_engine
from packager.quantize.fx import attempt, mean_keeps_rank
from packager.quantize.keep_fp32 import kept
from packager.quiet import quiet
from runner.errors import StepError, first_line

TOLERANCE = 1e-3
"""Of the largest answer: what folding batch norms into layers may change."""
INSTEAD = '`torch = "fx"` in the recipe\'s [quantize]'


def quantize(module: nn.Module, order: Order) -> nn.Module:
    """Return an int8 copy of the network for the target's engine. Raises StepError where eager mode cannot do it."""
    use_engine(order.target)
    kept(module, order)
    example = observer.sample(order)
    with quiet(), torch.no_grad():
        network = attempt(module, _traced)
        assert isinstance(network, GraphModule)
        expected = network(example)
        ShapeProp(network).propagate(example)
        modular(network)
        _choose(network, order)
        _must_agree(network(example), expected)
        prepare(network, inplace=True)
        observer.calibrate(network, order)
        convert(network, inplace=True)
        mean_keeps_rank(network)
        _must_run(network, example)
    return network


def _traced(module: nn.Module) -> GraphModule:
    return symbolic_trace(copy.deepcopy(module).eval())


def _choose(network: GraphModule, order: Order) -> None:
    """Mark what is to become int8, each with what observes it. Raises StepError where nothing is."""
    weight = default_per_channel_weight_observer if order.per_channel else default_weight_observer
    ceilings, quant_max = _ceilings(network), observer.largest(order, network)
    chosen = quantized(network, order.stays_fp32)
    if not chosen:
        raise StepError("the network has no layer that eager mode quantizes", advice=INSTEAD)
    for module in chosen:
        activation = observer.activations(order, quant_max, ceilings.get(module, torch.inf))
        module.qconfig = QConfig(activation=activation, weight=weight)  # where torch looks for it


def _ceilings(network: GraphModule) -> dict[nn.Module, float]:
    """Return the layers behind which a ReLU6 stands alone: of their results, what is above 6 need not be told apart."""
    return {
        module: 6.0
        for node in network.graph.nodes
        if (module := layer(network, node)) is not None
        and node.users
        and all(isinstance(layer(network, user), nn.ReLU6) for user in node.users)
    }


def _must_agree(answers: Tensor, expected: Tensor) -> None:
    difference, largest = (answers - expected).abs().max().item(), expected.abs().max().item()
    if not difference <= TOLERANCE * largest:
        what = f"in the form for eager mode the network errs by {difference:.3g} where the largest is {largest:.3g}"
        raise StepError(what, advice=INSTEAD)


def _must_run(network: GraphModule, example: Tensor) -> None:
    try:
        network(example)
    except Exception as error:
        what = f"the network cannot be quantized in eager mode: {first_line(error)}"
        raise StepError(what, advice=INSTEAD) from error
