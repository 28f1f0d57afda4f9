import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from runner.device import cgroup, topology
from tests.runner.device.trees import PI5_FEATURES, X86_AVX2, arm_cpuinfo, tree, x86_cpuinfo

CPUS = "sys/devices/system/cpu"


def machine(
    root: Path, *, capacities: Sequence[int] = (), mhz: Sequence[int] = (), allowed: str, cpuinfo: str = ""
) -> Path:
    files = {f"{CPUS}/cpu{cpu}/cpu_capacity": f"{capacity}\n" for cpu, capacity in enumerate(capacities)}
    files |= {f"{CPUS}/cpu{cpu}/cpufreq/cpuinfo_max_freq": f"{clock}000\n" for cpu, clock in enumerate(mhz)}
    return tree(
        root, {**files, "proc/self/status": f"Cpus_allowed_list:\t{allowed}\n", "proc/cpuinfo": cpuinfo or "\n"}
    )


def big_little(root: Path, allowed: str = "0-5") -> Path:
    """RK3399: four small cores with the low numbers, two big ones."""
    cpuinfo = arm_cpuinfo(PI5_FEATURES, "0xd03", 4) + arm_cpuinfo(PI5_FEATURES, "0xd08", 2, first=4)
    return machine(
        root, capacities=[381] * 4 + [1024] * 2, mhz=[1416] * 4 + [1800] * 2, allowed=allowed, cpuinfo=cpuinfo
    )


def test_big_and_little_cores_are_two_kinds(tmp_path: Path) -> None:
    big, little = topology.kinds(big_little(tmp_path))
    assert (big.design, big.speed, big.cpus) == ("Cortex-A72", 1024, (4, 5))
    assert (little.design, little.speed, little.cpus) == ("Cortex-A53", 381, (0, 1, 2, 3))


@pytest.mark.parametrize(
    ("allowed", "threads", "expected"),
    [
        ("0-5", 1, (4, 5)),
        ("0-5", 2, (4, 5)),
        ("0-5", 3, (0, 1, 2, 3)),
        ("0-5", 4, (0, 1, 2, 3)),
        ("0-5", 5, (0, 1, 2, 3, 4, 5)),
        ("0-3,5", 1, (5,)),
        ("0-3,5", 2, (0, 1, 2, 3)),
        ("1,2", 2, (1, 2)),
        ("1,2", 8, (1, 2)),
    ],
)
def test_a_run_is_pinned_to_the_fastest_kind_with_enough_cpus(
    tmp_path: Path, allowed: str, threads: int, expected: tuple[int, ...]
) -> None:
    assert topology.pinning(threads, big_little(tmp_path, allowed)) == expected


def test_a_prime_core_of_the_same_design_is_a_kind_of_its_own(tmp_path: Path) -> None:
    parts = ["0xd05"] * 4 + ["0xd0b"] * 4
    cpuinfo = "".join(arm_cpuinfo(PI5_FEATURES, part, 1, first=cpu) for cpu, part in enumerate(parts))
    root = machine(tmp_path, capacities=[261] * 4 + [871] * 3 + [1024], allowed="0-7", cpuinfo=cpuinfo)
    assert [kind.cpus for kind in topology.kinds(root)] == [(7,), (4, 5, 6), (0, 1, 2, 3)]
    assert topology.pinning(1, root) == (7,)
    assert topology.pinning(3, root) == (4, 5, 6)
    assert topology.default_threads(root) == 3


def hyperthreaded(root: Path, siblings: Sequence[str]) -> Path:
    """A machine whose CPUs share cores as their lists say."""
    lists = {f"{CPUS}/cpu{cpu}/topology/thread_siblings_list": f"{text}\n" for cpu, text in enumerate(siblings)}
    return tree(machine(root, allowed=f"0-{len(siblings) - 1}"), lists)


@pytest.mark.parametrize(
    ("siblings", "threads", "expected"),
    [
        (["0,4", "1,5", "2,6", "3,7"] * 2, 2, (0, 1)),
        (["0,4", "1,5", "2,6", "3,7"] * 2, 4, (0, 1, 2, 3)),
        (["0-1", "0-1", "2-3", "2-3"], 2, (0, 2)),
        (["0-1", "0-1", "2-3", "2-3"], 1, (0,)),
        (["0-1", "0-1", "2-3", "2-3"], 3, ()),
        (["0", "1", "2", "3"], 3, (0, 1, 2)),
    ],
    ids=["far apart", "all of them", "side by side", "one thread", "too few", "one CPU a core"],
)
def test_threads_have_physical_cores_of_their_own_however_the_kernel_numbers_them(
    tmp_path: Path, siblings: Sequence[str], threads: int, expected: tuple[int, ...]
) -> None:
    assert topology.physical_cores(threads, hyperthreaded(tmp_path, siblings)) == expected


