"""What each command of the device side does, once its options are known. Nothing here prints or exits."""

from collections.abc import Sequence
from pathlib import Path

from runner import atomic, codec, compare, device, measure, noise, report_reader, selftest, verify
from runner.bundle import open_bundle
from runner.compare import gate
from runner.device import topology
from runner.edge import INTERRUPTED
from runner.errors import LIMIT_MISSED, BundleError, EdgepackError, MeasurementError, UsageError
from runner.facts import DeviceFacts
from runner.measure import tensors
from runner.measure.latency import TURNS
from runner.measure.rounds import instruments
from runner.output import Look, Output
from runner.progress import Progress
from runner.render import report_page, units
from runner.render.comparison import comparison_page
from runner.render.selftest import selftest_page
from runner.report import Report, Settings
from runner.report_file import ReportFile, report_file
from runner.requests import Request, SelfTestRequest, Stated, TensorsRequest, TurnsRequest
from runner.worker.order import Probing

FOLDER = "a folder with -o"


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
        request.settings,
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
        request.settings,
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


def report_exit_code(found: Report) -> int:
    """Return the exit code that a measurement ends with."""
    if not found.complete:
        return INTERRUPTED
    return MeasurementError.exit_code if found.status == "invalid" else 0


def verify_document(path: Path) -> Output:
    """Check every hash of a bundle, and every figure of a report. Raises DocumentError."""
    if _is_json(path):
        found = report_reader.load(path)
        verify.hold(found, str(path))
        held = "figures and reasons" if verify.gives_reasons(found) else "figures"
        count = units.counted(len(found.artifacts), "artifact")
        text = f"the {held} of {count} follow from the record, and the digest fits"
        if not found.complete:
            timed = sum(artifact.latency is not None for artifact in found.artifacts)
            text = f"{text}; the run was interrupted, with {timed} of {len(found.artifacts)} timed"
        return Output(text=f"{path}: {text}\n  as reported, for no record proves them: {verify.unproven(found)}\n")
    bundle = open_bundle(path)
    host = bundle.host_report()
    if host:
        verify.hold(host, f"{path}: host report")
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


def write_tensors(request: TensorsRequest) -> Output:
    """Write what lies between the layers of an artifact for one sample."""
    atomic.check_destination(request.output)
    bundle = open_bundle(request.bundle)
    probing = Probing(file=request.probe, sample=request.sample)
    content = tensors.take(bundle, request.artifact, probing, request.threads)
    atomic.write(request.output, content)
    count = len(tensors.read(content, str(request.output)).probed)
    return Output(text=f"{request.output}: {count} tensors of {request.artifact} for sample {request.sample}\n")


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
        return report_reader.load(path)
    host = open_bundle(path).host_report()
    if host is None:
        raise BundleError("holds no host report", where=str(path), advice="pack it again, or name a report")
    return host
