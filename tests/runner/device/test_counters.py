from collections.abc import Mapping
from dataclasses import astuple, fields
from pathlib import Path

import pytest

from runner.device.counters import counters, sensors
from runner.device.firmware import throttled_bits
from runner.process import Counters
from tests.runner.device.trees import program, tree, x86_cpuinfo

CPU0 = "sys/devices/system/cpu/cpu0"
THROTTLED = "sys/devices/platform/soc/soc:firmware/get_throttled"


@pytest.mark.parametrize(
    ("text", "bits"),
    [
        ("50005", 0x50005),
        ("throttled=0x50005", 0x50005),
        ("0x8\n", 8),
        ("0", 0),
        ("throttled=", None),
        ("", None),
        (None, None),
        ('error=1 error_msg="Command not registered"', None),
        ("-1", None),
        ("throttled=0xthrottled", None),
    ],
)
def test_throttle_bits_are_hexadecimal_with_and_without_0x(text: str | None, bits: int | None) -> None:
    assert throttled_bits(text) == bits


def test_the_bits_of_now_and_those_since_boot_are_told_apart(tmp_path: Path) -> None:
    now = counters(tree(tmp_path, {THROTTLED: "50004\n"}))
    assert (now.throttled_now, now.throttled_since_boot) == (4, 5)


def test_the_firmware_is_believed_before_its_copy_in_sys(tmp_path: Path) -> None:
    root = program(tree(tmp_path, {THROTTLED: "0\n"}), "usr/bin/vcgencmd", "echo throttled=0x20002")
    assert counters(root).throttled_now == 2


@pytest.mark.parametrize("script", ["exit 1", "echo VCHI initialization failed; exit 255", "printf '\\377'"])
def test_a_firmware_that_cannot_be_asked_leaves_the_copy(tmp_path: Path, script: str) -> None:
    root = program(tree(tmp_path, {THROTTLED: "4\n"}), "usr/bin/vcgencmd", script)
    assert counters(root).throttled_now == 4


def test_on_a_machine_without_any_file_every_counter_is_none(tmp_path: Path) -> None:
    now = counters(tmp_path)
    assert {field.name: getattr(now, field.name) for field in fields(Counters) if field.name != "monotonic_ns"} == {
        "load_average": None,
        "temperature_c": None,
        "frequency_mhz": None,
        "throttled_now": None,
        "throttled_since_boot": None,
        "heat_throttles": None,
        "nr_throttled": None,
        "steal_ticks": None,
        "total_ticks": None,
        "gpu": None,
    }
    assert now.steal_fraction is None


@pytest.mark.parametrize("garbage", ["", "nan", "who knows", "1 2", "\x00\xff", "inf", "-"])
def test_garbage_is_none_and_never_0(tmp_path: Path, garbage: str) -> None:
    names = (
        "proc/loadavg",
        "proc/stat",
        "proc/cpuinfo",
        "sys/class/thermal/thermal_zone0/temp",
        f"{CPU0}/cpufreq/scaling_cur_freq",
        f"{CPU0}/thermal_throttle/core_throttle_count",
        "sys/devices/platform/soc/soc:firmware/get_throttled",
        "sys/fs/cgroup/cpu.stat",
    )
    files = {name: garbage.replace("1 2", "1,2") for name in names} | {"proc/self/cgroup": "0::/\n"}
    assert set(astuple(counters(tree(tmp_path, files)))[1:]) == {None}


def test_what_is_a_folder_where_a_file_should_be_is_none(tmp_path: Path) -> None:
    (tmp_path / "sys/class/thermal/thermal_zone0/temp").mkdir(parents=True)
    (tmp_path / "proc/stat").mkdir(parents=True)
    now = counters(tmp_path)
    assert (now.temperature_c, now.steal_ticks) == (None, None)


