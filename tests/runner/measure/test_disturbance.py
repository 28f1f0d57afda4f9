"""What disturbed the timed windows: every kind, told from the record of the processes alone."""

from dataclasses import replace

import pytest

from runner.measure.disturbance import disturbances
from runner.process import Counters, Other, Process, Usage
from runner.reason import Reason
from tests.fakes import counters, fake_process

QUIET = fake_process(1_000)


def saw(*machine: Counters) -> Process:
    """Return a process around whose timed window the machine said so."""
    return replace(QUIET, machine=machine)


def used(
    *,
    major_faults: int = 0,
    swap_bytes: int | None = 0,
    switches: int = 2,
    cpu_s: float = 1.0,
    window_s: float = 1.0,
) -> Process:
    """Return a process that used so much."""
    usage = Usage(
        began_ns=0,
        ended_ns=round(window_s * 1e9),
        major_faults=major_faults,
        involuntary_switches=switches,
        cpu_ns=round(cpu_s * 1e9),
        swap_bytes=swap_bytes,
    )
    return replace(QUIET, usage=usage)


def ticks(steal: int, total: int) -> Counters:
    """Return how much of all CPU time was stolen since boot."""
    return counters(steal_ticks=steal, total_ticks=total)


@pytest.mark.parametrize(
    ("process", "reason"),
    [
        pytest.param(
            saw(counters(throttled_now=0), counters(throttled_now=4), counters(throttled_now=0)),
            Reason(
                code="throttled",
                level="invalid",
                detail="the board slowed itself down while it was timed (throttled), in 1 of 3 processes",
                evidence={"processes": 1, "most": 4},
                advice="a better cooler or power supply",
            ),
            id="a bit that is raised in mid-run and falls again",
        ),
        pytest.param(
            saw(
                counters(throttled_now=0, throttled_since_boot=2),
                counters(throttled_now=0, throttled_since_boot=3),
            ),
            Reason(
                code="throttled",
                level="invalid",
                detail="the board slowed itself down while it was timed (under-voltage), in 1 of 3 processes",
                evidence={"processes": 1, "most": 1},
                advice="a better cooler or power supply",
            ),
            id="a bit between two samples, which the board remembers",
        ),
        pytest.param(
            saw(counters(heat_throttles=7), counters(heat_throttles=9)),
            Reason(
                code="heat",
                level="invalid",
                detail="heat slowed cores down 2 times in a timed window, in 1 of 3 processes",
                evidence={"processes": 1, "most": 2},
                advice="a better cooler, or fewer --threads",
            ),
            id="heat",
        ),
        pytest.param(
            saw(counters(nr_throttled=100), counters(nr_throttled=103)),
            Reason(
                code="quota",
                level="invalid",
                detail="the container's CPU quota was used up in 3 periods of a timed window, in 1 of 3 processes",
                evidence={"processes": 1, "most": 3},
                advice="a larger quota, or fewer --threads",
            ),
            id="quota",
        ),
        pytest.param(
            used(major_faults=12),
            Reason(
                code="major-faults",
                level="invalid",
                detail="12 pages came from the disk in a timed window, in 1 of 3 processes",
                evidence={"processes": 1, "most": 12},
                advice="more free memory, or a faster disk",
            ),
            id="major faults",
        ),
        pytest.param(
            used(swap_bytes=3 << 19),
            Reason(
                code="swap",
                level="invalid",
                detail="1.5 MiB of the worker were swapped out, in 1 of 3 processes",
                evidence={"processes": 1, "most": 3 << 19},
                advice="more free memory: end what else runs on this machine",
            ),
            id="swap",
        ),
        pytest.param(
            saw(ticks(10, 1_000), ticks(14, 1_200)),
            Reason(
                code="steal",
                level="caveat",
                detail="the hypervisor gave 2.0% of the CPU time of a timed window to others, in 1 of 3 processes",
                evidence={"processes": 1, "most": 0.02},
                advice="another time, or bare metal",
            ),
            id="steal",
        ),
        pytest.param(
            replace(QUIET, waited_s=30.213),
            Reason(
                code="not-cooled",
                level="caveat",
                detail="the machine was still hotter than at the beginning when 30 s had been waited, "
                "in 1 of 3 processes",
                evidence={"processes": 1, "most": 30.213},
                advice="a better cooler, or fewer --threads",
            ),
            id="a machine that did not cool down",
        ),
        pytest.param(
            used(switches=200, cpu_s=0.45),
            Reason(
                code="contended",
                level="caveat",
                detail="the worker lost its CPU 444 times in each second that it had one, in 1 of 3 processes",
                evidence={"processes": 1, "most": 200 * 1e9 / 450_000_000},
                advice="end what else runs on this machine, or fewer --threads or --streams",
            ),
            id="a CPU that others had for half of the time",
        ),
        pytest.param(
            used(switches=123, cpu_s=1.5),
            Reason(
                code="contended",
                level="caveat",
                detail="the worker lost its CPU 82 times in each second that it had one, in 1 of 3 processes",
                evidence={"processes": 1, "most": 82},
                advice="end what else runs on this machine, or fewer --threads or --streams",
            ),
            id="one CPU of two that others had for half of the time",
        ),
        pytest.param(
            used(switches=11, cpu_s=1.0, window_s=2.0),
            Reason(
                code="contended",
                level="caveat",
                detail="the worker lost its CPU 11 times in each second that it had one, in 1 of 3 processes",
                evidence={"processes": 1, "most": 11},
                advice="end what else runs on this machine, or fewer --threads or --streams",
            ),
            id="others that kept the CPU for long",
        ),
    ],
)
def test_what_disturbed_one_of_three_processes_is_told_with_its_evidence(process: Process, reason: Reason) -> None:
    assert [*disturbances([QUIET, process, QUIET])] == [reason]


