"""What NVML tells of the GPU that artifacts run on, by a stand-in for it."""

import os
from dataclasses import astuple
from pathlib import Path

import pytest

from runner import device
from runner.device.cuda import CudaDevice
from runner.device.gpu import GpuSensor, find_gpu
from runner.device.monitor import Monitor
from runner.device.nvml import Closed
from runner.facts import Gpu
from runner.process import GpuCounters
from tests.nvidia import BUS_IDS, FakeCuda, FakeNvml, gpu_host
from tests.runner.device.trees import tree

MIB = 1 << 20


def found(root: Path) -> GpuSensor:
    """Return the GPU of a machine that has one."""
    gpu = find_gpu(root)
    assert isinstance(gpu, GpuSensor)
    return gpu


def test_the_gpu_is_cudas_first_and_not_nvmls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeNvml()
    gpu = found(gpu_host(tmp_path, monkeypatch, fake))
    gpu.read()
    assert set(fake.asked) == {BUS_IDS[1]}


def test_its_facts_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert found(gpu_host(tmp_path, monkeypatch, FakeNvml())).facts() == Gpu(
        name="Example GPU 1",
        uuid="GPU-1",
        pci_bus_id="00000000:5E:00.0",
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


def test_what_changes_is_told_with_the_memory_of_the_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # This process itself, a worker of it, and a program of somebody else.
    processes = ((os.getpid(), 300 * MIB), (4001, 600 * MIB), (4002, None))
    fake = FakeNvml(event_reasons=4, busy=25, processes=processes)
    root = gpu_host(tmp_path, monkeypatch, fake)
    tree(root, {"proc/4001/status": f"Name:\tpython3\nPPid:\t{os.getpid()}\n", "proc/4002/status": "PPid:\t1\n"})
    assert found(root).read() == GpuCounters(
        sm_mhz=1980,
        memory_mhz=3201,
        event_reasons=4,
        temperature_c=45,
        power_w=120.5,
        busy=0.25,
        used_bytes=1 << 30,
        worker_bytes=600 * MIB,
        processes=2,
    )


def test_in_a_container_the_hosts_numbers_of_processes_are_nobodys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = gpu_host(tmp_path, monkeypatch, FakeNvml(processes=((4_000_001, 600 * MIB),)))
    now = found(root).read()
    assert (now.processes, now.worker_bytes) == (1, None)


def test_memory_of_the_worker_that_the_driver_keeps_to_itself_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = gpu_host(tmp_path, monkeypatch, FakeNvml(processes=((4001, None),)))
    tree(root, {"proc/4001/status": f"PPid:\t{os.getpid()}\n"})
    now = found(root).read()
    assert (now.processes, now.worker_bytes) == (1, None)


def test_a_driver_that_refuses_everything_leaves_none_and_never_0(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {"nvmlInit", "nvmlDeviceGetCount", "nvmlDeviceGetHandleByIndex", "nvmlDeviceGetHandleByPciBusId"}
    fake = FakeNvml(refused=[name for name in dir(FakeNvml) if name.startswith("nvml") and name not in known])
    gpu = found(gpu_host(tmp_path, monkeypatch, fake))
    assert set(astuple(gpu.read())) == {None}
    assert set(astuple(gpu.facts())) == {"unknown", None}


def test_an_older_driver_is_asked_by_older_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeNvml(
        mismatched=[
            "nvmlDeviceGetCurrentClocksEventReasons",
            "nvmlDeviceGetTemperatureV",
            "nvmlDeviceGetEnforcedPowerLimit",
            "nvmlSystemGetCudaDriverVersion_v2",
        ],
        event_reasons=64,
    )
    gpu = found(gpu_host(tmp_path, monkeypatch, fake))
    now, facts = gpu.read(), gpu.facts()
    assert (now.event_reasons, now.temperature_c, facts.power_limit_w, facts.cuda) == (64, 45, 650.0, "12.8")


@pytest.mark.parametrize("place", [None, "0000:99:00.0"])
def test_of_several_gpus_none_is_guessed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str | None) -> None:
    root = gpu_host(tmp_path, monkeypatch, FakeNvml())
    assert find_gpu(root, [CudaDevice(name="Example GPU 7", pci_bus_id=place)]) == Closed(
        reason="NVML does not know which of its GPUs CUDA's first is, Example GPU 7"
    )


def test_the_only_gpu_is_the_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeNvml, "nvmlDeviceGetCount", lambda _: 1)
    fake = FakeNvml()
    root = gpu_host(tmp_path, monkeypatch, fake, FakeCuda(broken=("cuDeviceGetPCIBusId",)))
    assert found(root).facts().pci_bus_id == BUS_IDS[0]


def test_a_machine_without_cuda_has_none(tmp_path: Path) -> None:
    assert find_gpu(tmp_path) == Closed(reason="there is no CUDA device here")


def test_the_facts_of_a_machine_say_why_nothing_more_is_known_of_its_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = gpu_host(tmp_path, monkeypatch, FakeNvml(driver_loaded=False))
    facts = device.facts(root, "x86_64", environment={})
    assert (facts.gpu, facts.gpu_unknown) == (None, "NVML cannot be opened: Driver Not Loaded")
    assert device.state(root).gpu is None


def test_the_state_of_a_machine_has_that_of_its_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = device.state(gpu_host(tmp_path, monkeypatch, FakeNvml(sm_mhz=345)))
    assert state.gpu is not None
    assert (state.gpu.sm_mhz, state.gpu.processes, state.gpu.worker_bytes) == (345, 0, None)


def test_a_watch_sees_the_gpu_where_something_runs_on_it_and_only_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = gpu_host(tmp_path, monkeypatch, FakeNvml(sm_mhz=1500))
    seen = []
    for on_gpu in (True, False):
        with Monitor(root=root, period_s=60.0).on((), gpu=on_gpu) as monitor:
            pass
        seen.append([sample.gpu.sm_mhz if sample.gpu else None for sample in monitor.samples])
    assert seen == [[1500, 1500], [None, None]]
