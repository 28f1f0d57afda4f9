"""TorchScript files: traced, frozen, and freed of what differs from run to run.

PyTorch names traced classes by a counter of the process and stores the stack of every operation, paths of the
packing machine included. Neither changes what the file computes, so the archive is written again without them.
What will replace the format: `torch.export` (.pt2), once devices have a light runtime for it.
"""

import io
import itertools
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from packager.export import Exported
from packager.failing_layer import ADVICE, failing_layer
from packager.quiet import quiet
from runner.errors import StepError, first_line

MANGLED = re.compile(rb"___torch_mangle_\d+")
EPOCH = (1980, 1, 1, 0, 0, 0)
MOST_DEFLATED = 1 << 16
"""Bytes of a tensor. Of a small network's int8 file an eighth goes so; larger tensors load at once."""


class DataDependentError(Exception):
    """A network does one thing or another by what is in its input, and a trace would hold only one of them."""


def export(module: nn.Module, example: Tensor) -> Exported:
    """Return the network as a TorchScript file. Raises StepError naming the layer that cannot be traced."""
    with quiet(), torch.no_grad():
        try:
            frozen = _frozen(module, example)
        except Exception as error:
            layer = failing_layer(module, lambda network: _frozen(network, example))
            what = f"the network cannot be traced to TorchScript, in {layer}: {first_line(error)}"
            raise StepError(what, advice=ADVICE) from error
        file = io.BytesIO()
        torch.jit.save(frozen, file)
        return Exported(content=_reproducible(file.getvalue()), dynamic_batch=_takes_two(frozen, example))


def _frozen(module: nn.Module, example: Tensor) -> torch.jit.ScriptModule:
    with _Watch(example):
        module(example)
    # A trace holds these as constants of each convolution, as they are in this process: on a GPU they would decide
    # there whether fp32 is rounded to TF32.
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=False, allow_tf32=False):
        traced = torch.jit.trace(module, example, check_trace=False)  # type: ignore[no-untyped-call]  # torch ships it so
    frozen: torch.jit.ScriptModule = torch.jit.freeze(traced)
    return frozen


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch ships it so
    """Follows what is computed from the input, and raises where a Python number is made of it."""

    def __init__(self, example: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # as above
        self.computed = {id(example): example}

    def __torch_dispatch__(
        self,
        func: Callable[..., object],
        types: object,
        args: tuple[object, ...] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        """Run one operation."""
        named = kwargs or {}
        result = func(*args, **named)
        if any(id(tensor) in self.computed for tensor in _tensors((*args, *named.values()))):
            if isinstance(result, bool | int | float | complex):
                raise DataDependentError(f"a decision that depends on the input, here on the value {result}")
            self.computed |= {id(tensor): tensor for tensor in _tensors([result])}
        return result


def _tensors(values: Iterable[object]) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)


def _takes_two(frozen: torch.jit.ScriptModule, example: Tensor) -> bool:
    """Tell whether the batch is free: a trace makes a constant of it where the network's code makes an int of it."""
    two = example.expand(2, *example.shape[1:]).contiguous()
    try:
        return bool(frozen(two).shape == (2, *frozen(example).shape[1:]))
    except RuntimeError:
        return False


def _reproducible(archive: bytes) -> bytes:
    """Return the archive with its classes renumbered in order of appearance, and without stacks of operations."""
    file, numbers = io.BytesIO(), itertools.count()
    renamed: dict[bytes, bytes] = {}

    def rename(found: re.Match[bytes]) -> bytes:
        return renamed.setdefault(found[0], b"___torch_mangle_%d" % next(numbers))

    with zipfile.ZipFile(io.BytesIO(archive)) as source, zipfile.ZipFile(file, "w") as target:
        for name in source.namelist():
            if name.endswith((".debug_pkl", "/serialization_id")):
                continue
            info = zipfile.ZipInfo(MANGLED.sub(rename, name.encode()).decode(), EPOCH)
            content = source.read(name)
            is_program = name.endswith((".py", ".pkl"))
            if is_program:
                content = MANGLED.sub(rename, content)
            if is_program or len(content) <= MOST_DEFLATED:
                info.compress_type = zipfile.ZIP_DEFLATED
            target.writestr(info, content)
    return file.getvalue()
