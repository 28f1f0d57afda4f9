"""Trained weights from a file into a model, and back. Nothing in the file is trusted: no code of it is run."""

import os
import re
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from runner import atomic
from runner.errors import StepError, UsageError

SAFETENSORS = ".safetensors"
SUFFIXES = (".pth", ".pt", SAFETENSORS)
# Under which training scripts keep the weights beside the optimizer's state.
WRAPPERS = ("model_state_dict", "state_dict", "model")
# What DistributedDataParallel and torch.compile put before the names of the weights.
PREFIXES = ("module.", "_orig_mod.")
SHOWN = 5

SAVE_AGAIN = "where you trust the file, load it and save its weights alone: torch.save(model.state_dict(), 'net.pth')"


def load(path: Path, module: nn.Module) -> None:
    """Set all weights of `module` to those of the file. Raises UsageError and StepError."""
    if path.suffix not in SUFFIXES:
        raise UsageError(f"expected a {', '.join(SUFFIXES)} file", where=str(path))
    if not path.is_file():
        raise UsageError("there is no such file", where=str(path))
    content = _read_safetensors(path) if path.suffix == SAFETENSORS else _read_torch(path)
    weights = _unwrap(content, path)
    expected = module.state_dict()
    weights = {_bare(name, expected): value for name, value in weights.items()}
    _compare(expected, weights, path)
    # Into the network's own mapping: it holds the version that some modules (torchvision's MNASNet) ask for.
    expected.update(weights)
    module.load_state_dict(expected)


def check_destination(path: Path) -> None:
    """Refuse, before a training, a path that its weights cannot be written to after it. Raises UsageError."""
    if path.suffix != SAFETENSORS:
        what = f"expected a {SAFETENSORS} file"
        raise UsageError(what, where=str(path), advice=f"--save-weights {path.with_suffix(SAFETENSORS)}")
    try:
        atomic.check_destination(path)
    except UsageError as error:
        raise UsageError(error.what, where=error.where, advice="another place with --save-weights") from None


def save(module: nn.Module, path: Path) -> None:
    """Write all weights as a .safetensors file, which takes its name when the disk has all of it. Raises StepError."""
    # Each tensor on its own, where the library would leave out one that two names share: `load` asks for all names.
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in module.state_dict().items()}
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with draft.open("wb") as file:
            file.write(safetensors.torch.save(tensors))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        what = f"cannot be written: {error.strerror or error}"
        raise StepError(what, where=str(path), advice="free some space, or name another place") from None
    finally:
        draft.unlink(missing_ok=True)


def _read_safetensors(path: Path) -> object:
    try:
        return safetensors.torch.load_file(path)
    except (OSError, safetensors.SafetensorError) as error:
        raise StepError(f"is damaged or no safetensors file: {error}", where=str(path)) from None


def _read_torch(path: Path) -> object:
    if zipfile.is_zipfile(path):
        _check_archive(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # noqa: BLE001 - on damaged files torch's unpickler raises whatever the bytes lead it to
        needed = re.search(r"Unsupported (?:global|class|operand).*?([\w]+(?:\.\w+)+)", str(error))
        if needed:
            what = f"needs pickle for an object of {needed[1]}; pickle can run any code, so the file is refused"
            raise StepError(what, where=str(path), advice=SAVE_AGAIN) from None
        reason = f"{type(error).__name__}: {error}".splitlines()[0].partition(". ")[0]
        raise StepError(f"is damaged or no PyTorch checkpoint: {reason}", where=str(path), advice=SAVE_AGAIN) from None


def _check_archive(path: Path) -> None:
    """Refuse what torch.load would not notice: flipped bits, and TorchScript."""
    try:
        with zipfile.ZipFile(path) as archive:
            if any(name.endswith("/constants.pkl") for name in archive.namelist()):
                raise StepError("is a TorchScript archive, not a checkpoint", where=str(path), advice=SAVE_AGAIN)
            damaged = archive.testzip()
    except (OSError, ValueError, EOFError, NotImplementedError, zipfile.BadZipFile) as error:
        raise StepError(f"is damaged: {error}", where=str(path)) from None
    if damaged:
        raise StepError(f"is damaged: the checksum of {damaged} does not fit", where=str(path))


def _unwrap(content: object, path: Path) -> Mapping[str, Tensor]:
    while isinstance(content, Mapping):
        inner = [content[key] for key in WRAPPERS if isinstance(content.get(key), Mapping)]
        if not inner:
            break
        content = inner[0]
    if isinstance(content, Mapping) and content and all(isinstance(value, Tensor) for value in content.values()):
        return content
    found = f"keys {_listed(map(str, content))}" if isinstance(content, Mapping) else f"a {type(content).__name__}"
    raise StepError(f"holds no weights by name, but {found}", where=str(path), advice=SAVE_AGAIN)


def _bare(name: str, expected: Mapping[str, Tensor]) -> str:
    while name not in expected and name.startswith(PREFIXES):
        name = name.partition(".")[2]
    return name


def _compare(expected: Mapping[str, Tensor], weights: Mapping[str, Tensor], path: Path) -> None:
    """Refuse weights of another architecture. Raises StepError."""
    problems = []
    if missing := [name for name in expected if name not in weights]:
        problems.append(f"{len(missing)} missing: {_listed(missing)}")
    if unexpected := [name for name in weights if name not in expected]:
        problems.append(f"{len(unexpected)} unexpected: {_listed(unexpected)}")
    differing = [
        f"{name} is {_shape(weights[name])} and should be {_shape(value)}"
        for name, value in expected.items()
        if name in weights and weights[name].shape != value.shape
    ]
    if differing:
        problems.append(f"{len(differing)} of another shape: {_listed(differing)}")
    if problems:
        what = f"holds the weights of another architecture: {'; '.join(problems)}"
        raise StepError(what, where=str(path), advice="check --model, and that the data have as many classes")


def _listed(names: Iterable[str]) -> str:
    every = list(names)
    return ", ".join(every[:SHOWN]) + (", …" if len(every) > SHOWN else "")


def _shape(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape)) or "a single number"
