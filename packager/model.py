"""From the name of a model to one with its first weights: ours, torchvision's, the user's own, or an ONNX file."""

import contextlib
import hashlib
import inspect
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import torch
from torch import nn

import models
from packager import onnx_model, pretrained, project, recipe, weights
from packager.data import Splits
from packager.onnx_model import OnnxModel
from runner.errors import StepError, UsageError, nearest
from runner.manifest import Preprocess

CLASSES_NAMES = ("num_classes", "classes")
CHANNELS_NAMES = ("in_channels", "channels")
OTHER_CHANNELS = re.compile(r"expected input\[([\d, ]+)\] to have (\d+) channels")
"""What a convolution says to images that it is not for."""
BY_SIGNATURE = f"a parameter {CHANNELS_NAMES[0]} gets the number of channels of the data"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class LoadedModel:
    """A model that is ready for training, or for use where its weights were given."""

    model: nn.Module | OnnxModel
    """A module is in eval mode."""
    name: str
    """Short, and fit for file names: `net-Net` for net.py:Net."""
    sha256: str
    """Of the source text, the structure and the weights."""

    @property
    def module(self) -> nn.Module:
        """The network as PyTorch has it. Raises StepError where it exists only as an ONNX file."""
        if isinstance(self.model, OnnxModel):
            raise self.model.no_module()
        return self.model


def check(model: recipe.Model) -> None:
    """Refuse, before any data are read, a model or weights that are not there. Raises UsageError."""
    if ".py" in model.name:
        _user_file(model.name)
    elif model.name.endswith(recipe.ONNX_FILE):
        _check_onnx_file(model)
    else:
        _refuse_unknown(model.name)
    if model.weights == pretrained.NAME:
        pretrained.check(model.name)
    elif model.weights is not None and not Path(model.weights).expanduser().is_file():
        raise UsageError("there is no such file", where=model.weights, advice="--weights FILE")


def load(model: recipe.Model, splits: Splits, *, seed: int) -> LoadedModel:
    """Build the model for these images, try it on a blank batch, and give it the weights that the recipe names.

    Random weights follow from `seed`; an ONNX file has its own. Raises UsageError and StepError.
    """
    check(model)
    preprocess, classes = splits.preprocess, len(splits.classes)
    if model.name.endswith(recipe.ONNX_FILE):
        file = onnx_model.load(Path(model.name).expanduser(), preprocess, classes)
        return LoadedModel(model=file, name=_fit_for_files(file.name), sha256=file.sha256)
    torch.manual_seed(seed)
    if ".py" in model.name:
        name, module, sources = _load_users(model.name, preprocess.channels, classes)
    else:
        name, module, sources = _load_ours(model.name, preprocess, classes)
    module.eval()
    _try(module, model.name, preprocess, classes)
    if model.weights == pretrained.NAME:
        pretrained.load(pretrained.find(model.name, splits), module)
    elif model.weights is not None:
        weights.load(Path(model.weights).expanduser(), module)
    return LoadedModel(model=module, name=_fit_for_files(name), sha256=_digest(module, sources))


