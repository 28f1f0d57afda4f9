"""What stands below the figures: only what is known, and in tables of 100 columns at most."""

from dataclasses import replace

from runner.measure import latency
from runner.measure.latency import Timings
from runner.operators import OperatorTime
from runner.render import report_page
from runner.render.page import Page, Table, as_text
from runner.report import ArtifactReport, EnergyUse, Expectation, Latency, Report, Scenario
from tests import reports

NARROW = 100
FP32, INT8, _ = reports.host().artifacts


def shown(*artifacts: ArtifactReport) -> str:
    """Return a report of these artifacts as text."""
    return as_text(page(*artifacts))


def page(*artifacts: ArtifactReport) -> Page:
    """Return a report of these artifacts as a page."""
    return report_page(replace(reports.host(), artifacts=artifacts, fastest=None))


def table(found: Page, first: str) -> Table:
    """Return the table whose first column is so called."""
    return next(block for block in found if isinstance(block, Table) and block.columns[0] == first)


def column(artifact: ArtifactReport, name: str) -> str | None:
    """Return the cell of one artifact in the one column of that name, or None where there is no such column."""
    blocks = [block for block in page(artifact) if isinstance(block, Table)]
    cells = [block.rows[0][block.columns.index(name)] for block in blocks if name in block.columns]
    return cells[0] if cells else None


def timed(artifact: ArtifactReport, found: Latency | None) -> ArtifactReport:
    """Return an artifact with another latency."""
    assert found is not None
    return replace(artifact, latency=found)


def of(scenario: Scenario, median_ns: int, samples: int = 101) -> Latency:
    """Return what five processes measured in a scenario."""
    found = latency.latency(
        Timings(
            scenario=scenario,
            processes=tuple(reports.process(median_ns, samples) for _ in range(5)),
            stopped="precision",
        )
    )
    assert found is not None
    return found


def test_a_p99_stands_beside_the_p95_where_the_samples_support_it() -> None:
    many = timed(INT8, of(Scenario(threads=2), 60_000, samples=301))
    assert (column(many, "p95"), column(many, "p99")) == ("68.1 µs", "68.8 µs")
    assert (column(INT8, "p95"), column(INT8, "p99")) == ("62.7 µs", None)
    assert "p99 needs 299 samples in each process." in " ".join(shown(many, FP32).split())
    assert "p99 needs" not in shown(many)


def test_a_report_of_schema_1_1_is_not_blamed_for_a_p99_that_it_could_not_have() -> None:
    assert INT8.latency is not None
    old = timed(INT8, replace(INT8.latency, threads=None, stopped=None, steadiness=None, p99_ns=None))
    assert "p99" not in shown(old)
    assert "effective n" not in shown(old)
    assert column(old, "processes") == "5"


def test_what_ended_the_processes_and_how_steady_they_were_is_told() -> None:
    assert INT8.latency is not None
    assert INT8.latency.steadiness is not None
    steadiness = replace(INT8.latency.steadiness, not_steady=2, lag1=0.254, effective_n=58.9)
    part = timed(INT8, replace(INT8.latency, stopped="precision", steadiness=steadiness))
    assert column(part, "processes") == "5, precision"
    assert column(part, "drifted") == "2 of 5"
    assert column(part, "lag-1") == "+0.25"
    assert column(part, "effective n") == "59"
    assert "what the 101 samples of a process are worth" in " ".join(shown(part).split())


def test_a_lag_that_rounds_to_nothing_has_no_sign() -> None:
    assert INT8.latency is not None
    assert INT8.latency.steadiness is not None
    part = timed(INT8, replace(INT8.latency, steadiness=replace(INT8.latency.steadiness, lag1=-0.004)))
    assert column(part, "lag-1") == "0.00"


