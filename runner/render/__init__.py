"""Reports and devices as pages: what a person looks at after a run."""

from collections.abc import Iterator, Sequence

from runner.render import units
from runner.render.packing import packing_blocks
from runner.render.page import Block, Listing, Page, Table, Title, drop_empty_columns
from runner.render.units import NONE, Scale
from runner.report import Accuracy, ArtifactReport, DeviceFacts, DeviceState, Latency, Reason, Report

STATUS = {
    "valid": "Valid.",
    "caveats": "Valid, with caveats: see the notes.",
    "invalid": "Not valid: see the notes.",
}


def report_page(report: Report) -> Page:
    """Return a report as a page: figures beside those of fp32, details, the fastest, and every reason."""
    notes = _numbered(report.artifacts)
    names = [_marked(artifact, notes) for artifact in report.artifacts]
    run = tuple(reason.line for reason in report.reasons)
    blocks: list[Block] = [
        Title(text=f"{report.bundle_name} for {report.target}"),
        f"{device_line(report.device)} · {run_line(report)} · {bundle_line(report)}",
        _figures(report, names),
        _legend(report),
        _details(report),
        _fastest(report),
    ]
    lines = (*(f"[{number}] {text}" for text, number in notes.items()), *run)
    if lines:
        blocks.append(Listing(head="Notes", lines=lines))
    if report.packing:
        blocks += packing_blocks(report, report.packing)
    blocks.append(
        STATUS[report.status] if report.complete else f"Interrupted before it was done. {STATUS[report.status]}"
    )
    return tuple(block for block in blocks if block)


def device_page(facts: DeviceFacts, state: DeviceState) -> Page:
    """Return what a machine is, what it does at this moment, and what can run on it, as a page."""
    memory = units.size_scale([facts.memory_bytes]).show(facts.memory_bytes)
    rows = (
        ("system", f"{facts.system}, {facts.python}"),
        ("CPUs", f"{facts.cpus} usable, numbers {', '.join(map(str, facts.affinity))}"),
        ("quota", "none" if facts.cpu_quota is None else f"{facts.cpu_quota:g} CPUs"),
        ("memory", memory),
        ("CUDA", ", ".join(facts.cuda) or "no device"),
        ("virtual", facts.virtual or "no"),
        ("emulated", facts.emulated or "no"),
        ("governor", facts.governor or NONE),
        ("load", units.number(state.load_average, 2)),
        ("temperature", f"{units.number(state.temperature_c, 1)} °C" if state.temperature_c is not None else NONE),
        ("frequency", f"{units.number(state.frequency_mhz, 0)} MHz" if state.frequency_mhz is not None else NONE),
        ("throttled", NONE if state.throttled is None else "yes" if state.throttled else "no"),
    )
    runtimes = tuple(
        (runtime.format, f"{runtime.package} {runtime.version or 'not installed'}", runtime.kernel)
        for runtime in facts.runtimes
    )
    variables = ", ".join(f"{name}={value}" for name, value in facts.environment.items())
    return (
        Title(text=device_line(facts)),
        Table(columns=("fact", "value"), rows=rows, left=2),
        f"Instructions for int8 and half precision: {', '.join(facts.features) or 'none'}",
        f"Variables that change a runtime's speed: {variables or 'none is set'}",
        Table(columns=("artifacts", "runtime", "int8 kernels"), rows=runtimes, left=3),
    )


def told(reason: Reason) -> str:
    """Return a reason as one line."""
    return reason.line


def device_line(facts: DeviceFacts) -> str:
    """Return what a machine is, in a few words."""
    name = f"{facts.board} ({facts.cpu})" if facts.board else facts.cpu
    return ", ".join((name, facts.machine, f"{facts.cpus} CPU{'s' if facts.cpus > 1 else ''}", *facts.cuda))


def run_line(report: Report) -> str:
    """Return how it was measured, in a few words."""
    settings = report.settings
    threads = f"{settings.threads} thread{'s' if settings.threads > 1 else ''}"
    return f"{threads}, batch {settings.batch}, {settings.effort} effort, {report.created}"


def bundle_line(report: Report) -> str:
    """Return which bundle it was, in a few words."""
    size = report.bundle_size_bytes
    return f"bundle {report.bundle_id[:12]}" + (f", {units.size_scale([size]).show(size)}" if size else "")


def _numbered(artifacts: Sequence[ArtifactReport]) -> dict[str, int]:
    texts = dict.fromkeys(text for artifact in artifacts for text in _reasons(artifact))
    return {text: number for number, text in enumerate(texts, start=1)}


def _reasons(artifact: ArtifactReport) -> Iterator[str]:
    yield from (reason.line for reason in artifact.reasons)
    if artifact.latency:
        yield from artifact.latency.failures
        if artifact.latency.p95_ns is None:
            yield "p95 needs 59 samples in each process"


def _marked(artifact: ArtifactReport, notes: dict[str, int]) -> str:
    marks = ", ".join(str(notes[text]) for text in _reasons(artifact))
    name = artifact.title or artifact.name
    return f"{name} [{marks}]" if marks else name


def base(report: Report) -> ArtifactReport | None:
    """Return the artifact that the others are held against: fp32.onnx, or else the first fp32."""
    first = next((artifact for artifact in report.artifacts if artifact.precision == "fp32"), None)
    return report.artifact("fp32.onnx") or first


