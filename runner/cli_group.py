"""The group of commands in which a BUNDLE may stand for the command that measures it."""

from pathlib import Path

import click

from runner.errors import UsageError, nearest

MEASURE = "run"
"""The command that a BUNDLE as first argument stands for."""


class DefaultGroup(click.Group):
    """Commands by name; a first argument that names none is a BUNDLE."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the default command before arguments that name none."""
        if args and args[0] not in (*self.commands, "--help", "--version"):
            hint = nearest(args[0], self.commands)
            if hint and not Path(args[0]).exists():
                raise UsageError(f"no such command, and no such file; {hint}", where=args[0])
            args = [MEASURE, *args]
        return super().parse_args(ctx, args)

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Show both forms."""
        formatter.write_usage(ctx.command_path, "BUNDLE [OPTIONS]")
        formatter.write_usage(ctx.command_path, "COMMAND [ARGS]...", prefix="       ")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Show the options of the default command, then the other commands."""
        options = [it for it in (*self.commands[MEASURE].params, *self.get_params(ctx)) if isinstance(it, click.Option)]
        with formatter.section("Options"):
            formatter.write_dl([record for option in options if (record := option.get_help_record(ctx))])
        self.format_commands(ctx, formatter)
