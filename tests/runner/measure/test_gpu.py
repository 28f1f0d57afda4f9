"""What a GPU's record says of the figures taken on it: every reason, from the record alone."""

from dataclasses import replace

import pytest

from runner.facts import DeviceFacts, DeviceState
from runner.manifest import Device
from runner.measure.gpu import ALONE, LOCK, gpu_disturbances, gpu_reasons
from runner.process import GpuCounters, Process, Usage
from runner.reason import Reason
from runner.report import RuntimeFacts
from tests import reports
from tests.fakes import counters, fake_process

SECOND = 1_000_000_000
USAGE = Usage(
    began_ns=10 * SECOND, ended_ns=12 * SECOND, major_faults=0, involuntary_switches=0, cpu_ns=SECOND, swap_bytes=0
)
CALM = replace(reports.gpu_counters(), event_reasons=0)


def watched(*gpu: GpuCounters | None, began_s: int = 10) -> Process:
    """Return a process whose GPU was asked once a second from `began_s` on; its window is second 10 to 12."""
    seen = tuple(
        replace(counters(monotonic_ns=(began_s + second) * SECOND), gpu=each) for second, each in enumerate(gpu)
    )
    return replace(fake_process(1_000), usage=USAGE, machine=seen)


def bits(value: int) -> GpuCounters:
    """Return what a GPU says that is held back for these reasons."""
    return replace(CALM, event_reasons=value)


QUIET = watched(CALM, CALM)


@pytest.mark.parametrize(
    ("process", "reason"),
    [
        pytest.param(
            watched(CALM, bits(0x48), CALM),
            Reason(
                code="throttled",
                level="invalid",
                detail="the GPU slowed itself down while it was timed (HW slowdown, HW thermal slowdown), "
                "in 1 of 3 processes",
                evidence={"processes": 1, "most": 0x48},
                advice=f"better cooling or power, or a lower clock. {LOCK}",
            ),
            id="heat in mid-run, by the hardware",
        ),
        pytest.param(
            watched(bits(0x20), bits(0x80)),
            Reason(
                code="throttled",
                level="invalid",
                detail="the GPU slowed itself down while it was timed (SW thermal slowdown, HW power brake slowdown), "
                "in 1 of 3 processes",
                evidence={"processes": 1, "most": 0xA0},
                advice=f"better cooling or power, or a lower clock. {LOCK}",
            ),
            id="heat and a power brake, one after the other",
        ),
        pytest.param(
            watched(CALM, bits(0x08)),
            Reason(
                code="throttled",
                level="caveat",
                detail="the GPU's hardware held it back while it was timed, or changed its clock (HW slowdown), "
                "in 1 of 3 processes",
                evidence={"processes": 1, "most": 0x08},
                advice=f"better cooling or power, or a lower clock. {LOCK}",
            ),
            id="a slow-down that tells no cause, as in a change of clock",
        ),
        pytest.param(
            watched(bits(0x04), CALM),
            Reason(
                code="power-capped",
                level="note",
                detail="the GPU's clock was held below what was asked for by its power limit (SW power cap), "
                "in 1 of 3 processes",
                evidence={"processes": 1, "most": 0x04},
                advice=LOCK,
            ),
            id="the power limit",
        ),
        pytest.param(
            watched(CALM, replace(CALM, processes=3)),
            Reason(
                code="gpu-contended",
                level="caveat",
                detail="2 other programs computed on the GPU, in 1 of 3 processes",
                evidence={"processes": 1, "most": 2},
                advice=ALONE,
            ),
            id="other programs beside the worker",
        ),
        pytest.param(
            watched(CALM, replace(CALM, sm_mhz=1410)),
            Reason(
                code="clocks-not-locked",
                level="caveat",
                detail="the GPU's clock moved between 1,410 and 1,755 MHz while it was timed: nothing holds it",
                evidence={"least_mhz": 1410, "most_mhz": 1755},
                advice=LOCK,
            ),
            id="a clock that moves",
        ),
    ],
)
def test_what_the_gpu_met_is_told_with_its_evidence(process: Process, reason: Reason) -> None:
    assert [*gpu_disturbances([QUIET, process, QUIET])] == [reason]


