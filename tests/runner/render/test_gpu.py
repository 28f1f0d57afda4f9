"""The GPU on pages: of a machine, of a report, and of a comparison."""

from dataclasses import replace

from runner.compare import compare
from runner.compare.comparison import Limits
from runner.render import device_page, report_page
from runner.render.comparison import comparison_page
from runner.render.page import Listing, Table, as_text
from runner.report import Report, seal
from tests import reports


def on_gpu() -> Report:
    """Return a report in which the first artifact ran on a GPU."""
    whole = reports.host()
    part = whole.artifacts[0]
    assert part.latency is not None
    assert part.runtime is not None
    seen = reports.complete_process()
    processes = tuple(
        replace(
            it,
            machine=seen.machine,
            usage=seen.usage,
            gpu_allocated_bytes=21 << 20,
            gpu_reserved_bytes=22 << 20,
        )
        for it in part.latency.processes
    )
    first = replace(
        part, latency=replace(part.latency, processes=processes, device_ns=40_500.0), runtime=reports.runtime("onnx")
    )
    assert first.runtime is not None
    first = replace(first, runtime=replace(first.runtime, device="cuda", provider="CUDAExecutionProvider"))
    facts = replace(whole.device, cuda=("Example GPU",), gpu=reports.gpu())
    return seal(replace(whole, device=facts, artifacts=(first, *whole.artifacts[1:])))


def test_a_machine_with_a_gpu_is_shown_with_what_it_is_and_does() -> None:
    facts = replace(reports.device(), cuda=("Example GPU",), gpu=reports.gpu())
    lines = as_text(device_page(facts, replace(reports.state(), gpu=reports.gpu_counters()))).splitlines()
    start = next(index for index, line in enumerate(lines) if line.startswith("GPU "))
    assert [line.partition("  ")[2].strip() for line in lines[start : start + 5]] == [
        "Example GPU, 140 GiB, compute capability 9.0, driver 580.95.05, CUDA 13.0",
        "00000000:3B:00.0, GPU-00000000-1111-2222-3333-444444444444",
        "SM 1,980 MHz, memory 3,201 MHz, power 700 W",
        "persistence on, ECC on, MIG off",
        "SM 1,755 MHz, 61 °C, 700 W, 75 % busy, 1 program on it",
    ]


def test_a_gpu_of_which_nothing_more_is_known_says_why() -> None:
    facts = replace(reports.device(), cuda=("Example GPU",), gpu_unknown="nvidia-ml-py is not installed")
    assert "nothing more: nvidia-ml-py is not installed" in as_text(device_page(facts, reports.state()))


def test_a_machine_without_a_gpu_has_no_rows_of_it() -> None:
    assert "GPU" not in as_text(device_page(reports.device(), reports.state()))


def test_a_report_shows_event_and_wall_time_and_the_memory_of_both_counts() -> None:
    page = report_page(on_gpu())
    tables = [block for block in page if isinstance(block, Table)]
    times = next(table for table in tables if "accelerator" in table.columns)
    assert times.rows[0][times.columns.index("accelerator")] == "40.5 µs"
    figures = tables[0]
    assert figures.rows[0][figures.columns.index("latency")] == "151.0 µs"
    gpu = next(table for table in tables if "GPU clock" in table.columns)
    assert gpu.columns == ("artifact", "GPU clock", "hottest", "power", "tensors", "runtime", "process", "device")
    assert gpu.rows == (
        ("fp32.onnx", "1,755 MHz", "61 °C", "700 W", "21.0 MiB", "22.0 MiB", "600.0 MiB", "1200.0 MiB"),
    )
    text = next(block for block in page if isinstance(block, str) and block.startswith("GPU (Example GPU, 140 GiB"))
    assert "accelerator, above: the GPU's own time of a call by its events, without transfers" in text


def test_a_report_without_a_gpu_has_no_such_table() -> None:
    assert not any(isinstance(block, Table) and "GPU clock" in block.columns for block in report_page(reports.host()))


def test_a_comparison_shows_the_event_time_of_the_side_that_has_it() -> None:
    page = comparison_page(compare(reports.host(), on_gpu(), Limits()))
    costs = next(block for block in page if isinstance(block, Table) and "accelerator" in block.columns)
    assert [row[costs.columns.index("accelerator")] for row in costs.rows[:2]] == ["— → 40.5 µs", "—"]


def test_settings_of_a_gpu_that_differ_are_named_where_the_device_is_one() -> None:
    ours = on_gpu()
    assert ours.device.gpu is not None
    other = replace(ours.device.gpu, driver="570.1", power_limit_w=350.0, persistence=None)
    theirs = seal(replace(ours, device=replace(ours.device, gpu=other)))
    page = comparison_page(compare(ours, theirs, Limits()))
    notes = [line for block in page if isinstance(block, Listing) for line in block.lines]
    for told in (
        "NVIDIA driver: 580.95.05 on the host, 570.1 on the device",
        "power limit of the GPU: 700 W on the host, 350 W on the device",
        "persistence mode: on on the host, unknown on the device",
    ):
        assert any(told in line for line in notes), told