def _figures(report: Report, names: Sequence[str]) -> Table:
    fp32 = base(report)
    sizes = units.size_scale([artifact.size_bytes for artifact in report.artifacts])
    times = units.time_scale([it.latency.median_ns for it in report.artifacts if it.latency], resolution=0.002)
    rows = [
        (name, *_file_cells(it, fp32, sizes), *_answer_cells(it.accuracy), *_latency_cells(it, fp32, times))
        for name, it in zip(names, report.artifacts, strict=True)
    ]
    columns = (
        "artifact",
        "size",
        "ratio",
        "top-1",
        "top-5",
        "loss",
        "agreement",
        "latency",
        "ratio",
        "interval",
        "p95",
    )
    best = [artifact.name == report.fastest for artifact in report.artifacts]
    table = Table(columns=columns, rows=tuple(rows), best=best.index(True) if any(best) else None)
    return drop_empty_columns(table, NONE)


def _file_cells(artifact: ArtifactReport, fp32: ArtifactReport | None, sizes: Scale) -> tuple[str, ...]:
    ratio = artifact.size_bytes / fp32.size_bytes if fp32 and fp32.size_bytes else None
    return sizes.show(artifact.size_bytes), units.times(ratio)


def _answer_cells(accuracy: Accuracy | None) -> tuple[str, ...]:
    if accuracy is None:
        return NONE, NONE, NONE, NONE
    shares = (accuracy.top1, accuracy.top5)
    return (*map(units.percent, shares), units.number(accuracy.loss, 4), units.percent(accuracy.agreement))


def _latency_cells(artifact: ArtifactReport, fp32: ArtifactReport | None, times: Scale) -> tuple[str, ...]:
    latency = artifact.latency
    if latency is None:
        return NONE, NONE, NONE, NONE
    span = times.span(latency.interval.low, latency.interval.high)
    return times.show(latency.median_ns), units.times(_ratio(artifact, fp32)), span, times.show(latency.p95_ns)


def _ratio(artifact: ArtifactReport, fp32: ArtifactReport | None) -> float | None:
    if artifact.latency is None or fp32 is None or fp32.latency is None:
        return None
    return artifact.latency.median_ns / fp32.latency.median_ns


def _legend(report: Report) -> str:
    fp32 = base(report)
    ratios = f"ratio: to {fp32.name}. " if fp32 else ""
    agreement = f"agreement: with the fp32 model on the host, over {len(report.labels):,} samples. "
    measured = [artifact.latency for artifact in report.artifacts if artifact.latency]
    if not measured:
        return ratios + agreement
    fewest = min(measured, key=lambda latency: len(latency.processes))
    count, coverage = len(fewest.processes), units.percent(fewest.interval.confidence, 1)
    return f"{ratios}{agreement}latency: median of {count} process medians and its {coverage} interval."


def _details(report: Report) -> Table | str:
    ran = [it for it in report.artifacts if it.runtime]
    timed = [it.latency for it in ran if it.latency]
    loads = units.time_scale([latency.load_ns for latency in timed])
    firsts = units.time_scale([latency.first_ns for latency in timed])
    peaks = units.size_scale([it.peak_bytes for it in ran])
    rows = tuple(
        (
            it.name,
            runtime_line(it),
            *_start_cells(it.latency, loads, firsts),
            peaks.show(it.peak_bytes),
            *_host_cells(it),
        )
        for it in ran
    )
    columns = ("artifact", "runtime", "throughput", "load", "first", "peak memory", "SNR", "as on host")
    return drop_empty_columns(Table(columns=columns, rows=rows, left=2), NONE) if rows else ""


def runtime_line(artifact: ArtifactReport) -> str:
    """Return what executed an artifact, in a few words."""
    runtime = artifact.runtime
    if runtime is None:
        return NONE
    package = {"onnx": "onnxruntime", "torchscript": "torch"}[runtime.name]
    provider = runtime.provider.replace("ExecutionProvider", "").removeprefix("torch ")
    return f"{package} {runtime.version}, {provider}"


def _start_cells(latency: Latency | None, loads: Scale, firsts: Scale) -> tuple[str, ...]:
    if latency is None:
        return NONE, NONE, NONE
    return units.rate(latency.throughput_per_s), loads.show(latency.load_ns), firsts.show(latency.first_ns)


def _host_cells(artifact: ArtifactReport) -> tuple[str, ...]:
    accuracy = artifact.accuracy
    if accuracy is None:
        return NONE, NONE
    snr = NONE if accuracy.snr_db is None else f"{accuracy.snr_db:.1f} dB"
    flips = f"{len(accuracy.flips)} flip{'' if len(accuracy.flips) == 1 else 's'}"
    return snr, "identical" if accuracy.identical_to_host else flips


def _fastest(report: Report) -> str:
    fastest, fp32 = report.artifact(report.fastest or ""), base(report)
    if fastest is None:
        return "Fastest: none. No artifact has both a latency and answers that hold."
    ratio = _ratio(fastest, fp32)
    beside = f", {units.times(ratio)} the latency of {fp32.name}" if fp32 and ratio and fp32 != fastest else ""
    return f"Fastest with answers that hold: {fastest.name}{beside}"
