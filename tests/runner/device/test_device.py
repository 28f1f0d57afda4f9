import struct
import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import pytest

from runner import device
from runner.device import cpu, cuda, surroundings
from tests.runner.device.trees import PI4_FEATURES, PI5_FEATURES, X86_AVX2, X86_VNNI, arm_cpuinfo, tree, x86_cpuinfo


def _auxv(words: Mapping[int, int]) -> bytes:
    return b"".join(struct.pack("=QQ", key, value) for key, value in {**words, 0: 0}.items())


def _pi5(root: Path) -> Path:
    return tree(
        root,
        {
            "proc/cpuinfo": arm_cpuinfo(PI5_FEATURES, "0xd0b"),
            "proc/self/auxv": _auxv({16: 1 << 1 | 1 << 10 | 1 << 20, 26: 0}),
            "proc/self/status": "Name:\tpython3\nCpus_allowed_list:\t0-3\n",
            "proc/self/cgroup": "0::/user.slice/session.scope\n",
            "proc/meminfo": "MemTotal:        8245712 kB\nMemFree: 1 kB\n",
            "proc/sys/kernel/arch": "aarch64\n",
            "proc/sys/kernel/osrelease": "6.6.31+rpt-rpi-2712\n",
            "proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0",
            "proc/loadavg": "0.25 0.10 0.05 1/200 1234\n",
            "proc/stat": "cpu  100 0 50 850 0 0 0 0 0 0\ncpu0 1 1 1 1 1 1 1 1\n",
            "etc/os-release": 'NAME="Debian GNU/Linux"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
            "sys/devices/system/cpu/modalias": "cpu:type:aarch64:feature:,0000,0001\n",
            "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "ondemand\n",
            "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "2400000\n",
            "sys/devices/system/cpu/cpu1/cpufreq/scaling_governor": "ondemand\n",
            "sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq": "1500000\n",
            "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
            "sys/class/thermal/thermal_zone0/temp": "61250\n",
            "sys/class/thermal/thermal_zone1/type": "wifi\n",
            "sys/class/thermal/thermal_zone1/temp": "90000\n",
            "sys/devices/platform/soc/soc:firmware/get_throttled": "50000\n",
        },
    )


def test_a_raspberry_pi_5_is_told_by_its_files(tmp_path: Path) -> None:
    facts = device.facts(_pi5(tmp_path), "aarch64", environment={"OMP_NUM_THREADS": "2", "HOME": "/root"})
    assert (facts.machine, facts.cpu, facts.board) == ("aarch64", "Cortex-A76", "Raspberry Pi 5 Model B Rev 1.0")
    assert facts.features == ("asimd", "asimdhp", "asimddp")
    assert (facts.cpus, facts.affinity, facts.memory_bytes) == (4, (0, 1, 2, 3), 8245712 * 1024)
    assert (facts.emulated, facts.virtual, facts.governor, facts.cuda) == (None, None, "ondemand", ())
    assert facts.system == "Linux 6.6.31+rpt-rpi-2712, Debian GNU/Linux 12 (bookworm)"
    assert facts.environment == {"OMP_NUM_THREADS": "2"}
    kernels = {runtime.format: runtime.kernel for runtime in facts.runtimes}
    assert kernels == {
        "onnx": "SDOT and UDOT",
        "torchscript": "QNNPACK on NEON, without dot product",
        "litert": "SDOT and UDOT",
        "executorch": "SDOT and UDOT",
        "openvino": "SDOT and UDOT",
        "aotinductor": "SDOT and UDOT",
    }


def test_a_raspberry_pi_5_tells_its_state(tmp_path: Path) -> None:
    state = device.state(_pi5(tmp_path))
    assert (state.load_average, state.temperature_c, state.frequency_mhz) == (0.25, 61.25, 1950.0)
    assert (state.throttled, state.steal_fraction) == (False, 0.0)  # 0x50000 tells of the time since boot alone


