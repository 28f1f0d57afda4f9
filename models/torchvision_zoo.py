"""Any classifier of torchvision, with random weights, for any number of channels and classes.

For images of 64 pixels or fewer a resnet gets the stem of the networks for CIFAR (He et al. 2015, section 4.2): a 3x3
convolution of stride 1 and no max-pooling. With its own stem it would see 32 x 32 pixels as 8 x 8.
"""

import torchvision
from torch import nn

CIFAR_SIDE = 64
# Their second output is for training with a loss of its own.
AUXILIARY = {"googlenet", "inception_v3"}

Size = tuple[int, int]
"""Height and width."""


def classifiers() -> list[str]:
    """Return the names that `build` knows."""
    return list(torchvision.models.list_models(module=torchvision.models))


def build(name: str, channels: int, classes: int, size: Size) -> nn.Module:
    """Build torchvision's model of this name. Raises ValueError for unknown names."""
    if name not in classifiers():
        raise ValueError(f"unknown model {name!r}")
    options: dict[str, object] = {"num_classes": classes}
    if name in AUXILIARY:
        options |= {"aux_logits": False, "init_weights": True}
    if name.startswith("vit_"):
        options["image_size"] = size[0]
    if name.startswith("maxvit"):
        options["input_size"] = size
    model: nn.Module = torchvision.models.get_model(name, weights=None, **options)
    if name.startswith("vit_"):
        # It begins with a head of zeros: answers that are all zero would hide what int8 does to them.
        head = model.get_submodule("heads.head")
        assert isinstance(head, nn.Linear)
        head.reset_parameters()
    if name.startswith("resnet") and max(size) <= CIFAR_SIDE:
        model.conv1 = nn.Conv2d(channels, 64, 3, padding=1, bias=False)
        model.maxpool = nn.Identity()
    elif channels != 3:
        _replace_first_convolution(model, channels)
    return model


def _replace_first_convolution(model: nn.Module, channels: int) -> None:
    name, old = next((name, module) for name, module in model.named_modules() if isinstance(module, nn.Conv2d))
    new = nn.Conv2d(
        channels,
        old.out_channels,
        (old.kernel_size[0], old.kernel_size[1]),
        (old.stride[0], old.stride[1]),
        old.padding if isinstance(old.padding, str) else (old.padding[0], old.padding[1]),
        bias=old.bias is not None,
    )
    model.set_submodule(name, new)
