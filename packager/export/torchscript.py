"""TorchScript files: traced, frozen, and freed of what differs from run to run.

PyTorch names traced classes by a counter of the process and stores the stack of every operation, paths of the
packing machine included. Neither changes what the file computes, so the archive is written again without them.
What will replace the format: `torch.export` (.pt2), once devices have a light runtime for it.
"""

import io
import itertools
import re
import warnings
import zipfile

import torch
from torch import Tensor, nn

from packager.failing_layer import ADVICE, failing_layer
from runner.errors import StepError

MANGLED = re.compile(rb"___torch_mangle_\d+")
EPOCH = (1980, 1, 1, 0, 0, 0)


def export(module: nn.Module, example: Tensor) -> bytes:
    """Return the network as a TorchScript file. Raises StepError naming the layer that cannot be traced."""
    try:
        return _reproducible(_traced(module, example))
    except Exception as error:
        layer = failing_layer(module, lambda network: _traced(network, example))
        what = f"the network cannot be traced to TorchScript, in {layer}: {_first_line(error)}"
        raise StepError(what, advice=ADVICE) from error


def _traced(module: nn.Module, example: Tensor) -> bytes:
    file = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # deprecation: known, and nothing that the user asked for
        traced = torch.jit.trace(module, example, check_trace=False)  # type: ignore[no-untyped-call]  # torch ships it so
        frozen = torch.jit.freeze(traced)
        torch.jit.save(frozen, file)
    return file.getvalue()


def _reproducible(archive: bytes) -> bytes:
    """Return the archive with its classes renumbered in order of appearance, and without stacks of operations."""
    file, numbers = io.BytesIO(), itertools.count()
    renamed: dict[bytes, bytes] = {}

    def rename(found: re.Match[bytes]) -> bytes:
        return renamed.setdefault(found[0], b"___torch_mangle_%d" % next(numbers))

    with zipfile.ZipFile(io.BytesIO(archive)) as source, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as target:
        for name in source.namelist():
            if name.endswith((".debug_pkl", "/serialization_id")):
                continue
            content = source.read(name)
            if name.endswith((".py", ".pkl")):
                content = MANGLED.sub(rename, content)
            stable = MANGLED.sub(rename, name.encode()).decode()
            target.writestr(zipfile.ZipInfo(stable, EPOCH), content)
    return file.getvalue()


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else 'no message'}"