@pytest.mark.parametrize(
    ("place", "text", "expected"),
    [
        ("sys/devices/platform/soc/soc:firmware/get_throttled", "50005\n", True),
        ("sys/devices/platform/soc@107c000000:firmware/get_throttled", "8", True),
        ("sys/devices/platform/soc/soc:firmware/get_throttled", "0", False),
        ("sys/devices/platform/soc/soc:firmware/get_throttled", "who knows", None),
    ],
)
def test_the_throttle_bits_of_now_are_read(tmp_path: Path, place: str, text: str, expected: bool | None) -> None:
    assert device.state(tree(tmp_path, {place: text})).throttled is expected


def test_the_firmware_itself_is_asked_before_the_cached_file(tmp_path: Path) -> None:
    root = tree(_pi5(tmp_path), {"usr/bin/vcgencmd": '#!/bin/sh\n[ "$1" = get_throttled ] && echo throttled=0x50004\n'})
    (root / "usr/bin/vcgencmd").chmod(0o755)
    assert device.state(root).throttled is True


def test_a_firmware_tool_that_fails_leaves_the_file(tmp_path: Path) -> None:
    root = tree(_pi5(tmp_path), {"usr/bin/vcgencmd": "#!/bin/sh\nexit 1\n"})
    (root / "usr/bin/vcgencmd").chmod(0o755)
    assert device.state(root).throttled is False


def test_a_raspberry_pi_4_has_no_dot_product(tmp_path: Path) -> None:
    root = tree(tmp_path, {"proc/cpuinfo": arm_cpuinfo(PI4_FEATURES, "0xd08")})
    facts = device.facts(root, "aarch64")
    assert (facts.cpu, facts.features) == ("Cortex-A72", ("asimd",))
    assert facts.runtimes[0].kernel == "none (NEON without dot product: int8 may gain nothing)"


def test_the_kernels_word_to_the_process_comes_before_the_text_of_cpuinfo(tmp_path: Path) -> None:
    cpuinfo = arm_cpuinfo(PI5_FEATURES, "0xd0b")
    root = tree(tmp_path, {"proc/cpuinfo": cpuinfo, "proc/self/auxv": _auxv({16: 1 << 1, 26: 1 << 13})})
    assert cpu.features(root, "aarch64") == ("asimd", "i8mm")


def test_two_kinds_of_core_are_both_named(tmp_path: Path) -> None:
    text = arm_cpuinfo(PI5_FEATURES, "0xd05", cores=2) + arm_cpuinfo(PI5_FEATURES, "0xd0b", cores=2)
    assert cpu.cpu_name(tree(tmp_path, {"proc/cpuinfo": text})) == "Cortex-A55 + Cortex-A76"


def test_a_core_that_nobody_knows_is_named_by_its_numbers(tmp_path: Path) -> None:
    root = tree(tmp_path, {"proc/cpuinfo": arm_cpuinfo(PI5_FEATURES, "0xfff")})
    assert cpu.cpu_name(root) == "ARM implementer 0x41 part 0xfff"


def test_a_virtual_x86_machine_with_vnni_is_told_by_its_files(tmp_path: Path) -> None:
    root = tree(
        tmp_path,
        {
            "proc/cpuinfo": x86_cpuinfo(X86_VNNI),
            "sys/class/dmi/id/sys_vendor": "QEMU\n",
            "sys/class/dmi/id/product_name": "Standard PC\n",
        },
    )
    facts = device.facts(root, "x86_64")
    assert (facts.cpu, facts.virtual) == ("Example CPU", "virtual machine (QEMU Standard PC)")
    assert facts.features == ("f16c", "fma", "avx2", "avx512f", "avx512bw", "avx512_vnni")
    assert {runtime.kernel for runtime in facts.runtimes} == {"AVX512-VNNI"}
    assert device.state(root).frequency_mhz == 2050.0


