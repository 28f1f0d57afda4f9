from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from runner.device.energy import SensorMeter, ina3221, meters, nvml, pmic, rapl
from runner.device.energy.sensor import Reading, Sensor, counted, integrated
from tests.nvidia import BUS_IDS, FakeNvml
from tests.runner.device.trees import program, tree

RAPL = "sys/class/powercap/intel-rapl:"
SECOND = 1_000_000_000


def readings(*values: Sequence[float]) -> list[Reading]:
    return [Reading(monotonic_ns=second * SECOND, values=tuple(value)) for second, value in enumerate(values)]


@pytest.mark.parametrize(
    ("values", "wraps_j", "expected"),
    [
        ([(10.0,), (25.0,)], (100.0,), 15.0),
        ([(90.0,), (10.0,)], (100.0,), 20.0),
        ([(90.0,), (10.0,), (95.0,), (5.0,)], (100.0,), 115.0),
        ([(90.0, 1.0), (10.0, 3.0)], (100.0, 50.0), 22.0),
        ([(90.0,), (10.0,)], (0.0,), None),
        ([(90.0,)], (0.0,), 0.0),
    ],
)
def test_counters_of_joules_wrap(
    values: list[tuple[float, ...]], wraps_j: tuple[float, ...], expected: float | None
) -> None:
    assert counted(readings(*values), wraps_j) == expected


def test_watts_are_integrated_by_trapezoids() -> None:
    # 2 to 6 W in a second, 6 W in the next three, on two rails.
    found = [
        Reading(monotonic_ns=0, values=(1.0, 1.0)),
        Reading(monotonic_ns=SECOND, values=(4.0, 2.0)),
        Reading(monotonic_ns=4 * SECOND, values=(3.0, 3.0)),
    ]
    assert integrated(found) == 4.0 + 18.0


# A meter


class Clock:
    """Advances by a step each time that it is read."""

    def __init__(self, step_ns: int) -> None:
        self.now_ns = 0
        self._step_ns = step_ns

    def __call__(self) -> int:
        self.now_ns += self._step_ns
        return self.now_ns


def sensor(values: Iterator[tuple[float, ...] | None]) -> Sensor:
    return Sensor(
        name="test",
        scope="what the test says",
        read=lambda: next(values),
        unreadable="nobody may",
        joules=partial(counted, wraps_j=(100.0,)),
        period_s=60.0,
        least_s=1.0,
    )


def test_a_meter_is_asked_whether_it_can_be_read_before_anything_is_run_for_it() -> None:
    meter = SensorMeter(sensor(iter([None, (10.0,)])))
    assert [meter.obstacle(), meter.obstacle()] == ["nobody may", ""]


def test_a_meter_gives_the_energy_of_one_window_after_the_other() -> None:
    meter = SensorMeter(sensor(iter([(10.0,), (12.0,), (99.0,), (3.0,)])), Clock(SECOND))
    found = []
    for _ in range(2):
        meter.start()
        found.append(meter.stop())
    assert [(energy.joules, energy.reason) for energy in found] == [(2.0, ""), (4.0, "")]
    assert (found[0].meter, found[0].scope, found[0].duration_ns) == ("test", "what the test says", 5 * SECOND)