def test_physical_cores_are_of_the_kind_that_a_run_is_pinned_to_and_single_ones_where_nothing_says(
    tmp_path: Path,
) -> None:
    assert topology.physical_cores(2, big_little(tmp_path)) == (4, 5)
    assert topology.physical_cores(7, big_little(tmp_path)) == ()


def test_cores_that_clock_some_percent_higher_are_no_kind_of_their_own(tmp_path: Path) -> None:
    root = machine(
        tmp_path, capacities=[1024] * 4, mhz=[4800, 5000, 4700, 4800], allowed="0-3", cpuinfo=x86_cpuinfo(X86_AVX2, 4)
    )
    assert [kind.cpus for kind in topology.kinds(root)] == [(0, 1, 2, 3)]
    assert topology.pinning(1, root) == (0, 1, 2, 3)


def test_a_hybrid_of_intel_is_told_by_its_own_lists(tmp_path: Path) -> None:
    root = machine(tmp_path, capacities=[1024] * 6, mhz=[3700] * 4 + [5000] * 2, allowed="0-5")
    tree(root, {"sys/devices/cpu_core/cpus": "4-5\n", "sys/devices/cpu_atom/cpus": "0-3\n"})
    assert [(kind.design, kind.cpus) for kind in topology.kinds(root)] == [
        ("performance", (4, 5)),
        ("efficiency", (0, 1, 2, 3)),
    ]
    assert topology.default_threads(root) == 2


def test_the_main_id_register_comes_before_the_text_of_cpuinfo(tmp_path: Path) -> None:
    root = machine(tmp_path, allowed="0-1", cpuinfo=arm_cpuinfo(PI5_FEATURES, "0xd0b", 2))
    tree(root, {f"{CPUS}/cpu1/regs/identification/midr_el1": "0x00000000412fd050\n"})
    assert [core.design for core in topology.cores(root)] == ["Cortex-A76", "Cortex-A55"]
    assert [kind.cpus for kind in topology.kinds(root)] == [(0,), (1,)]


def test_without_a_word_of_the_machine_all_cores_are_alike(tmp_path: Path) -> None:
    root = machine(tmp_path, allowed="0-3")
    assert topology.kinds(root) == (topology.Kind(design="", speed=0.0, cpus=(0, 1, 2, 3)),)
    assert topology.pinning(2, root) == (0, 1, 2, 3)
    assert topology.default_threads(root) == 4


def test_a_machine_that_tells_nothing_at_all_is_pinned_nowhere(tmp_path: Path) -> None:
    assert (topology.kinds(tmp_path), topology.pinning(1, tmp_path), topology.default_threads(tmp_path)) == ((), (), 1)


@pytest.mark.parametrize(
    ("files", "quota", "threads"),
    [
        ({}, None, 4),
        ({"proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/cpu.max": "50000 100000\n"}, 0.5, 1),
        ({"proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/cpu.max": "250000 100000\n"}, 2.5, 2),
        (
            {
                "proc/self/cgroup": "0::/a/b\n",
                "sys/fs/cgroup/a/cpu.max": "max 100000\n",
                "sys/fs/cgroup/a/b/cpu.max": "800000 100000\n",
            },
            8.0,
            4,
        ),
        (
            {
                "proc/self/cgroup": "3:cpu,cpuacct:/a\n0::/\n",
                "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us": "50000\n",
                "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us": "100000\n",
            },
            0.5,
            1,
        ),
        # In a container without a namespace of groups the path is the host's: the group itself lies at the top.
        (
            {
                "proc/self/cgroup": "3:cpu:/docker/abc\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "150000\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            1.5,
            1,
        ),
        ({"proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/unified/a/cpu.max": "300000 100000\n"}, 3.0, 3),
        ({"proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/cpu.max": "what 100000\n"}, None, 4),
        ({"proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/cpu.max": "100000 0\n"}, None, 4),
    ],
)
def test_a_quota_is_a_fact_in_cpus_and_bounds_the_threads(
    tmp_path: Path, files: Mapping[str, str], quota: float | None, threads: int
) -> None:
    root = tree(machine(tmp_path, capacities=[1024] * 4, allowed="0-3"), files)
    assert (cgroup.quota(root), topology.default_threads(root)) == (quota, threads)


def test_this_machines_cpus_are_those_that_the_scheduler_gives() -> None:
    allowed = os.sched_getaffinity(0)
    assert {core.cpu for core in topology.cores()} == allowed
    assert {cpu for kind in topology.kinds() for cpu in kind.cpus} == allowed
    assert set(topology.pinning(1)) <= allowed
    assert set(topology.pinning(len(allowed) + 1)) == allowed
    assert 1 <= topology.default_threads() <= len(allowed)
