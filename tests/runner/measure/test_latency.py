from dataclasses import replace

import numpy as np
import pytest

from runner.manifest import Precision
from runner.measure.latency import PLANS, Timings, changed_answers, latency, peak_bytes, reasons
from runner.process import Process, Usage
from runner.report import Scenario
from tests.fakes import fake_process

MEDIANS = (1_000_000, 1_040_000, 980_000, 1_010_000, 1_020_000)


def timings(*processes: Process, failures: tuple[str, ...] = (), batch: int = 1) -> Timings:
    return Timings(scenario=Scenario(threads=1, batch=batch), processes=processes, failures=failures, stopped="budget")


def test_the_median_is_that_of_the_processes_medians() -> None:
    found = latency(timings(*map(fake_process, MEDIANS), batch=2))
    assert found is not None
    assert found.median_ns == 1_010_000
    assert (found.interval.low, found.interval.high) == (980_000, 1_040_000)
    assert found.interval.confidence == 1 - 2 / 2**5
    assert found.p95_ns == 1_010_000 + 45
    assert found.throughput_per_s == 2 * 1e9 / 1_010_000
    assert (found.load_ns, found.first_ns) == (3_000_000, 5 * 1_010_000)
    assert [process.samples_ns[0] for process in found.processes] == list(MEDIANS)


def in_window(median_ns: int, samples: int, seconds: float, calls: int = 1) -> Process:
    """Return a process whose samples were taken in so long a window."""
    usage = Usage(
        began_ns=10**9,
        ended_ns=10**9 + round(seconds * 1e9),
        major_faults=0,
        involuntary_switches=0,
        cpu_ns=10**9,
        swap_bytes=0,
    )
    return replace(fake_process(median_ns, samples), usage=usage, calls_per_sample=calls)


def test_throughput_is_what_was_done_in_the_window_and_not_what_single_calls_promise() -> None:
    # Four streams share a CPU: most calls meet no other, 194 us each, and 2,401 in all fit into a second.
    scenario = Scenario(threads=1, batch=2, streams=4)
    processes = (in_window(194_000, 2401, 1.0), in_window(194_000, 2401, 0.5, calls=3), in_window(194_000, 2401, 2.0))
    found = latency(Timings(scenario=scenario, processes=processes, stopped="budget"))
    assert found is not None
    assert found.throughput_per_s == 2 * 2401.0
    (alone,) = (latency(Timings(scenario=scenario, processes=processes[1:2])),)
    assert alone is not None
    assert alone.throughput_per_s == 2 * 3 * 2401 / 0.5


def test_where_one_window_is_not_known_throughput_is_told_by_the_median() -> None:
    for unknown in (fake_process(200_000), in_window(200_000, 101, 0.0)):
        found = latency(timings(in_window(200_000, 101, 1.0), unknown, batch=8))
        assert found is not None
        assert found.throughput_per_s == 8 * 1e9 / 200_000


def test_one_process_with_too_few_samples_takes_the_95th_percentile_away() -> None:
    found = latency(timings(fake_process(1000), fake_process(1000, samples=57)))
    assert found is not None
    assert found.p95_ns is None


def test_calls_that_were_timed_together_have_no_percentiles_and_that_is_said() -> None:
    together = replace(fake_process(1000, samples=999), calls_per_sample=20)
    whole = latency(timings(*[fake_process(1000, samples=999)] * 5))
    mixed = timings(*[fake_process(1000, samples=999)] * 4, together)
    found = latency(mixed)
    assert whole is not None
    assert found is not None
    assert (whole.p95_ns, whole.p99_ns, whole.median_ns) == (1449.1, 1489.02, 1000.0)
    assert (found.p95_ns, found.p99_ns, found.median_ns) == (None, None, 1000.0)
    (reason,) = reasons(mixed)
    assert (reason.code, reason.level, reason.evidence) == ("short-calls", "note", {"calls": 20})
    assert reason.detail == (
        "a call is so short that up to 20 were timed together, and no percentile of single calls is known"
    )


def test_no_process_gives_no_latency_and_says_why() -> None:
    assert latency(timings(failures=("it died",))) is None
    assert [
        (reason.code, reason.level, reason.detail) for reason in reasons(timings(failures=("it died", "again")))
    ] == [("no-latency", "invalid", "no worker process finished; it died")]


def test_fewer_than_five_processes_are_not_valid() -> None:
    processes = [fake_process(1000) for _ in range(4)]
    (reason,) = reasons(timings(*processes, failures=("it died",)))
    assert (reason.code, reason.level) == ("few-processes", "invalid")
    assert reason.detail == "4 worker processes finished, and a median needs 5; it died"
    assert reasons(timings(*processes, fake_process(1000), failures=("it died",))) == ()


