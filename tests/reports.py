"""Builds reports for tests: real in every part, and consistent, so that a test changes only what it is about."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from runner import codec, facts, packing, report
from runner.facts import DeviceFacts, DeviceState, Gpu
from runner.interval import Interval
from runner.manifest import Format, LeftOut, Precision
from runner.measure import conditions, latency
from runner.measure.disturbance import disturbances
from runner.measure.gpu import gpu_disturbances
from runner.measure.latency import Timings
from runner.operators import OperatorTime
from runner.process import Counters, GpuCounters, Harness, Other, Process, Usage
from runner.reason import Reason
from runner.report import Accuracy, ArtifactReport, Latency, Report, Scenario
from tests.fakes import about_zero

LABELS = tuple(sample % 3 for sample in range(40))
KIB = 1024


def device(name: str = "Example CPU", machine: str = "x86_64", *, virtual: str | None = None) -> DeviceFacts:
    """Return the facts of a machine with ONNX Runtime, and no torch."""
    return DeviceFacts(
        machine=machine,
        system="Linux 6.1",
        cpu=name,
        features=("avx2", "avx512_vnni"),
        cpus=2,
        affinity=(0, 1),
        memory_bytes=8 << 30,
        cuda=(),
        emulated=None,
        virtual=virtual,
        governor="performance",
        python="3.11.7",
        board=None,
        runtimes=(
            facts.Runtime(format="onnx", package="onnxruntime", version="1.31.1", kernel="AVX-512 VNNI"),
            facts.Runtime(format="torchscript", package="torch", version=None, kernel="unknown"),
        ),
        environment={},
    )


def state() -> DeviceState:
    """Return what a machine without sensors says of itself."""
    return DeviceState(load_average=0.5, temperature_c=None, frequency_mhz=None, throttled=None, steal_fraction=None)


def process(median_ns: int, samples: int = 101) -> Process:
    """Return a process whose samples lie evenly about `median_ns`."""
    return Process(
        import_ns=90_000_000,
        load_ns=5_000_000,
        first_ns=3 * median_ns,
        warmup_ns=(2 * median_ns, median_ns),
        samples_ns=tuple(median_ns + step * (median_ns // 1000) for step in about_zero(samples)),
        imported_bytes=40 << 20,
        loaded_bytes=42 << 20,
        peak_bytes=48 << 20,
    )


def timed(medians_ns: Sequence[int], batch: int = 1) -> Latency:
    """Return what processes of these medians measured."""
    processes = tuple(process(median) for median in medians_ns)
    return summary(Timings(scenario=Scenario(threads=2, batch=batch), processes=processes, stopped="budget"))


def accuracy(wrong: Sequence[int] = ()) -> Accuracy:
    """Return answers that are right but for the samples in `wrong`, and those of the host."""
    predictions = tuple((label + 1) % 3 if sample in wrong else label for sample, label in enumerate(LABELS))
    losses = tuple(2.5 if sample in wrong else 0.125 for sample in range(len(LABELS)))
    right = sum(a == b for a, b in zip(predictions, LABELS, strict=True)) / len(LABELS)
    return Accuracy(
        samples=len(LABELS),
        top1=right,
        top5=None,
        loss=sum(losses) / len(losses),
        agreement=right,
        snr_db=31.5 if wrong else None,
        identical_to_host=True,
        max_abs_difference=0.0,
        flips=(),
        predictions=predictions,
        label_ranks=tuple(int(sample in wrong) for sample in range(len(LABELS))),
        losses=losses,
    )


def artifact(
    name: str, *, size: int, medians_us: Sequence[int] = (), wrong: Sequence[int] = (), reasons: tuple[Reason, ...] = ()
) -> ArtifactReport:
    """Return what was measured of an artifact; without medians it was not run."""
    precision, form = name.rpartition("-")[2].split(".")
    precisions: dict[str, Precision] = {"fp32": "fp32", "fp16": "fp16", "int8": "int8"}
    formats: dict[str, Format] = {"onnx": "onnx", "torchscript": "torchscript"}
    ran = bool(medians_us)
    return ArtifactReport(
        name=name,
        precision=precisions[precision],
        format=formats[form],
        sha256=f"{size:064x}",
        size_bytes=size,
        runtime=runtime(formats[form]) if ran else None,
        accuracy=accuracy(wrong) if ran else None,
        latency=timed([1000 * median for median in medians_us]) if ran else None,
        peak_bytes=48 << 20 if ran else None,
        reasons=reasons,
    )


def runtime(form: Format) -> report.RuntimeFacts:
    """Return the facts of a runtime on the CPU."""
    provider = "CPUExecutionProvider" if form == "onnx" else "torch qnnpack"
    version = "1.31.1" if form == "onnx" else "2.14.1"
    return report.RuntimeFacts(name=form, version=version, provider=provider, device="cpu", engine=None, threads=2)


def flip() -> report.Flip:
    """Return a sample that went from right to wrong."""
    return report.Flip(sample=1, label=1, host=1, device=2, host_margin=0.25, device_margin=0.5)


NOT_INSTALLED = Reason(
    code="no-runtime",
    level="note",
    detail="torch is not installed",
    advice="pip install 'edgepack[torch]'",
)


def host() -> Report:
    """Return a sealed report of a machine that ran two artifacts of three."""
    return report.seal(
        Report(
            bundle_id="ab" * 32,
            bundle_name="net",
            bundle_size_bytes=900 * KIB,
            target="x86",
            created="2026-11-01T12:00:00Z",
            edgepack="0.1.0",
            settings=report.Settings(threads=2),
            device=device(),
            before=state(),
            after=state(),
            labels=LABELS,
            reference_predictions=LABELS,
            artifacts=(
                artifact("fp32.onnx", size=200 * KIB, medians_us=(150, 152, 151, 149, 153)),
                artifact("int8.onnx", size=60 * KIB, medians_us=(60, 61, 62, 59, 58), wrong=(7,)),
                artifact("int8.torchscript", size=90 * KIB, reasons=(NOT_INSTALLED,)),
            ),
            fastest="fp32.onnx",
            reasons=(),
        )
    )


def board() -> Report:
    """Return a sealed report of a board that ran the same bundle: twice as slow, the same answers."""
    slower = (
        artifact("fp32.onnx", size=200 * KIB, medians_us=(300, 302, 303, 298, 301)),
        artifact("int8.onnx", size=60 * KIB, medians_us=(120, 122, 121, 119, 118), wrong=(7,)),
        artifact("int8.torchscript", size=90 * KIB, reasons=(NOT_INSTALLED,)),
    )
    facts = replace(device("Cortex-A76", "aarch64"), board="Raspberry Pi 5 Model B", features=("asimddp",), cpus=4)
    return report.seal(replace(host(), device=facts, artifacts=slower, created="2026-11-02T12:00:00Z"))


def with_artifact(whole: Report, changed: ArtifactReport) -> Report:
    """Return a sealed report in which one artifact's part is another."""
    parts = tuple(changed if part.name == changed.name else part for part in whole.artifacts)
    return report.seal(replace(whole, artifacts=parts))


