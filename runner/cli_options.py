"""Options that several commands of the device side have."""

from collections.abc import Callable

import click

from runner.cli_types import Counts, Duration, Percentage

Command = Callable[..., None]
EFFORTS = ("quick", "standard", "rigorous")


def _options(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Return a decorator that adds options, in this order."""

    def add(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add


stated_options = _options(
    click.option("--max-slowdown", type=Percentage(), help="How much longer a call may take, as in 5%."),
    click.option("--max-latency", type=Duration(), help="How long a call may take on the device, as in 5ms."),
    click.option("--max-accuracy-drop", type=Percentage(), help="How far top-1 may be below, as in 0.5%."),
    click.option("--margin", type=Percentage(), default="2%", show_default=True, help="What latencies may differ by."),
    click.option("--accuracy-margin", type=Percentage(), default="1%", show_default=True, help="What top-1 may lose."),
    click.option("--strict", is_flag=True, help="Count a limit that cannot be decided as missed."),
    click.option("--json", "as_json", is_flag=True, help="Print one JSON document."),
    click.option("--markdown", "as_markdown", is_flag=True, help="Print Markdown."),
)
"""By what two sides are judged, and how that is shown."""
artifact_option = click.option(
    "--artifact", "artifacts", multiple=True, metavar="NAME", help="Only this one; may be given again."
)
threads_option = click.option(
    "--threads", type=click.IntRange(1, 1024), help="Threads of the runtime.  [default: usable CPUs]"
)
batch_option = click.option(
    "--batch", type=click.IntRange(1, 1 << 20), default=1, show_default=True, help="Samples in each call."
)
streams_option = click.option(
    "--streams", type=click.IntRange(1, 1024), default=1, show_default=True, help="Calls at once, in one process."
)
minimise_option = click.option(
    "--minimise",
    type=click.Choice(("latency", "cold-start")),
    default="latency",
    show_default=True,
    help="What the fastest is named by: a call, or import, load and first answer together.",
)
progress_option = click.option(
    "--progress",
    "progress_style",
    type=click.Choice(("text", "json")),
    default="text",
    show_default=True,
    help="What stderr has meanwhile: json is an object on each line, for a program.",
)
scenario_options = _options(
    click.option("--threads", type=Counts(1024), default=(), help="Threads of the runtime.  [default: usable CPUs]"),
    click.option(
        "--batch", "batches", type=Counts(1 << 20), default="1", show_default=True, help="Samples in each call."
    ),
    click.option("--streams", type=Counts(1024), default="1", show_default=True, help="Calls at once, in one process."),
)
"""One count or several of each: every combination is timed."""
effort_options = _options(
    click.option(
        "--effort", type=click.Choice(EFFORTS), default="quick", show_default=True, help="How long to measure."
    ),
    click.option(
        "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="For the order of the samples."
    ),
)
