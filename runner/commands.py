"""What each command of the device side does, once its options are known. Nothing here prints or exits."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from runner import atomic, codec, compare, device, measure, noise, report, selftest, verify
from runner.bundle import open_bundle
from runner.compare import gate
from runner.compare.comparison import Limits, Margins
from runner.device import topology
from runner.edge import INTERRUPTED
from runner.errors import LIMIT_MISSED, BundleError, EdgepackError, MeasurementError, ReportError, UsageError
from runner.facts import DeviceFacts
from runner.measure.latency import TURNS
from runner.measure.rounds import instruments
from runner.progress import Progress
from runner.render import device_page, report_page, units
from runner.render.comparison import comparison_page
from runner.render.page import WIDTH, Emphasis, Page, as_markdown, as_text
from runner.render.selftest import selftest_page
from runner.report import Effort, Report, Scenario, Settings
from runner.report_file import ReportFile, report_file

FOLDER = "a folder with -o"

Style = Literal["text", "markdown", "json"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Output:
    """What goes to stdout, and the exit code after it."""

    text: str
    exit_code: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """How a document is shown."""

    style: Style
    emphasis: Emphasis = str
    width: int = WIDTH
    """Of text, in columns."""

    def show(self, document: object, page: Page) -> str:
        """Return the document as JSON, or the page that was made of it."""
        if self.style == "json":
            return codec.write_json(document, indent=2)
        return as_markdown(page) if self.style == "markdown" else as_text(page, self.emphasis, self.width)


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What is to be measured, how, and where the report goes. None is the default."""

    bundle: Path
    output: Path | None
    artifacts: tuple[str, ...]
    threads: tuple[int, ...]
    batches: tuple[int, ...]
    streams: tuple[int, ...]
    """Of more than one of a kind every combination is timed; the answers are taken with the first of each."""
    effort: Effort
    seed: int
    profile_ops: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Stated:
    """By what two sides are judged: fractions, and nanoseconds."""

    max_slowdown: float | None
    max_latency: float | None
    max_accuracy_drop: float | None
    margin: float
    accuracy_margin: float
    strict: bool
    as_json: bool
    as_markdown: bool

    def __post_init__(self) -> None:
        """Raise UsageError for two styles at once."""
        if self.as_json and self.as_markdown:
            raise UsageError("--json and --markdown exclude each other")

    @property
    def limits(self) -> Limits:
        """What the user does not put up with."""
        return Limits(
            max_slowdown=self.max_slowdown,
            max_accuracy_drop=self.max_accuracy_drop,
            max_latency_ns=self.max_latency,
            strict=self.strict,
        )

    @property
    def margins(self) -> Margins:
        """What is of no interest to the user."""
        return Margins(latency=self.margin, accuracy=self.accuracy_margin)


@dataclass(frozen=True, kw_only=True, slots=True)
class TurnsRequest:
    """Which two bundles are to be measured in turn, how, and what the second is held to."""

    bundles: tuple[Path, Path]
    output: Path | None
    """A folder for the two reports."""
    artifacts: tuple[str, ...]
    threads: int | None
    batch: int
    streams: int
    effort: Effort
    seed: int
    stated: Stated


@dataclass(frozen=True, kw_only=True, slots=True)
class SelfTestRequest:
    """With which artifact the machine is tested, and how long."""

    bundle: Path
    artifact: str | None
    threads: int | None
    pairs: tuple[int, int, int]
    """Of sessions: unchanged, made longer by 3 % and by 5 %; each as often again in turn."""


def measure_bundle(request: Request, look: Look, progress: Progress) -> Output:
    """Measure a bundle and write the report; a disk that is full does not lose what is shown."""
    destination = request.output or Path(f"{request.bundle.name.removesuffix('.edgepack')}.report.json")
    file, bundle = report_file(destination), open_bundle(request.bundle)
    if destination.exists() and destination.samefile(bundle.path):
        raise UsageError(
            "is the bundle itself, and the report would replace it", where=str(destination), advice=atomic.ADVICE
        )
    found = measure.run(
        bundle,
        _settings(request),
        only=request.artifacts,
        progress=progress,
        bench=measure.Bench(save=file.keep),
    )
    code = _written([(file, found)], progress) or report_exit_code(found)
    text = codec.write_json(found) if look.style == "json" else look.show(found, report_page(found))
    return Output(text=text, exit_code=code)


def take_turns(request: TurnsRequest, look: Look, progress: Progress) -> Output:
    """Measure two bundles in turn, write both reports, and judge the second beside the first."""
    sources = (open_bundle(request.bundles[0]), open_bundle(request.bundles[1]))
    settings = Settings(
        effort=request.effort,
        threads=request.threads or topology.default_threads(),
        batch=request.batch,
        streams=request.streams,
        seed=request.seed,
    )
    if request.output and request.output.is_file():
        raise UsageError("is a file, and the two reports go into a folder", where=str(request.output), advice=FOLDER)
    if request.output and request.output.parent.is_dir():
        request.output.mkdir(exist_ok=True)
    files = [report_file(request.output / f"{letter}.report.json") for letter in "ab"] if request.output else []

    def keep(so_far: tuple[Report, Report]) -> None:
        for file, found in zip(files, so_far, strict=False):
            file.keep(found)

    first, second = measure.run_in_turn(
        sources,
        settings,
        only=request.artifacts,
        progress=progress,
        bench=measure.Bench(plans=TURNS),
        save=keep,
    )
    failed = _written(list(zip(files, (first, second), strict=False)), progress)
    judged = compare.compare(first, second, request.stated.limits, request.stated.margins)
    missed = LIMIT_MISSED if judged.violated and first.complete else 0
    code = failed or missed or report_exit_code(first) or report_exit_code(second)
    return Output(text=look.show(judged, comparison_page(judged)), exit_code=code)


