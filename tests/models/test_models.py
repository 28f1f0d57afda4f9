import subprocess
import sys

import pytest
import torch
from torch import nn

import models
from models import torchvision_zoo


@pytest.mark.parametrize("name", list(models.names()))
@pytest.mark.parametrize(("channels", "height", "width"), [(1, 28, 28), (3, 64, 48)])
def test_every_model_takes_the_images_and_classes_of_the_data(
    name: str, channels: int, height: int, width: int
) -> None:
    model = models.build(name, channels, 7, height, width).eval()

    with torch.no_grad():
        assert model(torch.zeros(2, channels, height, width)).shape == (2, 7)


@pytest.mark.parametrize(
    ("name", "channels", "side", "parameters"),
    [
        ("small_cnn", 1, 28, 16 * 9 + 16 + 32 * 16 * 9 + 32 + 10 * 32 * 7 * 7 + 10),
        ("wide_cnn", 3, 32, 896 + 64 + 18_496 + 128 + 64 * 8 * 8 * 512 + 512 + 5_130),
        ("resnet8", 3, 32, 78_186),
        ("resnet18", 3, 224, 11_181_642),
    ],
)
def test_models_have_the_parameters_that_their_papers_count(
    name: str, channels: int, side: int, parameters: int
) -> None:
    model = models.build(name, channels, 10, side, side)

    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


@pytest.mark.parametrize(("name", "number"), [("small_cnn", 2), ("wide_cnn", 3), ("resnet8", 7)])
def test_every_relu_of_our_own_models_is_called_once(name: str, number: int) -> None:
    model = models.build(name, 3, 10, 32, 32).eval()
    calls: list[nn.Module] = []
    for module in model.modules():
        if isinstance(module, nn.ReLU):
            module.register_forward_hook(lambda called, _, __: calls.append(called))
    model(torch.zeros(1, 3, 32, 32))

    assert len(calls) == len(set(calls)) == number


@pytest.mark.parametrize(("side", "features"), [(32, 4), (64, 8), (65, 3), (224, 7)])
def test_a_resnet_has_the_stem_that_suits_the_images(side: int, features: int) -> None:
    model = models.build("resnet18", 1, 10, side, side).eval()
    shapes = []
    assert isinstance(model.layer4, nn.Module)
    model.layer4.register_forward_hook(lambda _, __, output: shapes.append(output.shape))
    with torch.no_grad():
        model(torch.zeros(1, 1, side, side))

    assert shapes == [(1, 512, features, features)]


@pytest.mark.parametrize("name", ["squeezenet1_1", "googlenet", "vit_b_16", "densenet121"])
def test_any_classifier_of_torchvision_can_be_named(name: str) -> None:
    model = models.build(f"torchvision:{name}", 4, 5, 64, 64).eval()

    with torch.no_grad():
        answers = model(torch.rand(1, 4, 64, 64))

    assert answers.shape == (1, 5)
    assert answers.any()


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown model 'resnet9'"):
        models.build("resnet9", 3, 10, 32, 32)
    with pytest.raises(ValueError, match="unknown model 'fcn_resnet50'"):
        models.build("torchvision:fcn_resnet50", 3, 10, 32, 32)
    assert "fcn_resnet50" not in torchvision_zoo.classifiers()


def test_the_names_can_be_listed_without_torch() -> None:
    code = "import sys, models; assert len(models.names()) == 9; assert 'torch' not in sys.modules"

    subprocess.run([sys.executable, "-c", code], check=True)