def test_a_clock_that_is_another_in_another_process_has_moved_too() -> None:
    slow = watched(replace(CALM, sm_mhz=1500))
    assert [reason.evidence for reason in gpu_disturbances([QUIET, slow])] == [{"least_mhz": 1500, "most_mhz": 1755}]


@pytest.mark.parametrize(
    "process",
    [
        pytest.param(fake_process(1_000), id="nobody watched"),
        pytest.param(watched(None, None), id="a machine without a GPU"),
        pytest.param(QUIET, id="a GPU at one clock"),
        pytest.param(
            watched(bits(0x61), replace(bits(0x61), sm_mhz=345, processes=4), began_s=8),
            id="what was before the window: an idle clock, others, heat",
        ),
        pytest.param(watched(CALM, replace(CALM, sm_mhz=1740)), id="one step of the clock"),
        pytest.param(watched(bits(0x03)), id="an idle moment, and a clock that was set"),
        pytest.param(watched(replace(CALM, event_reasons=None, sm_mhz=None, processes=None)), id="a mute driver"),
        pytest.param(watched(replace(CALM, processes=0)), id="a container that sees no programs"),
    ],
)
def test_what_did_not_happen_or_cannot_be_known_is_not_told(process: Process) -> None:
    assert [*gpu_disturbances([process] * 5)] == []


# What is told of a GPU before anything is timed


def said(
    runtime: RuntimeFacts, facts: DeviceFacts | None = None, idle: GpuCounters | None = None
) -> list[tuple[str, str, str]]:
    """Return code, level and detail of each reason."""
    before: DeviceState = replace(reports.state(), gpu=idle)
    whole = facts or replace(reports.device(), gpu=reports.gpu())
    return [(reason.code, reason.level, reason.detail) for reason in gpu_reasons(runtime, whole, before)]


def on(device: Device) -> RuntimeFacts:
    """Return the facts of a runtime on a device."""
    return replace(reports.runtime("onnx"), device=device)


IDLE = replace(CALM, processes=0, busy=0.02)


def test_of_a_quiet_gpu_nothing_is_said() -> None:
    assert said(on("cuda"), idle=IDLE) == said(on("cuda"), idle=None) == []


def test_nodes_that_run_on_the_cpu_are_counted_and_named() -> None:
    left = replace(on("cuda"), nodes=60, cpu_nodes=("TopK", "NonZero", "TopK"))
    (reason,) = gpu_reasons(left, reports.device(), reports.state())
    assert (reason.code, reason.level, reason.evidence) == ("cpu-nodes", "caveat", {"cpu_nodes": 3, "nodes": 60})
    assert reason.detail == ("3 of 60 nodes ran on the CPU, where ONNX Runtime has placed them: NonZero, TopK 2 times")
    assert reason.advice.startswith("no operators that the GPU has no kernels for; ")


def test_a_gpu_that_nobody_could_watch_is_a_note_with_its_reason() -> None:
    facts = replace(reports.device(), cuda=("Example GPU",), gpu_unknown="nvidia-ml-py is not installed")
    detail = "nobody watched the GPU's clock, heat, throttling and memory: nvidia-ml-py is not installed"
    assert said(on("cuda"), facts) == [("no-nvml", "note", detail)]


def test_a_slice_of_a_gpu_is_a_caveat() -> None:
    facts = replace(reports.device(), gpu=replace(reports.gpu(), mig=True))
    (found,) = said(on("cuda"), facts)
    assert found[:2] == ("mig", "caveat")


@pytest.mark.parametrize(
    ("idle", "detail"),
    [
        (replace(IDLE, processes=1), "1 other program computed on it and it was 2% busy"),
        (replace(IDLE, processes=0, busy=0.5), "0 other programs computed on it and it was 50% busy"),
        (replace(IDLE, processes=None, busy=0.5), "it was 50% busy"),
    ],
)
def test_a_gpu_that_others_use_is_contended_from_the_start(idle: GpuCounters, detail: str) -> None:
    full = f"before anything was measured the GPU was not idle: {detail}"
    assert said(on("cuda"), idle=idle) == [("gpu-contended", "caveat", full)]


def test_what_runs_on_the_cpu_of_such_a_machine_is_not_concerned() -> None:
    facts = replace(reports.device(), gpu=replace(reports.gpu(), mig=True), gpu_unknown="no driver")
    assert said(on("cpu"), facts, replace(IDLE, busy=1.0)) == []
