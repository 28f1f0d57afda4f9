"""NVML: how it is opened, and that the stand-in of the tests is like the real package."""

import importlib
import inspect
import sys
from pathlib import Path

import pytest

from runner.device import gpu, nvml
from runner.device.nvml import Closed, Library, open_library
from runner.measure.gpu import EVENTS
from tests.nvidia import BUS_IDS, FakeNvml, gpu_host
from tests.runner.device.trees import tree


def test_a_machine_without_an_nvidia_driver_says_so_and_imports_nothing(tmp_path: Path) -> None:
    assert open_library(tmp_path) == Closed(reason="there is no NVIDIA driver here that has NVML")


def test_a_package_that_is_not_installed_is_told_and_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = gpu_host(tmp_path, monkeypatch, FakeNvml())
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert open_library(root) == Closed(reason="nvidia-ml-py is not installed")


def test_a_driver_that_does_not_answer_is_told_and_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = gpu_host(tmp_path, monkeypatch, FakeNvml(driver_loaded=False))
    assert open_library(root) == Closed(reason="NVML cannot be opened: Driver Not Loaded")


def test_it_is_opened_once_for_energy_and_for_all_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []

    class Counting(FakeNvml):
        def nvmlInit(self) -> None:  # noqa: N802 - NVIDIA's name
            opened.append(self)

    monkeypatch.setitem(sys.modules, "pynvml", Counting())
    nvml._of_this_process.cache_clear()
    try:
        root = tree(tmp_path, {"dev/nvidiactl": ""})
        assert open_library(root) is open_library(root)
        assert len(opened) == 1
    finally:
        nvml._of_this_process.cache_clear()


def test_what_is_refused_absent_or_too_new_for_the_driver_is_none_or_its_older_name() -> None:
    fake = FakeNvml(
        refused=["nvmlDeviceGetPowerUsage", "nvmlDeviceGetTemperatureV"],
        mismatched=["nvmlDeviceGetComputeRunningProcesses"],
        event_reasons=4,
    )
    library = Library(module=fake)
    assert library.count("nvmlDeviceGetPowerUsage", BUS_IDS[0]) is None
    assert library.count("nvmlNobodyHasThis", BUS_IDS[0]) is None
    assert library.ask("nvmlDeviceGetComputeRunningProcesses", BUS_IDS[0]) is None
    assert library.count("nvmlDeviceGetTemperatureV", BUS_IDS[0], 0, older="nvmlDeviceGetTemperature") == 45
    assert library.count("nvmlNobodyHasThis", BUS_IDS[0], older="nvmlDeviceGetCurrentClocksThrottleReasons") == 4


def test_a_text_may_be_bytes_and_a_switch_a_pair() -> None:
    class Older(FakeNvml):
        def nvmlDeviceGetName(self, handle: str) -> bytes:  # type: ignore[override]  # noqa: N802
            return b"Tesla \xff"

    library = Library(module=Older())
    assert library.text("nvmlDeviceGetName", BUS_IDS[0]) == "Tesla \ufffd"
    assert library.text("nvmlDeviceGetCount") is None
    assert [library.switch(f"nvmlDeviceGet{name}Mode", BUS_IDS[0]) for name in ("Ecc", "Mig", "Persistence", "No")] == [
        True,
        False,
        True,
        None,
    ]


def test_the_stand_in_has_the_names_and_the_parameters_of_the_real_package() -> None:
    real = pytest.importorskip("pynvml", reason="nvidia-ml-py is not installed")
    names = [name for name in dir(FakeNvml) if name.startswith("nvml")]
    assert len(names) > 20
    for name in names:
        ours = list(inspect.signature(getattr(FakeNvml, name)).parameters)[1:]
        assert ours == list(inspect.signature(getattr(real, name)).parameters), name
    assert isinstance(real.nvmlPciInfo_t().busId, str)
    assert issubclass(real.NVMLError, Exception)
    assert not issubclass(real.NVMLLibraryMismatchError, real.NVMLError)


def test_the_numbers_that_are_written_down_here_are_those_of_the_real_package() -> None:
    real = pytest.importorskip("pynvml", reason="nvidia-ml-py is not installed")
    assert (real.NVML_CLOCK_SM, real.NVML_CLOCK_MEM, real.NVML_TEMPERATURE_GPU) == (gpu.SM, gpu.MEMORY, gpu.CORE)
    assert {
        real.nvmlClocksEventReasonSwPowerCap: "SW power cap",
        real.nvmlClocksEventReasonHwSlowdown: "HW slowdown",
        real.nvmlClocksEventReasonSwThermalSlowdown: "SW thermal slowdown",
        real.nvmlClocksEventReasonHwThermalSlowdown: "HW thermal slowdown",
        real.nvmlClocksEventReasonHwPowerBrakeSlowdown: "HW power brake slowdown",
    } == EVENTS


def test_the_real_package_without_a_driver_is_closed_with_its_reason(tmp_path: Path) -> None:
    pytest.importorskip("pynvml", reason="nvidia-ml-py is not installed")
    if any((Path("/") / node).exists() for node in nvml.NODES):
        pytest.skip("this machine has an NVIDIA driver")
    found = open_library(tmp_path, importlib.import_module("pynvml"))
    assert found == Closed(reason="NVML cannot be opened: NVML Shared Library Not Found")
