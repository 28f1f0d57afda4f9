"""The commands for boards. Their start is light: what a command does is imported when it is called."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from packager.cli_options import PATH
from runner.cli_look import look
from runner.cli_options import artifact_option, effort_options, scenario_options, stated_options
from runner.cli_types import Duration
from runner.errors import UsageError
from runner.terminal import Terminal

if TYPE_CHECKING:
    from packager.remote.display import Display
    from runner.report import Effort

on_option = click.option("--on", multiple=True, metavar="[USER@]HOST|NAME", help="A board; may be given again.")
INVENTORY = "hosts.toml"
ssh_config_option = click.option("--ssh-config", type=PATH, metavar="FILE", help="As `ssh -F`.  [default: your own]")


@click.command(short_help="Measure a bundle on boards, by ssh.")
@click.argument("bundle", type=PATH)
@on_option
@click.option("--inventory", type=PATH, metavar=INVENTORY, help="Boards by name; all, without --on.")
@ssh_config_option
@artifact_option
@scenario_options
@effort_options
@click.option("--keep", is_flag=True, help="Leave the bundle there: the next run need not copy it.")
@click.option("--setup", "prepare", is_flag=True, help="Install what is missing, into an environment of its own there.")
@click.option("--explain", is_flag=True, help="Name the first layer that a board computes otherwise than the host.")
@click.option("--offline", is_flag=True, help="With --setup: wheels from here, for boards without network.")
@click.option("--timeout", type=Duration(), metavar="TIME", help="For the run on a board, as in 600s.  [default: none]")
@click.option("--retries", type=click.IntRange(0, 100), default=2, show_default=True, help="After a board was lost.")
@click.option("--jobs", type=click.IntRange(1, 1000), default=32, show_default=True, help="Boards at once.")
@click.option("-o", "--output", type=PATH, default=Path(), help="A folder for the reports.  [default: here]")
@stated_options
@click.pass_context
def bench(  # noqa: PLR0913 - one parameter per option
    ctx: click.Context,
    /,
    *,
    bundle: Path,
    on: tuple[str, ...],
    inventory: Path | None,
    ssh_config: Path | None,
    artifacts: tuple[str, ...],
    threads: tuple[int, ...],
    batches: tuple[int, ...],
    streams: tuple[int, ...],
    effort: "Effort",
    seed: int,
    keep: bool,
    prepare: bool,
    explain: bool,
    offline: bool,
    timeout: float | None,
    retries: int,
    jobs: int,
    output: Path,
    **stated: Any,  # noqa: ANN401 - one keyword per option that says what is wanted
) -> None:
    """Take BUNDLE to boards, run it there, bring the reports back, and hold them against the host's.

    By the system's own ssh: your keys, your configuration, your jump hosts. Boards need Python 3.11, numpy and a
    runtime, and are left as they were found. Exits 1 where a stated limit is missed.
    """
    from packager.remote import commands, destination  # noqa: PLC0415 - heavy
    from runner.requests import Stated  # noqa: PLC0415 - heavy

    if offline and not prepare:
        raise UsageError("is for a set-up", where="--offline", advice="--setup --offline")
    wanted = Stated(**stated)
    request = commands.BenchRequest(
        bundle=bundle,
        destinations=destination.destinations(on, inventory, ssh_config),
        artifacts=artifacts,
        threads=threads,
        batches=batches,
        streams=streams,
        effort=effort,
        seed=seed,
        stated=wanted,
        output=output,
        keep=keep,
        explain=explain,
        setup=("offline" if offline else "online") if prepare else None,
        timeout_s=None if timeout is None else timeout / 1e9,
        retries=retries,
        jobs=jobs,
    )
    shown = look(sys.stdout, as_json=wanted.as_json, as_markdown=wanted.as_markdown)
    found = commands.bench(request, shown, _display())
    click.echo(found.text, nl=False, color=True)
    ctx.exit(found.exit_code)


@click.command(short_help="Show what a board is, and what it lacks.")
@click.argument("host", metavar="[USER@]HOST|NAME")
@click.option("--inventory", type=PATH, metavar=INVENTORY, help="Where NAME is looked up.")
@ssh_config_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_context
def doctor(ctx: click.Context, *, host: str, inventory: Path | None, ssh_config: Path | None, as_json: bool) -> None:
    """Show what HOST is, what is missing there with the command that brings it, and what int8 will bring.

    Installs nothing, and leaves the board as it was. Exits 4 where a bundle cannot run there yet.
    """
    from packager.remote import commands, destination  # noqa: PLC0415 - heavy

    (board,) = destination.destinations((host,), inventory, ssh_config)
    found = commands.doctor(board, look(sys.stdout, as_json=as_json))
    click.echo(found.text, nl=False, color=True)
    ctx.exit(found.exit_code)


def _display() -> "Display":
    """Return a line for each board that moves on a terminal, and lines for a log elsewhere."""
    from rich.console import Console  # noqa: PLC0415 - heavy

    from packager.remote.display import Live, Named  # noqa: PLC0415 - heavy

    console = Console(stderr=True)
    return Live(console) if console.is_terminal and not console.is_dumb_terminal else Named(Terminal(sys.stderr))
