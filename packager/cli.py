"""The command line of the host side. Its start is light: what a command does is imported when it is called."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from packager.cli_options import PATH, Seconds, common_options, source_options
from packager.remote.cli import bench, doctor
from runner import __version__, edge
from runner.cli_look import look
from runner.errors import LIMIT_MISSED, UsageError, nearest
from runner.terminal import Terminal

if TYPE_CHECKING:
    from runner.render.page import Page


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
@source_options
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
@click.option("--sensitivity", is_flag=True, default=None, help="Show which layers int8 harms most.")
@click.option("--max-drop", type=float, metavar="X", help="Points of top-1 that int8 may cost; tries until it holds.")
@click.option(
    "--keep", type=int, metavar="N", help="Of the candidates, the best so many.  [default: 3 of quick or all]"
)
@click.option(
    "--minimise", type=click.Choice(["latency", "cold-start"]), help="What the best is fastest in.  [default: latency]"
)
@click.option(
    "--optimise-for",
    type=Seconds(),
    help="Search, by measured latency, for what of int8 ONNX files stays in fp32; goes on where it stopped.",
)
@common_options
@click.option("--save-weights", type=PATH, metavar="FILE.safetensors", help="Keep the trained network's weights too.")
@click.option("--results", type=PATH, metavar="FILE.md", help="Write the table into this file, under its title.")
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

    reports = []
    request = commands.Request(
        targets=targets,
        options=Options(**given),
        output=output,
        save_weights=save_weights,
        results=results,
        keep=not no_cache,
    )
    try:
        for path, report in commands.pack(request, Terminal(sys.stderr)):
            _show(report_page(report))
            reports.append(report)
            if not as_json:
                click.echo(path)
    finally:
        # What fails later shall not cost the reports of what is packed.
        if as_json and reports:
            click.echo(codec.write_json(reports), nl=False)
    if commands.missed(reports):
        ctx.exit(LIMIT_MISSED)


def _show(page: "Page") -> None:
    click.echo("\n" + look(sys.stderr).show(page, page), nl=False, err=True, color=True)


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


@pack.command(short_help="Search for the fastest or smallest that is right.")
@click.option("--target", "targets", metavar="NAME|FILE.toml", multiple=True, help="What to tune for: one.")
@source_options
@click.option("--max-drop", type=float, metavar="X", help="Points of top-1 that may be lost in all.  [default: 1.0]")
@click.option("--minimise", type=click.Choice(["latency", "size", "macs"]), help="[default: latency]")
@click.option("--trials", type=int, default=20, metavar="N", help="Over all runs of the same search.  [default: 20]")
@click.option("--timeout", type=float, metavar="SECONDS", help="Begin no trial after it.")
@common_options
@click.pass_context
def tune(  # noqa: PLR0913 - one for each option that is no recipe's
    ctx: click.Context,
    /,
    *,
    targets: tuple[str, ...],
    minimise: Literal["latency", "size", "macs"] | None,
    trials: int,
    timeout: float | None,
    output: Path,
    no_cache: bool,
    **given: Any,  # noqa: ANN401 - one keyword per remaining option, each a field of Options
) -> None:
    """Try many ways to prune and quantize a network, and pack the best of those that stay accurate.

    Trains once. Writes the Pareto front as a table, tune-NAME-TARGET.md, and a recipe for each of its points. The same
    command goes on where it stopped, and further with more --trials. The bundle's path goes to stdout.
    """
    from packager import commands  # noqa: PLC0415 - heavy
    from packager.options import Options  # noqa: PLC0415 - heavy
    from runner.render import report_page  # noqa: PLC0415 - heavy

    request = commands.TuneRequest(
        targets=targets,
        options=Options(**given),
        objective=minimise or "latency",
        trials=trials,
        timeout_s=timeout,
        output=output,
        keep=not no_cache,
    )
    tuned = commands.tune(request, Terminal(sys.stderr))
    for page in (tuned.page, report_page(tuned.report)):
        _show(page)
    click.echo(tuned.path)
    if not tuned.holds:
        ctx.exit(LIMIT_MISSED)


@pack.command(short_help="Show what is in a bundle.")
@click.argument("bundle", type=PATH)
@click.option("--recipe", "as_recipe", is_flag=True, help="Print its recipe alone, as TOML for `pack --recipe`.")
@click.option("--json", "as_json", is_flag=True, help="Print its manifest.")
def inspect(*, bundle: Path, as_recipe: bool, as_json: bool) -> None:
    """Show what BUNDLE is, what is in it, and what was measured of it on the host, after checking every hash."""
    from packager import commands  # noqa: PLC0415 - heavy

    click.echo(commands.inspect(bundle, as_recipe=as_recipe, as_json=as_json), nl=False)


pack.add_command(bench)
pack.add_command(doctor)


def main() -> None:
    """Run `pack`."""
    sys.exit(edge.run(pack, sys.argv[1:], program="pack"))