@pytest.mark.parametrize(
    "process",
    [
        pytest.param(QUIET, id="a machine without sensors"),
        pytest.param(saw(), id="no sample"),
        pytest.param(saw(counters(throttled_now=4)), id="one sample, which has no window"),
        pytest.param(saw(counters(), counters()), id="sensors that are absent"),
        pytest.param(saw(counters(nr_throttled=100), counters()), id="a sensor that goes away"),
        pytest.param(saw(counters(nr_throttled=100), counters(nr_throttled=2)), id="a counter that runs backwards"),
        pytest.param(
            saw(
                counters(throttled_now=0, throttled_since_boot=15, heat_throttles=9, nr_throttled=100),
                counters(throttled_now=0, throttled_since_boot=15, heat_throttles=9, nr_throttled=100),
            ),
            id="what happened before the window",
        ),
        pytest.param(saw(ticks(10, 1_000), ticks(12, 1_200)), id="steal of exactly one hundredth"),
        pytest.param(used(), id="nothing from the disk"),
        pytest.param(used(swap_bytes=None), id="swap that cannot be read"),
        pytest.param(replace(QUIET, waited_s=29.5), id="a machine that cooled down in the end"),
        pytest.param(used(switches=40), id="as many switches as a machine has that does nothing else"),
        pytest.param(used(switches=160, cpu_s=4.0), id="four threads that work, each with as few"),
        pytest.param(used(switches=10, cpu_s=1.2, window_s=1.0), id="threads that sleep while one works"),
        pytest.param(used(switches=1, cpu_s=0.2), id="a process that waits for a GPU"),
        pytest.param(used(switches=7, cpu_s=0.01, window_s=0.05), id="a window too short to tell"),
        pytest.param(used(switches=7, cpu_s=0.0), id="no CPU time that could be read"),
    ],
)
def test_what_did_not_happen_or_cannot_be_known_is_not_told(process: Process) -> None:
    assert [*disturbances([process] * 5)] == []


def test_several_processes_are_counted_and_the_worst_is_told() -> None:
    few, many = (
        saw(counters(nr_throttled=0), counters(nr_throttled=1)),
        saw(counters(nr_throttled=5), counters(nr_throttled=45)),
    )
    (reason,) = disturbances([few, QUIET, many, few])
    assert reason.evidence == {"processes": 3, "most": 40}
    assert reason.detail.endswith("was used up in 40 periods of a timed window, in 3 of 4 processes")


def test_the_bits_of_several_processes_are_all_told() -> None:
    voltage = saw(counters(throttled_now=1), counters(throttled_now=0))
    heat = saw(counters(throttled_now=0), counters(throttled_now=10))
    (reason,) = disturbances([voltage, heat])
    assert "(under-voltage, frequency capped, soft temperature limit), in 2 of 2 processes" in reason.detail
    assert reason.evidence == {"processes": 2, "most": 11}


def test_the_programs_that_had_the_cpu_are_named_the_busiest_first() -> None:
    lost = used(switches=200, cpu_s=0.5)
    one = replace(lost, others=(Other(name="cc1plus", cpus=1.5), Other(name="rsync", cpus=0.25)))
    two = replace(lost, others=(Other(name="rsync", cpus=0.5), Other(name="sshd", cpus=0.1)))
    more = replace(lost, others=(Other(name="apt", cpus=0.05),))
    calm = replace(QUIET, others=(Other(name="nobody", cpus=2.0),))
    (reason,) = disturbances([one, calm, two, more])
    assert reason.detail == (
        "the worker lost its CPU 400 times in each second that it had one, in 3 of 4 processes; "
        "beside it ran cc1plus (up to 150% of a CPU), rsync (up to 50% of a CPU), sshd (up to 10% of a CPU)"
    )
    assert reason.evidence == {
        "processes": 3,
        "most": 400,
        "CPUs of cc1plus": 1.5,
        "CPUs of rsync": 0.5,
        "CPUs of sshd": 0.1,
    }


def test_programs_that_took_nothing_away_are_not_named() -> None:
    busy = replace(used(major_faults=3), others=(Other(name="rsync", cpus=0.5),))
    (reason,) = disturbances([busy])
    assert "rsync" not in reason.detail
    assert set(reason.evidence) == {"processes", "most"}


def test_kinds_of_disturbance_are_told_apart() -> None:
    both = replace(
        used(major_faults=1), machine=(ticks(0, 0), replace(ticks(50, 1_000), throttled_now=2)), waited_s=30.0
    )
    assert [(reason.code, reason.level) for reason in disturbances([both] * 5)] == [
        ("throttled", "invalid"),
        ("major-faults", "invalid"),
        ("steal", "caveat"),
        ("not-cooled", "caveat"),
    ]