def test_the_peak_of_each_phase_is_shown_where_it_is_known() -> None:
    assert INT8.latency is not None
    assert column(INT8, "memory: import") is None
    phases = tuple(
        replace(process, import_peak_bytes=(40 + extra) << 20, load_peak_bytes=44 << 20, run_peak_bytes=48 << 20)
        for process, extra in zip(INT8.latency.processes, (0, 1, 2, 3, 40), strict=True)
    )
    part = timed(INT8, replace(INT8.latency, processes=phases))
    cells = table(page(part), "artifact").rows[0]
    assert cells[0] == "int8.onnx"
    assert column(part, "memory: import") == "42.0"
    assert column(part, "run") == "48.0"
    assert column(part, "peak memory") == "48.0 MiB"


def test_top_1_has_its_count_and_its_exact_interval() -> None:
    # scipy.stats.binomtest(39, 40).proportion_ci(method="exact"): 0.86841 to 0.99937.
    assert (column(INT8, "right"), column(INT8, "top-1, interval")) == ("39 of 40", "86.84–99.94 %")  # noqa: RUF001 - a range
    assert "top-1's interval: 95 %, exact (Clopper-Pearson)." in shown(INT8)
    assert "top-1, interval" not in shown(replace(INT8, accuracy=None))


def test_times_before_the_first_call_stand_side_by_side_with_how_many_processes_they_are_of() -> None:
    assert INT8.latency is not None
    imports = (10, 20, 31, 40, 90)
    slower = tuple(
        replace(process, import_ns=each * 1_000_000)
        for process, each in zip(INT8.latency.processes, imports, strict=True)
    )
    part = timed(INT8, replace(INT8.latency, processes=slower))
    assert (column(part, "import"), column(part, "load"), column(part, "first")) == ("31.0 ms", "5.00 ms", "180 µs")
    assert "import, load, first inference: medians of 5 processes." in shown(part)
    fewer = timed(FP32, replace(INT8.latency, processes=INT8.latency.processes[:3]))
    assert "import, load, first inference: medians of 3 to 5 processes." in shown(part, fewer)


def test_calls_that_were_timed_together_and_an_accelerators_own_time_are_shown_where_there_are_any() -> None:
    assert INT8.latency is not None
    assert (column(INT8, "calls each"), column(INT8, "accelerator")) == (None, None)
    together = tuple(replace(process, calls_per_sample=3) for process in INT8.latency.processes)
    part = timed(INT8, replace(INT8.latency, processes=together, device_ns=45_120.0))
    assert (column(part, "calls each"), column(part, "accelerator")) == ("3", "45.1 µs")
    assert "calls each: timed together, for one is too short for the clock." in " ".join(shown(part).split())


def test_more_samples_are_not_asked_for_where_calls_were_timed_together() -> None:
    assert INT8.latency is not None
    together = tuple(replace(process, calls_per_sample=3) for process in INT8.latency.processes)
    text = shown(timed(INT8, replace(INT8.latency, processes=together, p95_ns=None, p99_ns=None)))
    assert "p95" not in text
    assert "p99" not in text


def test_the_other_scenarios_stand_beside_the_first() -> None:
    found = replace(
        INT8,
        scenarios=(of(Scenario(threads=1, batch=8), 400_000), of(Scenario(threads=2, streams=2), 80_000)),
    )
    scenarios = [block for block in page(FP32, found) if isinstance(block, Table) and "to the first" in block.columns]
    assert scenarios[0].columns == (
        "artifact",
        "threads",
        "batch",
        "streams",
        "latency",
        "interval",
        "throughput",
        "to the first",
    )
    assert scenarios[0].rows == (
        ("int8.onnx", "2", "1", "1", "60.0 µs", "58.0–62.0", "16,667/s", "1.00x"),  # noqa: RUF001 - a range
        ("int8.onnx", "1", "8", "1", "400.0 µs", "400.0–400.0", "20,000/s", "1.20x"),  # noqa: RUF001
        ("int8.onnx", "2", "1", "2", "80.0 µs", "80.0–80.0", "25,000/s", "1.50x"),  # noqa: RUF001
    )


