"""The command line of the host side. Its start is light: what a command does is imported when it is called."""

import sys
from pathlib import Path
from typing import Any

import click

from runner import __version__, edge
from runner.errors import LIMIT_MISSED, UsageError, nearest
from runner.terminal import Terminal

PATH = click.Path(path_type=Path)


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


class Group(click.Group):
    """Options for a pack, or a command by its name."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:  # noqa: ANN401 - as click has it
        """Say what is near to a command that there is not."""
        if args[0] not in self.commands:
            hint = nearest(args[0], self.commands) or f"there are {', '.join(self.commands)}"
            raise UsageError(f"no such command; {hint}", where=args[0], advice="pack --help")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - as click has it
        """Say which extra to install where only the device side is."""
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as error:
            what = f"needs {error.name}, which is not installed"
            raise UsageError(what, where="pack", advice="pip install 'edgepack[pack]'") from error


@click.group(cls=Group, invoke_without_command=True)
@click.version_option(__version__, prog_name="pack")
@click.option("--target", "targets", multiple=True, metavar="NAME|FILE.toml", help="What to pack for; may be repeated.")
@click.option("--recipe", metavar="NAME|FILE.toml", help="What to do; the options below are laid over it.")
@click.option("--model", metavar="NAME|FILE.py:CALLABLE|FILE.onnx", help="The network.  [default: wide_cnn]")
@click.option(
    "--weights",
    metavar="FILE|pretrained",
    help="Its weights (.pth, .pt, .safetensors), or those that come with edgepack; no training then, unless asked.",
)
@click.option("--data", metavar="NAME|DIR|FILE.npz", help="The images.  [default: embedded]")
@click.option("--data-dir", metavar="DIR", help="Where named data sets are found, or downloaded to.")
@click.option("--image-size", type=int, metavar="N", help="Height and width.  [default: as they are, or 224]")
@click.option("--mean", type=Numbers(), help="Of values from 0 to 1, per channel.  [default: of the training data]")
@click.option("--std", type=Numbers(), help="Likewise; set both to what given weights were trained with.")
@click.option("--epochs", type=int, metavar="N", help="Epochs of training; 0 for none.  [default: 8]")
@click.option("--batch-size", type=int, metavar="N", help="Samples in a training step.  [default: 64]")
@click.option("--learning-rate", type=float, metavar="X", help="The highest of the schedule.  [default: 0.004]")
@click.option("--optimizer", type=click.Choice(["adamw", "sgd"]), help="[default: adamw]")
@click.option("--schedule", type=click.Choice(["one-cycle", "plateau"]), help="[default: one-cycle]")
@click.option("--augment", type=click.Choice(["none", "flip", "shift", "shift-flip"]), help="[default: flip]")
@click.option("--compute", type=click.Choice(["auto", "cpu", "cuda"]), help="What to train on.  [default: auto]")
@click.option("--prune", type=float, metavar="X", help="Share that goes; 0 for none.")
@click.option(
    "--prune-method",
    type=click.Choice(["l1", "l1-global", "random", "2:4", "channels"]),
    help="Weights set to zero, or whole channels taken out, which alone saves time.  [default: l1]",
)
@click.option("--quantize", type=click.Choice(["static", "dynamic", "qat", "none"]), help="[default: static]")
@click.option(
    "--ranges",
    type=click.Choice(["min-max", "moving-average", "entropy", "percentile", "mse"]),
    help="Of activations, by calibration.  [default: min-max]",
)
@click.option("--keep-fp32", type=Words(), help="Layers that are not quantized, such as stack1.*,linear.")
@click.option("--sensitivity", is_flag=True, default=None, help="Show which layers int8 harms most.")
@click.option("--max-drop", type=float, metavar="X", help="Points of top-1 that int8 may cost; tries until it holds.")
@click.option("--candidates", type=Words(), help="Artifacts, such as int8.onnx.  [default: the target's]")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Any key of a recipe; may be repeated.")
@click.option("--calibration-samples", type=int, metavar="N", help="For static quantization.  [default: 512]")
@click.option("--eval-samples", type=int, metavar="N", help="In the bundle, at most.  [default: 2000]")
@click.option("--effort", type=click.Choice(["quick", "standard", "rigorous"]), help="Of measuring.  [default: quick]")
@click.option("--threads", type=int, metavar="N", help="Of the runtimes, for measuring.  [default: usable CPUs]")
@click.option("--seed", type=int, metavar="N", help="For everything that is drawn.  [default: 0]")
@click.option("-o", "--output", type=PATH, default=Path(), help="A folder, or NAME.edgepack.  [default: here]")
@click.option("--save-weights", type=PATH, metavar="FILE.safetensors", help="Keep the trained network's weights too.")
@click.option("--results", type=PATH, metavar="FILE.md", help="Write the table into this file, under its title.")
@click.option("--no-cache", is_flag=True, help="Run every step, and keep nothing but the bundle.")
@click.option("--json", "as_json", is_flag=True, help="Print the host reports, as one JSON list, and no paths.")
@click.pass_context
def pack(  # noqa: PLR0913 - one for each option that is no recipe's
    ctx: click.Context,
    /,
    *,
    targets: tuple[str, ...],
    output: Path,
    save_weights: Path | None,
    results: Path | None,
    no_cache: bool,
    as_json: bool,
    **given: Any,  # noqa: ANN401 - one keyword per remaining option, each a field of Options
) -> None:
    """Make a PyTorch image classifier small and fast for a target, and bundle it with the proof that it still works.

    With --target alone: trains a small network on images that come with edgepack, prunes, quantizes, exports, checks,
    measures, and writes NAME-TARGET.edgepack. The bundles' paths go to stdout.
    """
    if ctx.invoked_subcommand is not None:
        return
    if not targets:
        raise UsageError("name what to pack for", where="--target", advice="pack --target x86, or pack targets")
    from packager import commands  # noqa: PLC0415 - heavy
    from packager.options import Options  # noqa: PLC0415 - heavy
    from runner import codec  # noqa: PLC0415 - heavy
    from runner.render import report_page  # noqa: PLC0415 - heavy
    from runner.render.page import WIDTH, as_text  # noqa: PLC0415 - heavy

    emphasis, width = _bold if edge.colour(sys.stderr) else str, edge.columns(sys.stderr, WIDTH)
    reports = []
    request = commands.Request(
        targets=targets,
        options=Options(**given),
        output=output,
        save_weights=save_weights,
        results=results,
        keep=not no_cache,
    )
    for path, report in commands.pack(request, Terminal(sys.stderr)):
        click.echo("\n" + as_text(report_page(report), emphasis, width), nl=False, err=True, color=True)
        reports.append(report)
        if not as_json:
            click.echo(path)
    if as_json:
        click.echo(codec.write_json(reports), nl=False)
    if commands.missed(reports):
        ctx.exit(LIMIT_MISSED)


def _bold(text: str) -> str:
    return click.style(text, bold=True)


@pack.command(short_help="List the targets.")
def targets() -> None:
    """List the targets that come with edgepack."""
    from packager import commands  # noqa: PLC0415 - heavy

    click.echo(commands.list_targets(), nl=False)


@pack.command(short_help="List the recipes.")
def recipes() -> None:
    """List the recipes that come with edgepack."""
    from packager import commands  # noqa: PLC0415 - heavy

    click.echo(commands.list_recipes(), nl=False)


@pack.command(short_help="List the models.")
def models() -> None:
    """List the models that have a name."""
    from packager import commands  # noqa: PLC0415 - heavy

    click.echo(commands.list_models(), nl=False)


@pack.command(short_help="List the data sets.")
def datasets() -> None:
    """List the data sets that have a name."""
    from packager import commands  # noqa: PLC0415 - heavy

    click.echo(commands.list_datasets(), nl=False)


@pack.command(short_help="Show what is in a bundle.")
@click.argument("bundle", type=PATH)
@click.option("--recipe", "as_recipe", is_flag=True, help="Print its recipe alone, as TOML for `pack --recipe`.")
@click.option("--json", "as_json", is_flag=True, help="Print its manifest.")
def inspect(*, bundle: Path, as_recipe: bool, as_json: bool) -> None:
    """Show what BUNDLE is, what is in it, and what was measured of it on the host, after checking every hash."""
    from packager import commands  # noqa: PLC0415 - heavy

    click.echo(commands.inspect(bundle, as_recipe=as_recipe, as_json=as_json), nl=False)


def main() -> None:
    """Run `pack`."""
    sys.exit(edge.run(pack, sys.argv[1:], program="pack"))
