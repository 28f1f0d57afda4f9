"""Which layer of a network a tracer or an exporter stumbled over."""

from collections.abc import Callable

from torch import nn
from torch.utils.hooks import RemovableHandle

ADVICE = "leave data-dependent `if`, loops over tensors and print out of forward()"


def failing_layer(module: nn.Module, attempt: Callable[[nn.Module], object]) -> str:
    """Repeat an attempt that failed, and return the innermost layer that it was in: `block2.conv (Conv2d)`.

    Returns "the network itself" where no layer was entered, or where the second attempt succeeds.
    """
    entered: list[str] = []
    hooks: list[RemovableHandle] = []
    for name, layer in module.named_modules():
        title = f"{name or 'the network itself'} ({type(layer).__name__})"
        hooks.append(layer.register_forward_pre_hook(lambda *_, title=title: entered.append(title)))
        hooks.append(layer.register_forward_hook(lambda *_: entered.pop() and None))
    try:
        attempt(module)
    except Exception:  # noqa: BLE001 - the first attempt's error is the one that is told; this one only shows where
        return entered[-1] if entered else "the network itself"
    finally:
        for hook in hooks:
            hook.remove()
    return "the network itself"
