"""What the commands for boards do, once their options are known. Nothing here prints or exits."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from packager.remote import fleet, result
from packager.remote.bench import Order
from packager.remote.destination import Destination
from packager.remote.display import Display
from packager.remote.doctor import diagnose
from packager.remote.doctor.page import doctor_page
from packager.remote.fleet import FleetOrder
from packager.remote.line import Patience
from packager.remote.page import fleet_page
from runner import atomic
from runner.bundle import Bundle, open_bundle
from runner.errors import RuntimeUnavailable, UsageError, nearest
from runner.output import Look, Output
from runner.report import Effort
from runner.requests import Stated


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchRequest:
    """What is to be measured on which boards, and how."""

    bundle: Path
    destinations: tuple[Destination, ...]
    artifacts: tuple[str, ...]
    threads: tuple[int, ...]
    batches: tuple[int, ...]
    streams: tuple[int, ...]
    effort: Effort
    seed: int
    stated: Stated
    output: Path
    keep: bool
    setup: Literal["online", "offline"] | None
    explain: bool
    timeout_s: float | None
    retries: int
    jobs: int

    @property
    def arguments(self) -> tuple[str, ...]:
        """What the runner on a board is given."""
        counts = (("--threads", self.threads), ("--batch", self.batches), ("--streams", self.streams))
        given = (("--effort", self.effort), ("--seed", str(self.seed)), ("--progress", "json"))
        return (
            *(word for name, values in counts if values for word in (name, ",".join(map(str, values)))),
            *(word for pair in given for word in pair),
            *(word for name in self.artifacts for word in ("--artifact", name)),
        )


def bench(request: BenchRequest, look: Look, display: Display) -> Output:
    """Have boards measure a bundle, and show what came of each. Raises DocumentError and UsageError."""
    bundle = open_bundle(request.bundle)
    _check_names(bundle, request.artifacts)
    _check_folder(request.output)
    for each in request.destinations:
        atomic.check_destination(fleet.report_path(request.output, each))
    host = bundle.host_report()
    order = FleetOrder(
        order=Order(
            bundle=bundle,
            artifacts=request.artifacts,
            arguments=request.arguments,
            keep=request.keep,
            setup=request.setup,
            explain=request.explain,
            timeout_s=request.timeout_s,
            patience=Patience(),
        ),
        host=host,
        limits=request.stated.limits,
        margins=request.stated.margins,
        output=request.output,
        retries=request.retries,
        jobs=request.jobs,
    )
    found = fleet.run(request.destinations, order, display)
    page = fleet_page(found, host, f"{bundle.manifest.name} for {bundle.manifest.target.name}")
    return Output(text=look.show(found, page), exit_code=result.exit_code(found))


def doctor(destination: Destination, look: Look) -> Output:
    """Show what a board is, what it lacks, and what int8 will bring there. Raises EdgepackError."""
    found = diagnose(destination)
    code = RuntimeUnavailable.exit_code if found.missing else 0
    return Output(text=look.show(found, doctor_page(found)), exit_code=code)


def _check_names(bundle: Bundle, names: Sequence[str]) -> None:
    """Refuse, before a board is reached, what the bundle does not have."""
    there = [artifact.name for artifact in bundle.manifest.artifacts]
    problems = list(_unknown(names, there))
    if problems:
        raise UsageError("\n".join(problems), where="--artifact", advice=f"pack inspect {bundle.path}")


def _unknown(names: Sequence[str], there: Sequence[str]) -> Iterator[str]:
    for name in names:
        if name not in there:
            yield f"there is no {name!r}; {nearest(name, there) or 'there are ' + ', '.join(there)}"


def _check_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        what = f"{folder}: {error.strerror}"
        raise UsageError(what, where="-o", advice="a folder for the boards' reports") from None