def drop(drop: float, low: float, high: float, *, samples: int = 1000, top1: float = 0.9) -> packing.Drop:
    """Return by how much an artifact is less right than fp32."""
    interval = Interval(low=low, high=high, confidence=0.95, method="Bonett-Price")
    return packing.Drop(samples=samples, top1=top1, drop=drop, interval=interval)


def budget(*, holds: bool = True) -> packing.BudgetRecord:
    """Return how an artifact came to hold a budget of one point at its third try, or did not."""
    last = drop(0.005, -0.002, 0.012, top1=0.915) if holds else drop(0.0125, 0.002, 0.023, top1=0.9075)
    evaluated = drop(0.0075, 0.001, 0.014, samples=2000, top1=0.91)
    return packing.BudgetRecord(
        artifact="int8.onnx",
        max_drop=0.01,
        tries=(
            packing.Try(what="as the recipe has it", validation=drop(0.03, 0.018, 0.042, top1=0.89), holds=False),
            packing.Try(what="ranges by mse", validation=None, failure="no layer is left", holds=False),
            packing.Try(what="QAT, 2 epochs", validation=last, holds=holds),
        ),
        chosen="QAT, 2 epochs",
        evaluation=evaluated,
        holds=holds,
    )


def optimised() -> packing.Optimised:
    """Return a search that left a squeeze-excite in fp32."""
    within = Interval(low=0.8, high=0.9, confidence=0.96875, method="Hodges-Lehmann, exact signed-rank")
    middle = Interval(low=90_000.0, high=110_000.0, confidence=0.9922, method="order statistics")
    division = packing.Division(
        what="all in int8", ratio=1.2, interval=None, validation=None, accepted=False, reason="slower"
    )
    return packing.Optimised(
        artifact="int8-optimised.onnx",
        max_drop=0.01,
        duration_s=61.5,
        tried=(
            division,
            replace(
                division,
                what="Mul in fp32",
                ratio=0.85,
                interval=within,
                validation=budget().tries[0].validation,
                accepted=True,
                reason="",
            ),
        ),
        speeds=(
            packing.Speed(what="fp32", median_ns=100_000.0, interval=middle),
            packing.Speed(what="all in int8", median_ns=120_000.0, interval=middle, ratio=1.2, interval_of_ratio=None),
            packing.Speed(what="optimised", median_ns=85_000.0, interval=middle, ratio=0.85, interval_of_ratio=within),
        ),
        fp32={"Mul": 2},
        int8={"Conv": 3, "depthwise Conv": 1},
    )