def test_streams_are_a_column_only_where_there_are_several() -> None:
    shown_ = shown(replace(INT8, scenarios=(of(Scenario(threads=1), 90_000),)))
    assert "artifact   threads  batch  latency   interval  throughput  to the first" in shown_
    assert "streams" not in shown_


def test_the_ten_dearest_operators_are_shown_and_the_others_added_up() -> None:
    operators = tuple(
        OperatorTime(
            name=f"node {index}", op_type="Conv", calls=1.0, mean_ns=1000.0 * (12 - index), share=(12 - index) / 78
        )
        for index in range(12)
    )
    found = table(page(replace(INT8, operators=operators)), "int8.onnx: dearest operators")
    assert found.columns == ("int8.onnx: dearest operators", "type", "calls", "time", "share")
    assert len(found.rows) == 11
    assert found.rows[0] == ("node 0", "Conv", "1", "12.00 µs", "15.4 %")
    assert found.rows[-1] == ("2 others", "—", "—", "3.00 µs", "3.8 %")


def test_a_long_name_of_a_node_keeps_its_end() -> None:
    name = "/backbone/layer4/layer4.1/conv2/Conv_output_0_quantized"
    operator = OperatorTime(name=name, op_type="QLinearConv", calls=0.5, mean_ns=2000.0, share=1.0)
    found = table(page(replace(INT8, operators=(operator,))), "int8.onnx: dearest operators")
    assert found.rows[0][0] == "…yer4/layer4.1/conv2/Conv_output_0_quantized"
    assert len(found.rows[0][0]) == 44
    assert found.rows[0][2] == "0.5"


def test_energy_is_shown_by_meter_with_what_that_sees() -> None:
    used = EnergyUse(meter="rapl", scope="the CPU packages", duration_ns=10**10, inferences=4000, joules=8.0)
    mute = replace(used, meter="pmic", scope="the rails", joules=None, reason="it could not be read")
    found = page(replace(INT8, energy=(used, mute)))
    assert table(found, "energy of an inference").rows == (("int8.onnx", "2.00 mJ", "—"),)
    text = as_text(found)
    assert "What the meters see\n  rapl: the CPU packages\n  pmic: the rails\n  pmic: it could not be read\n" in text


def test_a_meter_that_told_nothing_has_no_table_and_its_reason() -> None:
    mute = EnergyUse(meter="rapl", scope="the CPU", duration_ns=0, inferences=0, joules=None, reason="for root alone")
    text = shown(replace(INT8, energy=(mute,)))
    assert "energy of an inference" not in text
    assert "What the meters see\n  rapl: the CPU\n  rapl: for root alone\n" in text


def test_what_was_expected_of_int8_is_told_once_for_artifacts_alike() -> None:
    expected = Expectation(kernel="AVX-512 VNNI", least_speedup=1.5, most_speedup=3.25, evidence="14 networks")
    plain = replace(FP32, expected=Expectation(kernel=None, least_speedup=None, most_speedup=None, evidence=""))
    other = replace(INT8, name="int8-qoperator.onnx", expected=expected)
    unmeasured = replace(INT8, name="b.onnx", expected=replace(expected, least_speedup=None, most_speedup=None))
    text = shown(plain, replace(INT8, expected=expected), other, unmeasured)
    head = text.index("Expected of int8 here")
    alike = "  int8.onnx, int8-qoperator.onnx: AVX-512 VNNI; 1.5 to 3.25 times as fast as fp32 in the same runtime"
    assert text[head:].splitlines()[1:3] == [f"{alike} (14 networks)", "  b.onnx: AVX-512 VNNI"]
    assert "Expected" not in shown(plain)


def test_tables_are_narrow_with_all_that_there_can_be() -> None:
    whole: Report = reports.complete()
    lines = as_text(report_page(whole)).splitlines()
    assert max(len(line) for line in lines if line.startswith("─")) <= NARROW
