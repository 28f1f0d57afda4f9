from collections.abc import Mapping
from pathlib import Path

import pytest

from runner.device import surroundings
from tests.runner.device.trees import PI5_FEATURES, arm_cpuinfo, tree, x86_cpuinfo

MAPS = "00400000-005b3000 r--p 00000000 fe:00 2613263                            /opt/program\n"
ROOT_MOUNT = "20 1 0:30 / / rw - overlay overlay rw\n"


def test_an_emulator_that_hides_is_mapped_into_the_thread(tmp_path: Path) -> None:
    mapped = f"{MAPS}7f0000000000-7f0000100000 r-xp 00000000 fe:00 5 /usr/bin/qemu-aarch64-static\n"
    root = tree(
        tmp_path,
        {
            "proc/cpuinfo": arm_cpuinfo(PI5_FEATURES, "0xd0b"),
            "proc/sys/kernel/arch": "aarch64\n",
            "proc/self/maps": MAPS,
            "proc/self/task/7/maps": mapped,
            "proc/self/task/8/maps": mapped,
        },
    )
    assert surroundings.emulated(root, "aarch64") == "qemu-aarch64-static is mapped into this process"


@pytest.mark.parametrize("name", ["/home/me/qemu-aarch64/program", "/usr/lib/libqemu-like.so", "[stack]"])
def test_a_file_that_only_sounds_like_an_emulator_is_none(tmp_path: Path, name: str) -> None:
    root = tree(tmp_path, {"proc/self/task/7/maps": f"7f0000000000-7f0000100000 r-xp 00000000 fe:00 5 {name}\n"})
    assert surroundings.emulated(root, "aarch64") is None


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"proc/device-tree/compatible": "linux,dummy-virt\0"}, "virtual machine (linux,dummy-virt)"),
        (
            {"sys/class/dmi/id/sys_vendor": "Amazon EC2\n", "sys/class/dmi/id/product_name": "c7g.large\n"},
            "virtual machine (Amazon EC2 c7g.large)",
        ),
        ({"sys/class/dmi/id/sys_vendor": "Amazon EC2\n", "sys/class/dmi/id/product_name": "c7g.metal\n"}, None),
        ({"proc/device-tree/compatible": "raspberrypi,5-model-b\0brcm,bcm2712\0"}, None),
        ({"proc/cpuinfo": x86_cpuinfo("fpu avx2 hypervisor")}, "virtual machine (unknown hypervisor)"),
        ({"run/secrets/kubernetes.io/token": "x"}, "container (kubernetes)"),
        (
            {"proc/self/mountinfo": f"{ROOT_MOUNT}25 20 8:1 /var/lib/docker/containers/9f/hostname /etc/hostname rw\n"},
            "container (docker)",
        ),
        (
            {"proc/self/mountinfo": "25 20 8:1 /var/lib/kubelet/pods/1/etc-hosts /etc/hosts rw - ext4 /dev/sda1 rw\n"},
            "container (kubernetes)",
        ),
        # A host of containers sees their mounts, and is none itself.
        ({"proc/self/mountinfo": "25 20 8:1 / /var/lib/docker/containers/9f/mounts rw - ext4 /dev/sda1 rw\n"}, None),
        ({"proc/self/mountinfo": ROOT_MOUNT}, None),
    ],
)
def test_more_signs_of_hypervisors_and_containers(
    tmp_path: Path, files: Mapping[str, str], expected: str | None
) -> None:
    assert surroundings.virtual(tree(tmp_path, files)) == expected


@pytest.mark.parametrize(
    ("allowed", "online", "expected"),
    [
        ("0-127", "0-1", (0, 1)),
        ("0-3", "0,2-3", (0, 2, 3)),
        ("0-3", "garbage", (0, 1, 2, 3)),
        ("1", "", (1,)),
        ("garbage", "0-3", ()),
        ("0-x", "0-3", ()),
    ],
)
def test_a_cpu_that_is_off_is_not_in_the_mask(
    tmp_path: Path, allowed: str, online: str, expected: tuple[int, ...]
) -> None:
    files = {"proc/self/status": f"Cpus_allowed_list:\t{allowed}\n", "sys/devices/system/cpu/online": f"{online}\n"}
    assert surroundings.affinity(tree(tmp_path, files)) == expected