def packed() -> packing.Packing:
    """Return how a bundle came to be that has something in every field."""
    epoch = packing.Epoch(
        stage="train",
        epoch=1,
        learning_rate=0.004,
        train_loss=0.5,
        train_accuracy=0.8,
        validation_loss=0.4,
        validation_accuracy=0.85,
        duration_s=2.5,
    )
    return packing.Packing(
        epochs=(epoch,),
        steps=(packing.StepRecord(step="train", duration_s=2.5, cached=False),),
        networks=(
            packing.NetworkFacts(name="", parameters=600, nonzero=500, macs=40_000),
            packing.NetworkFacts(name="unpruned", parameters=1000, nonzero=1000, macs=90_000),
        ),
        sensitivity=(
            packing.LayerDamage(layer="conv1", snr_db=18.5, changed=0.02),
            packing.LayerDamage(layer="linear", snr_db=None, changed=0.0),
        ),
        budgets=(budget(),),
        optimised=(optimised(),),
        left_out=(LeftOut(name="int8.torchscript", what="it cannot be traced", advice="int8.onnx"),),
        contenders=(
            packing.Contender(
                name="int8.onnx",
                size_bytes=50 * KIB,
                top1=0.75,
                cost_ns=60_000.0,
                interval=Interval(low=59_000.0, high=61_000.0, confidence=0.75, method="order statistics"),
                kept=True,
                why="the fastest",
            ),
            packing.Contender(
                name="fp16.onnx",
                size_bytes=100 * KIB,
                top1=0.75,
                cost_ns=90_000.0,
                kept=False,
                why="int8.onnx is as fast, as small and as right, or better",
            ),
            packing.Contender(
                name="int8.torchscript",
                size_bytes=None,
                top1=None,
                cost_ns=None,
                kept=False,
                why="left out: it cannot be traced",
            ),
        ),
    )


def gpu() -> Gpu:
    """Return what NVML knows of a GPU."""
    return Gpu(
        name="Example GPU",
        uuid="GPU-00000000-1111-2222-3333-444444444444",
        pci_bus_id="00000000:3B:00.0",
        compute_capability="9.0",
        memory_bytes=140 << 30,
        max_sm_mhz=1980,
        max_memory_mhz=3201,
        power_limit_w=700.0,
        persistence=True,
        ecc=True,
        mig=False,
        driver="580.95.05",
        cuda="13.0",
    )


def gpu_counters() -> GpuCounters:
    """Return what a GPU says of itself that a worker has to itself, at a clock that was set."""
    return GpuCounters(
        sm_mhz=1755,
        memory_mhz=3201,
        event_reasons=2,
        temperature_c=61.0,
        power_w=699.5,
        busy=0.75,
        used_bytes=1200 << 20,
        worker_bytes=600 << 20,
        processes=1,
    )


def counters() -> Counters:
    """Return what a machine says of itself that can be asked everything."""
    return Counters(
        monotonic_ns=2_000_000_000,
        load_average=0.5,
        temperature_c=50.5,
        frequency_mhz=2400.0,
        throttled_now=1,
        throttled_since_boot=5,
        heat_throttles=2,
        nr_throttled=3,
        steal_ticks=40,
        total_ticks=4000,
        gpu=gpu_counters(),
    )


def complete_process() -> Process:
    """Return a process that has something in every field, and as many samples as p99 needs."""
    return replace(
        process(60_000, samples=299),
        turn=1,
        warmup_ns=(120_000,),
        device_ns=(41_000, 40_000),
        harness=Harness(resolution_ns=20, overhead_ns=85.5),
        usage=Usage(
            began_ns=2_000_000_000,
            ended_ns=3_000_000_000,
            major_faults=1,
            involuntary_switches=2,
            cpu_ns=1_900_000_000,
            swap_bytes=4096,
        ),
        machine=(counters(), counters()),
        others=(Other(name="rsync", cpus=0.25),),
        waited_s=1.5,
        cpus=(0, 1),
        import_peak_bytes=41 << 20,
        load_peak_bytes=43 << 20,
        run_peak_bytes=48 << 20,
        gpu_allocated_bytes=21 << 20,
        gpu_reserved_bytes=22 << 20,
    )