@pytest.mark.parametrize(
    ("files", "celsius"),
    [
        ({"sys/class/thermal/thermal_zone0/temp": "-274000\n"}, None),
        ({"sys/class/thermal/thermal_zone0/temp": "200000\n"}, None),
        (
            {
                "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
                "sys/class/thermal/thermal_zone0/temp": "-274000\n",
                "sys/class/thermal/thermal_zone1/type": "gpu-thermal\n",
                "sys/class/thermal/thermal_zone1/temp": "48000\n",
            },
            48.0,
        ),
        (
            {
                "sys/class/thermal/thermal_zone0/type": "acpitz\n",
                "sys/class/thermal/thermal_zone0/temp": "27800\n",
                "sys/class/hwmon/hwmon2/name": "k10temp\n",
                "sys/class/hwmon/hwmon2/temp1_input": "66500\n",
                "sys/class/hwmon/hwmon2/temp3_input": "61000\n",
            },
            66.5,
        ),
        (
            {
                "sys/class/thermal/thermal_zone0/type": "bigcore0-thermal\n",
                "sys/class/thermal/thermal_zone0/temp": "51000\n",
                "sys/class/thermal/thermal_zone1/type": "littlecore-thermal\n",
                "sys/class/thermal/thermal_zone1/temp": "47000\n",
                "sys/class/thermal/thermal_zone2/type": "npu-thermal\n",
                "sys/class/thermal/thermal_zone2/temp": "80000\n",
            },
            51.0,
        ),
    ],
)
def test_the_temperature_is_the_hottest_that_can_be_of_the_cpu(
    tmp_path: Path, files: Mapping[str, str], celsius: float | None
) -> None:
    assert counters(tree(tmp_path, files)).temperature_c == celsius


def test_the_frequency_is_that_of_the_cpus_that_are_watched(tmp_path: Path) -> None:
    files = {f"sys/devices/system/cpu/cpu{n}/cpufreq/scaling_cur_freq": f"{1000 + 100 * n}000\n" for n in range(11)}
    root = tree(tmp_path, files)
    assert sensors(root).read().frequency_mhz == 1500.0
    assert sensors(root, (1, 10)).read().frequency_mhz == 1550.0


def test_a_clock_of_0_is_no_clock(tmp_path: Path) -> None:
    files = {f"{CPU0}/cpufreq/scaling_cur_freq": "0\n", "proc/cpuinfo": x86_cpuinfo("fpu")}
    assert counters(tree(tmp_path, files)).frequency_mhz == 2050.0
    assert [sensors(tmp_path, cpus).read().frequency_mhz for cpus in ((0,), (1,), (2,))] == [2000.0, 2100.0, None]


@pytest.mark.parametrize(
    ("files", "times"),
    [
        (
            {"proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/cpu.stat": "usage_usec 5\nnr_periods 9\nnr_throttled 7\n"},
            7,
        ),
        (
            {
                "proc/self/cgroup": "0::/a/b\n",
                "sys/fs/cgroup/cpu.stat": "usage_usec 5\n",
                "sys/fs/cgroup/a/cpu.stat": "nr_throttled 7\n",
                "sys/fs/cgroup/a/b/cpu.stat": "nr_throttled 2\n",
            },
            9,
        ),
        (
            {
                "proc/self/cgroup": "4:cpu,cpuacct:/docker/0\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.stat": "nr_periods 1\nnr_throttled 3\nthrottled_time 1\n",
            },
            3,
        ),
        ({"proc/self/cgroup": "1:cpu:/\n0::/\n", "sys/fs/cgroup/cpu/cpu.stat": "nr_throttled 0\n"}, 0),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.stat": "usage_usec 5\n"}, None),
    ],
)
def test_a_quota_is_counted_on_every_level_of_both_versions(
    tmp_path: Path, files: Mapping[str, str], times: int | None
) -> None:
    assert counters(tree(tmp_path, files)).nr_throttled == times


def test_heat_that_slowed_any_core_down_counts(tmp_path: Path) -> None:
    name = "sys/devices/system/cpu/cpu{}/thermal_throttle/core_throttle_count"
    assert counters(tree(tmp_path, {name.format(0): "3\n", name.format(1): "4\n"})).heat_throttles == 7


def test_this_machine_is_counted() -> None:
    before, now = counters(), counters()
    assert now.monotonic_ns > before.monotonic_ns
    assert now.total_ticks is not None
    assert before.total_ticks is not None
    assert now.total_ticks >= before.total_ticks > 0
    assert now.load_average is not None
