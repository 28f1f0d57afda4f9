"""The options that several commands of the host side have in common."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

Command = Callable[..., Any]
C = TypeVar("C", bound=Command)
PATH = click.Path(path_type=Path)
SECONDS = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600}


class Numbers(click.ParamType[tuple[float, ...]]):
    """Numbers such as `0.485,0.456,0.406`."""

    name = "X,X,X"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, ...]:
        """Return the numbers between the commas."""
        try:
            return tuple(float(number) for number in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} are no numbers: write 0.5, or 0.485,0.456,0.406", param, ctx)


class Words(click.ParamType[tuple[str, ...]]):
    """Names such as `int8.onnx,fp32.onnx`."""

    name = "X,X"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """Return the names between the commas."""
        words = tuple(word.strip() for word in str(value).split(","))
        if not all(words):
            self.fail(f"{value!r} has nothing between two commas", param, ctx)
        return words


class Seconds(click.ParamType[float]):
    """A time such as `90`, `120s` or `2m`, in seconds."""

    name = "TIME"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the seconds; a number without a unit is of seconds."""
        text = str(value).strip()
        found = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)\s*(s|m|min|h|)", text)
        if found is None or not float(found[1]):
            self.fail(f"{text!r} is no time: write 120s, 2m or 90", param, ctx)
        return float(found[1]) * SECONDS[found[2]]


SOURCE = (
    click.option("--recipe", metavar="NAME|FILE.toml", help="What to do; the options below are laid over it."),
    click.option("--model", metavar="NAME|FILE.py:CALLABLE|FILE.onnx", help="The network.  [default: wide_cnn]"),
    click.option(
        "--weights",
        metavar="FILE|pretrained",
        help="Its weights (.pth, .pt, .safetensors), or those that come with edgepack; no training then, unless asked.",
    ),
    click.option("--data", metavar="NAME|DIR|FILE.npz", help="The images.  [default: embedded]"),
    click.option("--data-dir", metavar="DIR", help="Where named data sets are found, or downloaded to."),
    click.option("--image-size", type=int, metavar="N", help="Height and width.  [default: as they are, or 224]"),
    click.option("--mean", type=Numbers(), help="Of values from 0 to 1, per channel.  [default: of the training data]"),
    click.option("--std", type=Numbers(), help="Likewise; set both to what given weights were trained with."),
    click.option("--epochs", type=int, metavar="N", help="Epochs of training; 0 for none.  [default: 8]"),
    click.option("--batch-size", type=int, metavar="N", help="Samples in a training step.  [default: 64]"),
    click.option("--learning-rate", type=float, metavar="X", help="The highest of the schedule.  [default: 0.004]"),
    click.option("--optimizer", type=click.Choice(["adamw", "sgd"]), help="[default: adamw]"),
    click.option("--schedule", type=click.Choice(["one-cycle", "plateau"]), help="[default: one-cycle]"),
    click.option("--augment", type=click.Choice(["none", "flip", "shift", "shift-flip"]), help="[default: flip]"),
    click.option("--compute", type=click.Choice(["auto", "cpu", "cuda"]), help="What to train on.  [default: auto]"),
)
"""What the network is, where it comes from, and how it is trained."""

COMMON = (
    click.option("--keep-fp32", type=Words(), help="Layers that are not quantized, such as stack1.*,linear."),
    click.option(
        "--candidates", type=Words(), help="quick, all, or artifacts such as int8.onnx.  [default: the target's]"
    ),
    click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Any key of a recipe; may be repeated."),
    click.option("--calibration-samples", type=int, metavar="N", help="For static quantization.  [default: 512]"),
    click.option("--eval-samples", type=int, metavar="N", help="In the bundle, at most.  [default: 2000]"),
    click.option(
        "--effort", type=click.Choice(["quick", "standard", "rigorous"]), help="Of measuring.  [default: quick]"
    ),
    click.option("--threads", type=int, metavar="N", help="Of the runtimes, for measuring.  [default: usable CPUs]"),
    click.option("--seed", type=int, metavar="N", help="For everything that is drawn.  [default: 0]"),
    click.option("-o", "--output", type=PATH, default=Path(), help="A folder, or NAME.edgepack.  [default: here]"),
    click.option("--no-cache", is_flag=True, help="Run every step, and keep nothing but the bundle."),
)
"""What is made of it, how it is measured, and where it goes."""


def source_options(command: C) -> C:
    """Give a command the options of SOURCE, in their order."""
    return _with(SOURCE, command)


def common_options(command: C) -> C:
    """Give a command the options of COMMON, in their order."""
    return _with(COMMON, command)


def _with(options: Sequence[Callable[[C], C]], command: C) -> C:
    # As where decorators stand above each other: the last is applied first.
    for option in reversed(options):
        command = option(command)
    return command