def summary(timings: Timings) -> Latency:
    """Return what follows from the times of processes of which at least one has finished."""
    found = latency.latency(timings)
    assert found is not None
    return found


COMPLETE = Timings(
    scenario=Scenario(threads=2, batch=4, streams=2),
    processes=(complete_process(),),
    failures=("killed by signal 9",),
    stopped="failures",
)
"""What a latency follows from that has something in every field."""


def complete_artifact() -> ArtifactReport:
    """Return what was measured of an artifact, with something in every field."""
    short = replace(process(60_000), samples_ns=(61_000, 60_000, 59_000), warmup_ns=(120_000,))
    answers = replace(
        accuracy((1,)),
        samples=2,
        top1=0.5,
        top5=1.0,
        loss=1.3125,
        agreement=0.5,
        identical_to_host=False,
        max_abs_difference=0.75,
        furthest_sample=1,
        least_cosine=0.96875,
        kl_nats=0.015625,
        flips=(flip(),),
        predictions=(0, 2),
        label_ranks=(0, 1),
        losses=(0.125, 2.5),
    )
    few = Timings(scenario=Scenario(threads=1, batch=8, streams=2), processes=(replace(short, calls_per_sample=3),))
    together = replace(summary(few), reasons=latency.reasons(few))
    return replace(
        artifact("int8.torchscript", size=60 * KIB, medians_us=(60,)),
        title="PTQ static FX",
        runtime=replace(runtime("torchscript"), engine="qnnpack", nodes=12, cpu_nodes=("TopK",)),
        expected=report.Expectation(
            kernel="QNNPACK", least_speedup=0.25, most_speedup=0.5, evidence="MobileNetV2 and ResNet-18"
        ),
        accuracy=answers,
        latency=summary(COMPLETE),
        scenarios=(together,),
        energy=(
            report.EnergyUse(meter="pmic", scope="the rails", duration_ns=10**10, inferences=4000, joules=8.0),
            report.EnergyUse(
                meter="rapl",
                scope="the CPU packages",
                duration_ns=10**10,
                inferences=4000,
                joules=None,
                reason="it may be read by root alone",
            ),
        ),
        operators=(
            OperatorTime(
                name="quantized::conv2d_relu 1", op_type="quantized::conv2d_relu", calls=1.0, mean_ns=7500.0, share=0.75
            ),
            OperatorTime(
                name="quantized::linear 1", op_type="quantized::linear", calls=1.0, mean_ns=2500.0, share=0.25
            ),
        ),
        reasons=(*latency.reasons(COMPLETE), *disturbances(COMPLETE.processes), *gpu_disturbances(COMPLETE.processes)),
    )


def complete() -> Report:
    """Return a small sealed report that has something in every field but the fastest, for it was emulated too."""
    facts = replace(
        device(virtual="kvm"),
        board="Example Board",
        cuda=("Example GPU",),
        emulated="qemu",
        environment={"A": "1"},
        cpu_quota=1.5,
        gpu=gpu(),
        gpu_unknown="no document has both, but for this one",
    )
    sensors = DeviceState(
        load_average=0.5,
        temperature_c=50.5,
        frequency_mhz=2400.0,
        throttled=False,
        steal_fraction=0.01,
        gpu=gpu_counters(),
    )
    settings = report.Settings(
        effort="standard",
        threads=2,
        batch=4,
        streams=2,
        more=(Scenario(threads=1, batch=8, streams=2),),
        seed=7,
        profile_ops=True,
        minimise="cold-start",
    )
    return report.seal(
        replace(
            host(),
            settings=settings,
            device=facts,
            before=sensors,
            after=sensors,
            labels=(0, 1),
            reference_predictions=(0, 1),
            artifacts=(complete_artifact(), artifact("fp32.onnx", size=200 * KIB, reasons=(NOT_INSTALLED,))),
            fastest=None,
            reasons=conditions.fact_reasons(facts),
            complete=False,
            packing=packed(),
            interleaved="ef" * 16,
            noise_floor=0.045,
            inputs_sha256="cd" * 32,
        )
    )


def write_golden() -> None:
    """Write the golden report of the newest schema: only while no release has that schema."""
    path = Path(__file__).parent / "golden" / f"report-{report.SCHEMA}.json"
    path.write_text(codec.write_json(complete(), indent=1), encoding="utf-8")


if __name__ == "__main__":
    write_golden()
