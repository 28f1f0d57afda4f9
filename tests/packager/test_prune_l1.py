"""Which weights go: so many of each layer, the smallest, and nothing else; and they are zero in the file too."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from packager import recipe
from packager.data import Splits
from packager.export import onnx as onnx_export
from packager.prune import Evidence, Stage, l1
from packager.prune.techniques import technique
from packager.train import Job, train
from runner.errors import StepError
from runner.progress import Silent

PLAN = recipe.Prune(amount=0.3)


class Net(nn.Module):
    """Layers of each kind, with weights of known number."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 5, 3)
        self.norm = nn.BatchNorm2d(5)
        self.depthwise = nn.Conv2d(5, 5, 3, groups=5)
        self.linear = nn.Linear(5, 7)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, N x 7."""
        x = self.depthwise(torch.relu(self.norm(self.conv(x))))
        logits: Tensor = self.linear(x.mean((2, 3)))
        return logits


def net() -> Net:
    """Return the same network each time."""
    torch.manual_seed(0)
    return Net().eval()


@pytest.mark.parametrize("amount", [0.001, 0.3, 0.5, 0.875, 0.999])
def test_each_layer_loses_its_exact_share(amount: float) -> None:
    masks = l1.masks(net(), replace(PLAN, amount=amount))

    zeros = {name: int((mask == 0).sum()) for name, mask in masks.items()}
    assert zeros == {
        "conv.weight": round(45 * amount),
        "depthwise.weight": round(45 * amount),
        "linear.weight": round(35 * amount),
    }
    assert all(set(mask.flatten().tolist()) <= {0.0, 1.0} for mask in masks.values())


def test_biases_and_batch_norms_are_left_alone() -> None:
    module = net()
    masks = l1.masks(module, PLAN)

    assert set(masks) == {"conv.weight", "depthwise.weight", "linear.weight"}
    assert {name: mask.shape for name, mask in masks.items()} == {
        name: module.get_parameter(name).shape for name in masks
    }


def test_the_smallest_weights_go() -> None:
    module = net()
    for name, mask in l1.masks(module, PLAN).items():
        sizes = module.get_parameter(name).detach().abs()
        assert sizes[mask == 0].max() < sizes[mask == 1].min()


def test_the_network_itself_stays_as_it_is() -> None:
    module = net()
    l1.masks(module, PLAN)

    assert all(torch.equal(value, net().state_dict()[name]) for name, value in module.state_dict().items())
    assert module.state_dict().keys() == net().state_dict().keys()


def test_a_weight_that_two_layers_share_has_one_mask() -> None:
    module = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    module[1].weight = module[0].weight

    assert list(l1.masks(module, PLAN)) == ["0.weight"]


def test_a_weight_that_is_computed_from_others_is_left_alone() -> None:
    module = nn.Sequential(parametrizations.weight_norm(nn.Conv2d(1, 4, 3)), nn.Linear(4, 4))

    assert list(l1.masks(module, PLAN)) == ["1.weight"]


def test_a_network_without_convolutions_and_linear_layers_is_refused_in_words() -> None:
    with pytest.raises(StepError) as caught:
        l1.masks(nn.Sequential(nn.BatchNorm2d(3), nn.ReLU()), PLAN)

    assert str(caught.value) == "the network has no convolution and no linear layer to prune\n  try: --prune 0"


def test_the_zeros_are_in_the_exported_file(few_splits: Splits, trained: nn.Module) -> None:
    """Through fine-tuning and the folding of batch norms."""
    example = torch.zeros(1, 1, 28, 28)
    evidence = Evidence(example=example, batches=lambda: iter(()), seed=0)
    pruned = technique("l1")(trained, recipe.Prune(amount=0.5), Stage(before=0.0, amount=0.5), evidence)
    tuning = recipe.Train(epochs=1, batch_size=40, compute="cpu")
    job = Job(plan=tuning, splits=few_splits, seed=0, stage="prune", masks=pruned.masks)
    tuned = train(pruned.module, job, Silent()).module

    content = onnx_export.export(tuned, example, 20).content

    arrays = [numpy_helper.to_array(value) for value in onnx.load_from_string(content).graph.initializer]
    zeros = {array.size: int(np.count_nonzero(array == 0)) for array in arrays if array.ndim > 1}
    assert zeros == {mask.numel(): mask.numel() // 2 for mask in pruned.masks.values()}
    assert zeros == {288: 144, 18432: 9216, 1605632: 802816, 2048: 1024}