def test_x86_without_vnni_may_saturate(tmp_path: Path) -> None:
    facts = device.facts(tree(tmp_path, {"proc/cpuinfo": x86_cpuinfo(X86_AVX2)}), "x86_64")
    assert {runtime.format: runtime.kernel for runtime in facts.runtimes} == {
        "onnx": "AVX2 (may saturate)",
        "torchscript": "AVX2 (may saturate)",
        "litert": "AVX2",
        "openvino": "AVX2 (may saturate)",
        "executorch": "AVX2",
        "aotinductor": "AVX2 (may saturate)",
    }
    assert facts.virtual is None


@pytest.mark.parametrize(
    ("features", "expected"),
    [
        (("avx2", "avx512_vnni", "amx_int8"), "AMX int8"),
        (("avx2", "avx_vnni"), "AVX-VNNI"),
        (("avx2", "avx512bw"), "AVX-512 without VNNI (may saturate)"),
        ((), "none (SSE only: may saturate)"),
    ],
)
def test_the_int8_kernel_of_onnx_runtime_on_x86_is_forecast(features: tuple[str, ...], expected: str) -> None:
    assert cpu.kernel("onnx", "x86_64", features) == expected


def test_matrix_instructions_of_arm_come_before_the_dot_product() -> None:
    assert cpu.kernel("onnx", "aarch64", ("asimddp", "i8mm")) == "I8MM (SMMLA, UMMLA)"


@pytest.mark.parametrize(
    ("files", "sign"),
    [
        ({"proc/sys/kernel/arch": "x86_64\n"}, "the kernel is built for x86_64, and uname says aarch64"),
        (
            {"sys/devices/system/cpu/modalias": "cpu:type:x86,ven0000fam0006mod0055:feature:,0000\n"},
            "the kernel's CPU is of the type x86, and uname says aarch64",
        ),
        ({"proc/cpuinfo": x86_cpuinfo(X86_VNNI)}, "/proc/cpuinfo has 'vendor_id', which aarch64 has not"),
        (
            {"proc/sys/fs/binfmt_misc/qemu-aarch64": "enabled\ninterpreter /usr/bin/qemu-aarch64-static\n"},
            "the kernel hands aarch64 programs to QEMU",
        ),
    ],
)
def test_each_sign_of_emulation_is_enough(tmp_path: Path, files: Mapping[str, str], sign: str) -> None:
    cpuinfo = {"proc/cpuinfo": arm_cpuinfo(PI5_FEATURES, "0xd0b")}
    assert surroundings.emulated(tree(tmp_path, {**cpuinfo, **files}), "aarch64") == sign


@pytest.mark.parametrize(
    ("machine", "files"),
    [
        ("x86_64", {"proc/cpuinfo": x86_cpuinfo(X86_AVX2), "proc/sys/kernel/arch": "x86_64"}),
        (
            "aarch64",
            {"proc/sys/kernel/arch": "aarch64", "sys/devices/system/cpu/modalias": "cpu:type:aarch64:feature:"},
        ),
        # An x86 host on which ARM programs can run is no emulated machine itself.
        ("x86_64", {"proc/sys/fs/binfmt_misc/qemu-aarch64": "enabled\n"}),
        ("armv7l", {"proc/sys/kernel/arch": "aarch64"}),
        ("aarch64", {}),
    ],
)
def test_a_real_machine_shows_no_sign_of_emulation(tmp_path: Path, machine: str, files: Mapping[str, str]) -> None:
    assert surroundings.emulated(tree(tmp_path, files), machine) is None


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({".dockerenv": ""}, "container (docker)"),
        ({"run/.containerenv": ""}, "container (podman)"),
        ({"run/systemd/container": "systemd-nspawn\n"}, "container (systemd-nspawn)"),
        ({"proc/1/cgroup": "0::/kubepods/burstable/pod1\n"}, "container (kubepods)"),
        ({"sys/hypervisor/type": "xen\n", ".dockerenv": ""}, "virtual machine (xen) with a container (docker)"),
        ({"sys/class/dmi/id/sys_vendor": "QEMU\n"}, "virtual machine (QEMU)"),
        ({"proc/1/cgroup": "0::/init.scope\n"}, None),
    ],
)
def test_hypervisors_and_containers_are_named(tmp_path: Path, files: Mapping[str, str], expected: str | None) -> None:
    assert surroundings.virtual(tree(tmp_path, files)) == expected