def test_fewer_than_a_hundred_inferences_are_a_caveat() -> None:
    (reason,) = reasons(timings(*[fake_process(10**10, samples=7)] * 5))
    assert (reason.code, reason.level) == ("few-samples", "caveat")
    assert reason.detail == "a process had time for 7 inferences only, not for 100"


def test_processes_that_are_far_apart_are_a_caveat() -> None:
    (reason,) = reasons(timings(*map(fake_process, (16_000, 16_100, 6_800_000, 16_000, 15_900))))
    assert (reason.code, reason.level) == ("scattered", "caveat")
    assert reason.detail == "the processes' medians lie between 15.9 and 6800 us"
    assert reasons(timings(*map(fake_process, (100_000, 125_000, 100_000, 100_000, 100_000)))) == ()


@pytest.mark.parametrize(
    ("threads", "streams", "cpus", "expected"),
    [
        (4, 1, (0, 1), ("caveat", "4 threads shared 2 CPUs, and waited for each other", "--threads 2")),
        (2, 4, (0,), ("caveat", "2 threads shared 1 CPU, and waited for each other", "--threads 1")),
        (
            1,
            4,
            (0, 1),
            ("note", "1 thread, batch 1, 4 streams: they shared 2 CPUs, and a call is longer than it is alone", ""),
        ),
        (2, 1, (0, 1), None),
        (2, 2, (0, 1, 2, 3), None),
        (8, 1, (), None),
    ],
)
def test_more_threads_than_cpus_are_told(
    threads: int, streams: int, cpus: tuple[int, ...], expected: tuple[str, str, str] | None
) -> None:
    processes = (replace(fake_process(100_000), cpus=cpus),) * 5
    found = reasons(Timings(scenario=Scenario(threads=threads, streams=streams), processes=processes))
    assert [(it.code, it.level, it.detail, it.advice) for it in found] == ([("crowded", *expected)] if expected else [])


def test_peak_memory_is_the_median_of_the_processes() -> None:
    assert peak_bytes([fake_process(1000)] * 3) == 70_000_000
    assert peak_bytes([]) is None


def test_every_effort_has_enough_processes_for_its_interval() -> None:
    assert {effort: (plan.processes, plan.warmup_s, plan.timed_s) for effort, plan in PLANS.items()} == {
        "quick": (5, 1, 1),
        "standard": (10, 3, 5),
        "rigorous": (20, 3, 5),
    }


def test_rounding_while_timed_is_no_other_answer() -> None:
    expected = np.array([[[1.0, 2.0]], [[8.0, 0.0]]], np.float32)
    assert changed_answers(expected + np.float32(0.007), expected) is None


def test_another_answer_while_timed_is_found() -> None:
    expected = np.array([[[1.0, 1.0001], [1.0, 1.5]], [[8.0, 0.0], [0.0, 1.0]]], np.float32)
    flipped = np.array([[[1.0001, 1.0], [1.5, 1.0]], [[8.0, 0.0], [0.5, 1.0]]], np.float32)
    reason = changed_answers(flipped, expected)
    assert reason is not None
    assert (reason.code, reason.level) == ("answers-changed", "invalid")
    # The first is a tie that rounding broke the other way, and the last the same answer from other logits.
    assert reason.detail == (
        "while it was timed it gave other answers than before: 1 answers differ, and logits by up to 0.5"
    )


def test_two_classes_that_rounding_makes_change_places_are_no_other_answer() -> None:
    expected = np.array([[[1.0, 1.0000005]], [[8.0, 0.0]]], np.float32)
    flipped = np.array([[[1.0000005, 1.0]], [[8.0, 0.0]]], np.float32)
    assert changed_answers(flipped, expected) is None


@pytest.mark.parametrize(
    ("precision", "steps", "same"),
    [
        ("bf16", 2**-7, True),
        ("bf16", 4 * 2**-7, True),
        ("bf16", 5 * 2**-7, False),
        ("fp16", 4 * 2**-10, True),
        ("fp16", 5 * 2**-10, False),
        ("fp32", 2**-10, True),
        ("fp32", 2**-9, False),
        ("int8", 2**-9, False),
    ],
)
def test_so_many_steps_of_its_precision_may_logits_move(precision: Precision, steps: float, *, same: bool) -> None:
    # Two classes of 1 and 1 + a step change places.
    expected = np.array([[[1.0, 1.0 - steps]]], np.float32)
    moved = np.array([[[1.0 - steps, 1.0]]], np.float32)
    assert (changed_answers(moved, expected, precision) is None) == same


def test_logits_that_move_too_far_while_timed_are_found() -> None:
    expected = np.array([[[1.0, 2.0]]], np.float32)
    assert changed_answers(expected + np.float32(0.01), expected) is not None


def test_nan_while_timed_is_found() -> None:
    expected = np.array([[[1.0, 2.0]]], np.float32)
    reason = changed_answers(expected * np.float32(np.nan), expected)
    assert reason is not None
    assert reason.detail.endswith("logits that are not finite, or of another shape")