@pytest.mark.parametrize(
    ("values", "step_ns", "reason"),
    [
        ([None, None], SECOND, "2 of 2 readings failed: nobody may"),
        ([(1.0,), None], SECOND, "1 of 2 readings failed: nobody may"),
        ([(1.0,), (2.0,)], SECOND // 10, "0.50 s are too short: this sensor needs 1 s"),
    ],
)
def test_a_meter_without_joules_says_why(values: list[tuple[float] | None], step_ns: int, reason: str) -> None:
    meter = SensorMeter(sensor(iter(values)), Clock(step_ns))
    meter.start()
    energy = meter.stop()
    assert (energy.joules, energy.reason) == (None, reason)


def test_a_counter_that_ran_backwards_is_no_energy() -> None:
    lying = replace(sensor(iter([(9.0,), (2.0,)])), joules=partial(counted, wraps_j=(0.0,)))
    meter = SensorMeter(lying, Clock(SECOND))
    meter.start()
    assert meter.stop().reason == "the counter ran backwards"


def test_a_sensor_is_asked_in_between_too() -> None:
    values = iter([(float(second),) for second in range(100_000)])
    meter = SensorMeter(replace(sensor(values), period_s=0.001, least_s=0.0))
    meter.start()
    while next(values)[0] < 20:
        pass
    energy = meter.stop()
    assert energy.joules is not None
    assert energy.joules > 20


# RAPL


def packages(root: Path, first_uj: str, second_uj: str) -> Path:
    return tree(
        root,
        {
            f"{RAPL}0/name": "package-0\n",
            f"{RAPL}0/energy_uj": first_uj,
            f"{RAPL}0/max_energy_range_uj": "262143328850\n",
            f"{RAPL}0:0/name": "core\n",
            f"{RAPL}0:0/energy_uj": "7\n",
            f"{RAPL}1/name": "package-1\n",
            f"{RAPL}1/energy_uj": second_uj,
            f"{RAPL}1/max_energy_range_uj": "262143328850\n",
            f"{RAPL}2/name": "psys\n",
            f"{RAPL}2/energy_uj": "9\n",
        },
    )


def test_rapl_adds_the_packages_alone_and_wraps(tmp_path: Path) -> None:
    (meter,) = (
        SensorMeter(found, Clock(SECOND)) for found in rapl.sensors(packages(tmp_path, "1000000", "262143000000"))
    )
    meter.start()
    packages(tmp_path, "3500000", "671150")
    energy = meter.stop()
    assert energy.joules == pytest.approx(2.5 + 1.0)
    assert energy.scope == "the CPU packages (package-0, package-1): not the memory, the board or the power supply"


def test_rapl_that_only_root_may_read_says_so(tmp_path: Path) -> None:
    root = packages(tmp_path, "1", "2")
    (root / f"{RAPL}0/energy_uj").unlink()
    (root / f"{RAPL}0/energy_uj").mkdir()
    (meter,) = meters(root)
    meter.start()
    energy = meter.stop()
    assert energy.joules is None
    assert energy.reason == (
        "2 of 2 readings failed: the CPU's energy counter is for root alone (Linux 5.10 and later): "
        "as root, chmod a+r /sys/class/powercap/intel-rapl:*/energy_uj"
    )


# Jetson


def jetson(root: Path, labels: Sequence[str]) -> Path:
    chip = "sys/class/hwmon/hwmon3"
    files = {f"{chip}/name": "ina3221\n", f"{chip}/in7_input": "999\n", f"{chip}/curr4_input": "999\n"}
    for channel, label in enumerate(labels, start=1):
        files[f"{chip}/in{channel}_label"] = f"{label}\n"
        files[f"{chip}/in{channel}_input"] = "5000\n"
        files[f"{chip}/curr{channel}_input"] = f"{channel}200\n"
        files[f"{chip}/in{channel + 3}_input"] = "31\n"
    return tree(root, {**files, "sys/class/hwmon/hwmon0/name": "cpu_thermal\n"})


def test_a_jetsons_input_has_the_other_rails_in_it(tmp_path: Path) -> None:
    (found,) = ina3221.sensors(jetson(tmp_path, ["VDD_IN", "VDD_CPU_GPU_CV", "VDD_SOC"]))
    assert found.read() == (6.0,)
    assert found.scope == "the rail VDD_IN, all that the module draws: not the power supply"


def test_a_jetson_without_such_an_input_has_its_rails_added(tmp_path: Path) -> None:
    root = jetson(tmp_path, ["GPU", "CPU", "SOC"])
    (found,) = ina3221.sensors(root)
    assert found.read() == (6.0, 11.0, 16.0)
    assert found.scope == "the rails GPU, CPU, SOC: not the power supply"
    (root / "sys/class/hwmon/hwmon3/curr2_input").unlink()
    assert found.read() is None
    (again,) = ina3221.sensors(root)
    assert again.scope == "the rails GPU, SOC: not the power supply"


# Raspberry Pi 5

PMIC = """\
   3V3_SYS_A current(1)=0.05000000A
  VDD_CORE_A current(7)=2.00000000A
   3V3_SYS_V volt(9)=3.30000000V
  VDD_CORE_V volt(15)=0.75000000V
     EXT5V_V volt(24)=5.14938000V
      BATT_V volt(25)=0.00000000V
"""


def test_a_raspberry_pi_5_has_the_rails_added_that_tell_both(tmp_path: Path) -> None:
    root = program(tmp_path, "usr/bin/vcgencmd", f'[ "$1" = pmic_read_adc ] && cat <<"END"\n{PMIC}END')
    (found,) = pmic.sensors(root)
    assert found.read() == (0.05 * 3.3, 1.5)
    assert found.scope == ("the rails 3V3_SYS, VDD_CORE: not what is plugged into the board, nor the power supply")
    program(tmp_path, "usr/bin/vcgencmd", "echo 'VDD_CORE_A current(7)=2.0A'")
    assert found.read() is None


@pytest.mark.parametrize(
    "answer", ["", 'error=1 error_msg="Command not registered"', "VDD_CORE_A current(7)=..A", "VDD_CORE_V volt(1)=1V"]
)
def test_a_board_that_does_not_know_its_rails_has_no_meter(tmp_path: Path, answer: str) -> None:
    assert list(pmic.sensors(program(tmp_path, "usr/bin/vcgencmd", f"echo '{answer}'"))) == []


# NVIDIA


def test_a_gpu_that_counts_its_energy_is_a_meter(tmp_path: Path) -> None:
    library = FakeNvml()
    (found,) = nvml.sensors(tmp_path, library)
    assert (found.name, found.scope) == ("NVML 0", "GPU 0 (Example GPU 0) and its memory: not the machine around it")
    meter = SensorMeter(found, Clock(4 * SECOND))
    meter.start()
    library.energy_mj = {BUS_IDS[0]: 7_500}
    assert meter.stop().joules == 2.5


def test_without_a_driver_there_is_no_gpu_to_measure(tmp_path: Path) -> None:
    assert list(nvml.sensors(tmp_path, FakeNvml(driver_loaded=False))) == []


def test_a_machine_without_sensors_has_no_meters(tmp_path: Path) -> None:
    assert meters(tmp_path) == ()


def test_the_meters_of_this_machine_give_joules_or_a_reason() -> None:
    for meter in meters():
        meter.start()
        energy = meter.stop()
        assert (energy.joules is None) == bool(energy.reason)
        assert energy.scope == meter.scope