def test_a_real_x86_machine_of_a_cloud_maker_is_not_virtual(tmp_path: Path) -> None:
    files = {"proc/cpuinfo": x86_cpuinfo(X86_AVX2), "sys/class/dmi/id/sys_vendor": "Amazon EC2\n"}
    assert surroundings.virtual(tree(tmp_path, files)) is None


EIGHT = {"proc/self/status": "Cpus_allowed_list:\t0-5,8,10\n"}


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 8),
        ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/cpu.max": "max 100000\n"}, 8),
        ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/cpu.max": "350000 100000\n"}, 3),
        ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/cpu.max": "200000 100000\n"}, 2),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "50000 100000\n"}, 1),
        (
            {
                "proc/self/cgroup": "4:cpu,cpuacct:/a\n1:name=systemd:/x\n",
                "sys/fs/cgroup/cpu/a/cpu.cfs_quota_us": "400000\n",
                "sys/fs/cgroup/cpu/a/cpu.cfs_period_us": "100000\n",
            },
            4,
        ),
        (
            {
                "proc/self/cgroup": "4:cpu,cpuacct:/a\n",
                "sys/fs/cgroup/cpu/a/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/a/cpu.cfs_period_us": "100000\n",
            },
            8,
        ),
    ],
)
def test_usable_cpus_are_those_of_the_mask_and_of_the_quota(
    tmp_path: Path, files: Mapping[str, str], expected: int
) -> None:
    assert surroundings.usable_cpus(tree(tmp_path, {**EIGHT, **files})) == expected


def test_the_mask_lists_every_cpu(tmp_path: Path) -> None:
    assert surroundings.affinity(tree(tmp_path, EIGHT)) == (0, 1, 2, 3, 4, 5, 8, 10)


def test_what_cannot_be_read_is_none(tmp_path: Path) -> None:
    facts, state = device.facts(tmp_path, "aarch64", environment={}), device.state(tmp_path)
    assert (facts.memory_bytes, facts.emulated, facts.virtual, facts.governor, facts.board) == (None,) * 5
    assert (facts.cpu, facts.cpus, facts.affinity, facts.features) == ("unknown", 1, (), ())
    assert (state.load_average, state.temperature_c, state.frequency_mhz, state.throttled, state.steal_fraction) == (
        (None,) * 5
    )


def test_steal_is_the_share_of_all_cpu_time(tmp_path: Path) -> None:
    root = tree(tmp_path, {"proc/stat": "cpu  100 0 50 800 0 0 0 50 7 7\n"})
    assert device.state(root).steal_fraction == 0.05


def test_a_driver_that_is_not_there_has_no_cuda_devices(tmp_path: Path) -> None:
    assert cuda.cuda_devices(tmp_path) == ()
    assert (device.facts(tmp_path).gpu, device.facts(tmp_path).gpu_unknown) == (None, "")


def test_this_machine_is_told_too() -> None:
    facts = device.facts()
    assert facts.cpus >= 1
    assert facts.memory_bytes is not None
    assert {runtime.format: runtime.version is not None for runtime in facts.runtimes} == {
        "onnx": True,
        "torchscript": True,
        "litert": True,
        "executorch": find_spec("executorch") is not None,
        "openvino": True,
        "aotinductor": True,
    }


def test_looking_at_the_machine_imports_nothing_heavy() -> None:
    heavy = {"torch", "torchvision", "onnx", "onnxruntime", "psutil", "scipy"}
    program = f"import sys; from runner import device; device.facts(); print(*({heavy!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout.split() == []
