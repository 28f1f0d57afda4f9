"""The command line of the device side. Its start is light: what a command does is imported when it is called."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runner import __version__, edge
from runner.cli_group import MEASURE, DefaultGroup
from runner.cli_look import look
from runner.cli_options import (
    artifact_option,
    batch_option,
    effort_options,
    minimise_option,
    progress_option,
    scenario_options,
    stated_options,
    streams_option,
    threads_option,
)
from runner.progress import Progress
from runner.progress_lines import JsonLines
from runner.terminal import Terminal

if TYPE_CHECKING:
    from runner.output import Output
    from runner.report import Effort, Objective


@click.group(cls=DefaultGroup, no_args_is_help=True)
@click.version_option(__version__, prog_name="bench-runner")
def bench_runner() -> None:
    """Measure what is in a bundle on this machine: size, answers, latency, memory.

    Prints a table, names the fastest artifact whose answers hold, and writes a report.
    """


@bench_runner.command(MEASURE, hidden=True)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The report.  [default: NAME.report.json]")
@artifact_option
@scenario_options
@effort_options
@click.option("--profile-ops", is_flag=True, help="Take the time of each operator too, after all the others.")
@minimise_option
@click.option("--json", "as_json", is_flag=True, help="Print the report itself, and no table.")
@progress_option
@click.pass_context
def measure(  # noqa: PLR0913 - one parameter per option
    ctx: click.Context,
    *,
    bundle: Path,
    output: Path | None,
    artifacts: tuple[str, ...],
    threads: tuple[int, ...],
    batches: tuple[int, ...],
    streams: tuple[int, ...],
    effort: "Effort",
    seed: int,
    profile_ops: bool,
    minimise: "Objective",
    as_json: bool,
    progress_style: str,
) -> None:
    """Measure the artifacts of BUNDLE on this machine.

    Several counts, as in --batch 1,8,32, are a scenario each; the answers are taken in the first.
    """
    _hold_numpy(to_measure=True)
    from runner import commands, requests  # noqa: PLC0415 - heavy

    request = requests.Request(
        bundle=bundle,
        output=output,
        artifacts=artifacts,
        threads=threads,
        batches=batches,
        streams=streams,
        effort=effort,
        seed=seed,
        profile_ops=profile_ops,
        minimise=minimise,
    )
    _finish(ctx, commands.measure_bundle(request, look(sys.stdout, as_json=as_json), _progress(progress_style)))


@bench_runner.command(short_help="Check a bundle's hashes, or a report's figures.")
@click.argument("path", metavar="BUNDLE|REPORT", type=click.Path(path_type=Path))
@click.pass_context
def verify(ctx: click.Context, *, path: Path) -> None:
    """Check every hash of a bundle, or whether every figure of a report follows from its raw samples."""
    _hold_numpy()
    from runner import commands  # noqa: PLC0415 - heavy

    _finish(ctx, commands.verify_document(path))


@bench_runner.command(short_help="Compare two reports of one bundle.")
@click.argument("host", type=click.Path(path_type=Path))
@click.argument("device", type=click.Path(path_type=Path))
@stated_options
@click.pass_context
def compare(
    ctx: click.Context,
    /,
    *,
    host: Path,
    device: Path,
    **stated: Any,  # noqa: ANN401 - one keyword per option that says what is wanted
) -> None:
    """Compare the report of a DEVICE with that of the HOST; a bundle stands for the host report in it.

    What differs by less than --margin and --accuracy-margin is called equivalent and not inferior.
    Exits 1 where a stated limit is missed.
    """
    _hold_numpy()
    from runner import commands, requests  # noqa: PLC0415 - heavy

    wanted = requests.Stated(**stated)
    shown = look(sys.stdout, as_json=wanted.as_json, as_markdown=wanted.as_markdown)
    _finish(ctx, commands.compare_reports(host, device, wanted, shown))


@bench_runner.command(short_help="Measure two bundles in turn, and compare them.")
@click.argument("bundle_a", type=click.Path(path_type=Path))
@click.argument("bundle_b", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="A folder for the two reports.")
@artifact_option
@threads_option
@batch_option
@streams_option
@effort_options
@progress_option
@stated_options
@click.pass_context
def ab(  # noqa: PLR0913 - one parameter per option
    ctx: click.Context,
    /,
    *,
    bundle_a: Path,
    bundle_b: Path,
    output: Path | None,
    artifacts: tuple[str, ...],
    threads: int | None,
    batch: int,
    streams: int,
    effort: "Effort",
    seed: int,
    progress_style: str,
    **stated: Any,  # noqa: ANN401 - as above
) -> None:
    """Measure BUNDLE_A and BUNDLE_B in turn, process by process, and compare the second with the first.

    Artifacts of one name are held against each other; what only one bundle has is left out.
    What disturbs the machine disturbs both, so that smaller differences are found than between two reports.
    """
    _hold_numpy(to_measure=True)
    from runner import commands, requests  # noqa: PLC0415 - heavy

    wanted = requests.Stated(**stated)
    request = requests.TurnsRequest(
        bundles=(bundle_a, bundle_b),
        output=output,
        artifacts=artifacts,
        threads=threads,
        batch=batch,
        streams=streams,
        effort=effort,
        seed=seed,
        stated=wanted,
    )
    shown = look(sys.stdout, as_json=wanted.as_json, as_markdown=wanted.as_markdown)
    _finish(ctx, commands.take_turns(request, shown, _progress(progress_style)))


@bench_runner.command(short_help="Test how well this machine can be measured.")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--artifact", metavar="NAME", help="What to test with.  [default: the fastest on the host]")
@threads_option
@click.option("--pairs", type=click.IntRange(1, 1000), default=10, show_default=True, help="Of unchanged sessions.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@progress_option
@click.pass_context
def selftest(  # noqa: PLR0913 - one parameter per option
    ctx: click.Context,
    *,
    bundle: Path,
    artifact: str | None,
    threads: int | None,
    pairs: int,
    as_json: bool,
    progress_style: str,
) -> None:
    """Measure pairs of sessions with an artifact of BUNDLE: unchanged, and with calls made longer by 3 and 5 %.

    Prints how often a difference is found where there is none and where there is one, and remembers the noise floor of
    this machine, which later comparisons have to exceed.
    """
    _hold_numpy(to_measure=True)
    from runner import commands, requests  # noqa: PLC0415 - heavy

    changed = max(1, pairs // 3)
    request = requests.SelfTestRequest(
        bundle=bundle, artifact=artifact, threads=threads, pairs=(pairs, changed, changed)
    )
    _finish(ctx, commands.self_test(request, look(sys.stdout, as_json=as_json), _progress(progress_style)))


@bench_runner.command(short_help="Say what is on images.")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--prefer", metavar="NAME|REPORT", help="An artifact, or a report whose fastest is meant.")
@threads_option
@click.option("--top", type=click.IntRange(min=1), default=5, show_default=True, help="Classes of each image.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_context
def predict(  # noqa: PLR0913 - one parameter per option
    ctx: click.Context,
    *,
    bundle: Path,
    images: tuple[Path, ...],
    prefer: str | None,
    threads: int | None,
    top: int,
    as_json: bool,
) -> None:
    """Say what is on each IMAGE: classes and their probabilities, by the fastest artifact of BUNDLE that is right here.

    Images are brought to size as `pack` did it with those that the network was trained on.
    """
    _hold_numpy(to_measure=True)
    from runner import predicting, requests  # noqa: PLC0415 - heavy

    request = requests.PredictRequest(bundle=bundle, images=images, prefer=prefer, threads=threads, top=top)
    _finish(ctx, predicting.predict_images(request, look(sys.stdout, as_json=as_json), _progress("text")))


@bench_runner.command(short_help="Show what this machine is, and what it can run.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_context
def device(ctx: click.Context, *, as_json: bool) -> None:
    """Show what this machine is, which runtimes it has, and which integer kernels they will use."""
    from runner import machine  # noqa: PLC0415 - heavy

    _finish(ctx, machine.show_device(look(sys.stdout, as_json=as_json)))


@bench_runner.command(hidden=True)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--artifact", metavar="NAME", required=True, help="Of the bundle.")
@click.option("--probe", type=click.Path(path_type=Path), required=True, help="The file that was made from it.")
@click.option("--sample", type=click.IntRange(min=0), required=True, help="Of the evaluation set, from 0.")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="The .npz to write.")
@click.option("--threads", type=click.IntRange(1, 1024), default=1, show_default=True, help="Threads of the runtime.")
@click.pass_context
def tensors(  # noqa: PLR0913 - one parameter per option
    ctx: click.Context, *, bundle: Path, artifact: str, probe: Path, sample: int, output: Path, threads: int
) -> None:
    """Write what lies between the layers of an artifact of BUNDLE for one sample: what `pack bench --explain` asks for.

    The file has the artifact's own logits first, and then all that the probe returns.
    """
    _hold_numpy()
    from runner import commands, requests  # noqa: PLC0415 - heavy

    request = requests.TensorsRequest(
        bundle=bundle, artifact=artifact, probe=probe, sample=sample, output=output, threads=threads
    )
    _finish(ctx, commands.write_tensors(request))


def _hold_numpy(*, to_measure: bool = False) -> None:
    from runner import install  # noqa: PLC0415 - as light as it is, --help does without

    install.hold_numpy(to_measure=to_measure)


def _progress(style: str) -> Progress:
    return JsonLines(sys.stderr) if style == "json" else Terminal(sys.stderr)


def _finish(ctx: click.Context, output: "Output") -> None:
    click.echo(output.text, nl=False, color=True)
    ctx.exit(output.exit_code)


def main() -> None:
    """Run `bench-runner`."""
    sys.exit(edge.run(bench_runner, sys.argv[1:], program="bench-runner"))


def run_bundle(path: Path, argv: Sequence[str]) -> int:
    """Run the command line of a bundle that was itself started, and return the exit code: it is the BUNDLE."""
    args = list(argv)
    if args == ["verify"]:
        args.append(str(path))
    elif args[:1] == ["predict"]:
        args.insert(1, str(path))
    elif not args or args[0] not in (*bench_runner.commands, "--help", "--version"):
        args.insert(0, str(path))
    return edge.run(bench_runner, args, program=f"python3 {os.path.relpath(path)}")