def _fit_for_files(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", name)


def _check_onnx_file(model: recipe.Model) -> None:
    if model.weights is not None:
        what = f"{model.name} has weights of its own, and --weights names others"
        raise UsageError(what, where=model.weights, advice="leave --weights out")
    if not Path(model.name).expanduser().is_file():
        raise UsageError("there is no such file", where=model.name, advice="--model FILE.onnx")


def _load_ours(name: str, preprocess: Preprocess, classes: int) -> tuple[str, nn.Module, Mapping[str, str]]:
    try:
        module = models.build(name, preprocess.channels, classes, preprocess.height, preprocess.width)
    except (ValueError, RuntimeError, AssertionError, ZeroDivisionError) as error:
        raise _not_for_these_images(name, preprocess, error) from None
    file = inspect.getfile(type(module))
    return name, module, {type(module).__module__: Path(file).read_text(encoding="utf-8")}


def _refuse_unknown(name: str) -> None:
    if name in models.names():
        return
    if not name.startswith(models.ANY_TORCHVISION):
        hint = (
            nearest(name, models.names()) or f"one of {', '.join(models.names())}, torchvision:NAME or net.py:Callable"
        )
        raise UsageError("there is no model of this name", where=name, advice=hint)
    from models import torchvision_zoo  # noqa: PLC0415 - torchvision takes seconds, and most models do without

    known = torchvision_zoo.classifiers()
    plain = name.removeprefix(models.ANY_TORCHVISION)
    if plain not in known:
        hint = nearest(plain, known) or "see torchvision.models.list_models(module=torchvision.models)"
        raise UsageError(f"torchvision has no classifier {plain!r}", where=name, advice=hint)


def _load_users(name: str, channels: int, classes: int) -> tuple[str, nn.Module, Mapping[str, str]]:
    path, attribute = _user_file(name)
    with contextlib.ExitStack() as stack:
        with _blaming(path, "importing it"):
            imported = stack.enter_context(project.importing(path))
        build = _find(imported.module, attribute, name)
        if isinstance(build, nn.Module):
            module: object = build
        else:
            with _blaming(path, f"calling {attribute}()"):
                module = build(**_arguments(build, channels, classes))
    if not isinstance(module, nn.Module):
        what = f"{attribute}() returned a {type(module).__name__}, not a torch.nn.Module"
        raise UsageError(what, where=str(path), advice="name a Module class, or a function that returns a Module")
    return f"{path.stem}-{attribute}", module, imported.sources


def _user_file(name: str) -> tuple[Path, str]:
    file, _, attribute = name.rpartition(":")
    if not file.endswith(".py"):
        raise UsageError("expected FILE.py:CALLABLE", where=name, advice="name the class or function, as in net.py:Net")
    path = Path(file).expanduser()
    if not path.is_file():
        raise UsageError("there is no such file", where=file)
    return path, attribute


def _find(module: ModuleType, attribute: str, name: str) -> Callable[..., object]:
    found: object = getattr(module, attribute, None)
    if callable(found):
        return found
    own = [key for key, value in vars(module).items() if callable(value) and value.__module__ == module.__name__]
    hint = nearest(attribute, own) or f"it has {', '.join(own) or 'no class or function'}"
    raise UsageError(f"has no class or function {attribute!r}", where=name, advice=hint)


def _arguments(build: Callable[..., object], channels: int, classes: int) -> dict[str, int]:
    """Return the number of channels and of classes under the names, if any, that the signature has for them."""
    try:
        parameters = inspect.signature(build).parameters
    except (TypeError, ValueError):
        return {}
    given = dict.fromkeys(CLASSES_NAMES, classes) | dict.fromkeys(CHANNELS_NAMES, channels)
    return {name: value for name, value in given.items() if name in parameters}


@contextlib.contextmanager
def _blaming(path: Path, doing: str) -> Iterator[None]:
    """Turn what the user's code raises into a StepError with its place, and keep what it prints out of stdout."""
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the user's code may raise anything
        message = " ".join(f"{type(error).__name__}: {error}".split())
        raise StepError(f"{doing} failed: {message}", where=_place(error, path)) from None


def _place(error: BaseException, path: Path) -> str:
    """Return file and line of the innermost frame in the folder of the user's file."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    folder = path.resolve().parent
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if folder in Path(frame.filename).parents]
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else str(path)


def _try(module: nn.Module, name: str, preprocess: Preprocess, classes: int) -> None:
    """Run a blank batch of two and look at the shape of the answer. Raises StepError."""
    blank = torch.zeros(2, preprocess.channels, preprocess.height, preprocess.width)
    try:
        with torch.no_grad(), contextlib.redirect_stdout(sys.stderr):
            logits = module(blank)
    except Exception as error:  # noqa: BLE001 - forward() of a user's model may raise anything
        raise _not_for_these_images(name, preprocess, error) from None
    if not isinstance(logits, torch.Tensor):
        what = f"forward() returns a {type(logits).__name__}, not a tensor of 2 x {classes} logits for 2 images"
        raise StepError(what, where=name, advice="return the logits alone in eval mode")
    if logits.shape != (2, classes):
        what = f"forward() returns {' x '.join(map(str, logits.shape))} values for 2 images of {classes} classes"
        advice = f"return 2 x {classes} logits; a parameter num_classes gets the number of classes of the data"
        raise StepError(what, where=name, advice=advice)


def _not_for_these_images(name: str, preprocess: Preprocess, error: Exception) -> StepError:
    shape = f"{preprocess.channels} x {preprocess.height} x {preprocess.width}"
    message = " ".join(f"{type(error).__name__}: {error}".split())
    advice = "choose another image size, such as --image-size 224, or another model"
    other = OTHER_CHANNELS.search(message)
    if other and other[1].split(", ")[1:] == shape.split(" x "):
        advice = f"images of {other[2]} channels, or a model that takes {preprocess.channels}: {BY_SIGNATURE}"
    if isinstance(error, ImportError):
        advice = "import at the top of the file, not within forward()"
    return StepError(f"cannot take images of {shape}: {message}", where=name, advice=advice)


def _digest(module: nn.Module, sources: Mapping[str, str]) -> str:
    digest = hashlib.sha256(repr(module).encode())
    for name, text in sorted(sources.items()):
        digest.update(f"\0{name}\0{text}".encode("utf-8", "surrogatepass"))
    for name, value in module.state_dict().items():
        digest.update(f"\0{name} {value.dtype} {tuple(value.shape)}\0".encode())
        digest.update(value.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
