from packaging.markers import Marker

from packager.remote.environment import BoardPython

PI = BoardPython(machine="aarch64", version="3.11.2", glibc=(2, 36))


def test_wheels_for_every_older_glibc_fit_the_newest_first() -> None:
    assert PI.platforms[:2] == ("manylinux_2_36_aarch64", "manylinux_2_35_aarch64")
    assert PI.platforms[-3:] == ("manylinux_2_17_aarch64", "manylinux2014_aarch64", "linux_aarch64")
    assert "manylinux_2_37_aarch64" not in PI.platforms


def test_x86_has_wheels_older_than_arm_has() -> None:
    found = BoardPython(machine="x86_64", version="3.12.1", glibc=(2, 17)).platforms
    assert found[:2] == ("manylinux_2_17_x86_64", "manylinux2014_x86_64")
    assert {"manylinux2010_x86_64", "manylinux1_x86_64"} <= set(found)


def test_conditions_are_judged_by_the_board_and_not_by_this_machine() -> None:
    for condition, holds in {
        'platform_machine == "aarch64"': True,
        'platform_system == "Linux" and platform_machine == "x86_64"': False,
        'python_version >= "3.12"': False,
        'python_full_version >= "3.11.2"': True,
        'sys_platform == "linux" and implementation_name == "cpython"': True,
    }.items():
        assert Marker(condition).evaluate(PI.markers()) is holds, condition
    assert Marker('extra == "gpu"').evaluate(PI.markers("gpu"))
    assert not Marker('extra == "gpu"').evaluate(PI.markers())


def test_boards_that_take_the_same_wheels_share_a_folder() -> None:
    assert PI.name == "aarch64-py3.11-glibc2.36"
    assert BoardPython(machine="aarch64", version="3.11.9", glibc=(2, 36)).name == PI.name