def self_test(request: SelfTestRequest, look: Look, progress: Progress) -> Output:
    """Test how well this machine can be measured, and remember its noise floor."""
    bundle, facts = open_bundle(request.bundle), device.facts()
    settings = Settings(threads=request.threads or topology.default_threads())
    applied = gate.floor_of(facts, noise.load(facts, settings.threads))
    tools = instruments()  # now: answers warm the machine
    with measure.one_course(bundle, request.artifact, settings, progress) as course:
        found = selftest.selftest(course, facts, applied, request.pairs, tools, progress)
    code = 0
    obstacle = selftest.not_to_remember(found)
    if obstacle:
        progress.say(f"noise floor: not remembered, for {obstacle}")
    else:
        try:
            progress.say(f"noise floor: {_remembered(facts, selftest.remembered(found, facts))}")
        except EdgepackError as error:
            progress.say(f"error: {error}")
            code = error.exit_code
    text = look.show(found, selftest_page(found))
    return Output(text=text, exit_code=code if found.complete else INTERRUPTED)


def _remembered(facts: DeviceFacts, found: noise.NoiseFloor) -> str:
    kept, file = noise.store(facts, found), noise.path(facts, found.threads)
    if kept is found:
        return str(file)
    earlier = f"{units.percent(kept.floor)} in {kept.pairs} pairs at {kept.created}"
    return f"as large as before, {earlier}, for this is smaller and of no more pairs: {file}"


def _written(reports: Sequence[tuple[ReportFile, Report]], progress: Progress) -> int:
    """Write reports, and return 0, or the exit code where the disk refuses one: what was measured is shown then too."""
    code = 0
    for file, found in reports:
        try:
            written = file.write(found)
            kept = f" ({file.whole} stays as it was)" if written != file.whole else ""
            progress.say(f"report: {written}{kept}")
        except EdgepackError as error:
            progress.say(f"error: {error}")
            code = error.exit_code
    return code


def _settings(request: Request) -> Settings:
    """Return how it is to be measured: the first scenario, and the others in the order in which they were asked for."""
    kinds = (request.threads or (topology.default_threads(),), request.batches, request.streams)
    first, *more = (Scenario(threads=each[0], batch=each[1], streams=each[2]) for each in itertools.product(*kinds))
    return Settings(
        effort=request.effort,
        threads=first.threads,
        batch=first.batch,
        streams=first.streams,
        more=tuple(more),
        seed=request.seed,
        profile_ops=request.profile_ops,
    )


def report_exit_code(found: Report) -> int:
    """Return the exit code that a measurement ends with."""
    if not found.complete:
        return INTERRUPTED
    return MeasurementError.exit_code if found.status == "invalid" else 0


def verify_document(path: Path) -> Output:
    """Check every hash of a bundle, and every figure of a report. Raises DocumentError."""
    if _is_json(path):
        found = report.load(path)
        _check_figures(found, str(path))
        held = "figures and reasons" if verify.gives_reasons(found) else "figures"
        text = f"the {held} of {len(found.artifacts)} artifacts follow from the record, and the digest fits"
        return Output(text=f"{path}: {text}\n  as reported, for no record proves them: {verify.unproven(found)}\n")
    bundle = open_bundle(path)
    host = bundle.host_report()
    if host:
        _check_figures(host, f"{path}: host report")
    counts = f"{len(bundle.manifest.entries)} entries, {len(bundle.manifest.artifacts)} artifacts"
    return Output(text=f"{path}: every hash fits: {counts}, bundle {bundle.id}\n")


def compare_reports(host: Path, device_path: Path, stated: Stated, look: Look) -> Output:
    """Compare two reports, or the host reports of bundles. Raises DocumentError, and UsageError for one alone."""
    ours, theirs = _read_report(host), _read_report(device_path)
    if ours.digest == theirs.digest:
        raise UsageError(
            "is the same report as the first: nothing can differ, and so nothing is judged",
            where=str(device_path),
            advice="bench-runner selftest, which tells how often a difference is found where there is none",
        )
    found = compare.compare(ours, theirs, stated.limits, stated.margins)
    return Output(text=look.show(found, comparison_page(found)), exit_code=LIMIT_MISSED if found.violated else 0)


def show_device(look: Look) -> Output:
    """Show what this machine is."""
    facts, state = device.facts(), device.state()
    return Output(text=look.show({"facts": facts, "state": state}, device_page(facts, state)))


def _is_json(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            begin = file.read(64)
    except OSError as error:
        raise BundleError(f"cannot be read: {error.strerror}", where=str(path)) from None
    # What is named so is meant as one, whatever is in it; a bundle is a ZIP file, and they all begin alike.
    return begin.lstrip().startswith((b"{", b"[")) or (path.suffix == ".json" and not begin.startswith(b"PK"))


def _read_report(path: Path) -> Report:
    if _is_json(path):
        return report.load(path)
    host = open_bundle(path).host_report()
    if host is None:
        raise BundleError("holds no host report", where=str(path), advice="pack it again, or name a report")
    return host


def _check_figures(found: Report, where: str) -> None:
    problems = verify.contradictions(found)
    if problems:
        raise ReportError("\n  ".join(("figures do not follow from the record:", *problems)), where=where)
