import shutil
from pathlib import Path

import pytest

from packager.remote.environment import BoardPython
from packager.remote.setup.wheels import Store, Wheel, collect, read_wheel
from runner.errors import RuntimeUnavailable, StepError
from tests.fakes import RecordingProgress
from tests.packager.remote.setup.wheel_files import wheel

PI = BoardPython(machine="aarch64", version="3.11.2", glibc=(2, 36))
PC = BoardPython(machine="x86_64", version="3.12.4", glibc=(2, 36))
# As torch 2.9.1 has them in the wheel for aarch64, and those for x86 alike.
TORCH = (
    "filelock",
    "typing-extensions>=4.10.0",
    'setuptools; python_version >= "3.12"',
    'nvidia-cublas-cu12==12.8.4.1; platform_system == "Linux" and platform_machine == "x86_64"',
    'opt-einsum>=3.3; extra == "opt-einsum"',
)


def names(found: tuple[Wheel, ...]) -> list[str]:
    return sorted(f"{each.name} {each.version}" for each in found)


def store(tmp_path: Path, python: BoardPython = PI) -> Store:
    return Store(folder=tmp_path / "cache" / python.name, python=python)


def torch_and_friends(index: Path) -> None:
    for machine, python in (("aarch64", "cp311"), ("x86_64", "cp312")):
        wheel(index, "torch", "2.9.1", tag=f"{python}-{python}-manylinux_2_28_{machine}", requires=TORCH)
    for name, version in {
        "filelock": "3.0",
        "typing_extensions": "4.15",
        "setuptools": "80.0",
        "nvidia_cublas_cu12": "12.8.4.1",
    }.items():
        wheel(index, name, version)


def test_a_board_gets_what_its_own_conditions_ask_for(index: Path, tmp_path: Path) -> None:
    torch_and_friends(index)
    assert names(collect(["torch==2.9.1"], store(tmp_path))) == [
        "filelock 3.0",
        "torch 2.9.1",
        "typing-extensions 4.15",
    ]
    assert names(collect(["torch"], store(tmp_path, PC))) == [
        "filelock 3.0",
        "nvidia-cublas-cu12 12.8.4.1",
        "setuptools 80.0",
        "torch 2.9.1",
        "typing-extensions 4.15",
    ]


def test_wheels_are_for_the_boards_machine_python_and_libc(index: Path, tmp_path: Path) -> None:
    for version, tag in {
        "1.0": "cp311-cp311-manylinux_2_28_aarch64",
        "1.1": "cp311-cp311-manylinux_2_39_aarch64",
        "1.2": "cp312-cp312-manylinux_2_28_aarch64",
        "1.3": "cp311-cp311-manylinux_2_28_x86_64",
    }.items():
        wheel(index, "onnxruntime", version, tag=tag)
    wheel(index, "onnxruntime", "1.4", headers={"Requires-Python": ">=3.12"})
    (found,) = collect(["onnxruntime"], store(tmp_path))
    assert found.path.name == "onnxruntime-1.0-cp311-cp311-manylinux_2_28_aarch64.whl"
    assert found.path.parent == tmp_path / "cache" / "aarch64-py3.11-glibc2.36"


def test_one_version_meets_all_that_ask_for_the_project(index: Path, tmp_path: Path) -> None:
    wheel(index, "first", requires=["numpy>=1.5"])
    wheel(index, "second", requires=["NumPy<2"])
    for version in ("1.0", "1.9", "2.1"):
        wheel(index, "numpy", version)
    assert names(collect(["numpy", "first", "second"], store(tmp_path))) == ["first 1.0", "numpy 1.9", "second 1.0"]


def test_what_only_a_version_that_is_not_taken_needs_is_left_out(index: Path, tmp_path: Path) -> None:
    wheel(index, "first", requires=["second<2"])
    wheel(index, "second", "1.0")
    wheel(index, "second", "2.0", requires=["third"])
    wheel(index, "third")
    assert names(collect(["second", "first"], store(tmp_path))) == ["first 1.0", "second 1.0"]


def test_extras_bring_what_they_are_for(index: Path, tmp_path: Path) -> None:
    wheel(index, "first", requires=["second[fast]"])
    wheel(index, "second", requires=['third; extra == "fast"', 'fourth; extra == "slow"', "fifth"])
    for name in ("third", "fifth"):
        wheel(index, name)
    assert names(collect(["first"], store(tmp_path))) == ["fifth 1.0", "first 1.0", "second 1.0", "third 1.0"]


def test_requirements_that_no_version_meets_are_named_with_who_has_them(index: Path, tmp_path: Path) -> None:
    wheel(index, "first", requires=["numpy<2"])
    for version in ("1.9", "2.1"):
        wheel(index, "numpy", version)
    with pytest.raises(RuntimeUnavailable) as error:
        collect(["numpy>=2", "first"], store(tmp_path))
    assert error.value.what == "no version of numpy suits all: edgepack wants numpy>=2; first wants numpy<2"
    assert error.value.where == "aarch64-py3.11-glibc2.36"
    assert error.value.advice == "other versions of these packages"


def test_a_package_without_a_wheel_for_the_board_is_named(index: Path, tmp_path: Path) -> None:
    wheel(index, "onnxruntime", tag="cp311-cp311-manylinux_2_28_x86_64")
    with pytest.raises(RuntimeUnavailable, match="there is no wheel of onnxruntime for this kind of board") as error:
        collect(["onnxruntime"], store(tmp_path))
    assert error.value.advice.startswith("another Python or a newer system on the board")


def test_what_is_here_is_not_asked_for_again(index: Path, tmp_path: Path) -> None:
    torch_and_friends(index)
    first = collect(["torch"], store(tmp_path))
    shutil.rmtree(index)
    index.mkdir()
    assert collect(["torch==2.9.1"], store(tmp_path)) == first
    with pytest.raises(RuntimeUnavailable, match="no wheel of torch"):
        collect(["torch"], store(tmp_path, PC))


def test_a_download_that_was_cut_off_leaves_nothing_that_is_taken_for_a_wheel(index: Path, tmp_path: Path) -> None:
    folder = store(tmp_path).folder
    wheel(folder / ".download-abc", "numpy", "9.0")
    wheel(index, "numpy", "2.1")
    assert names(collect(["numpy"], store(tmp_path))) == ["numpy 2.1"]


def test_a_damaged_wheel_is_named_with_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "numpy-1.0-py3-none-any.whl"
    path.write_bytes(b"half of it")
    with pytest.raises(StepError, match="is damaged: File is not a zip file") as error:
        read_wheel(path)
    assert error.value.advice == f"rm '{path}'"


def test_the_options_of_pip_are_those_that_are_given(index: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    wheel(other, "torch", "2.15+cpu")
    wheel(index, "torch", "2.14")
    given = Store(folder=tmp_path / "cache", python=PI, options=("--find-links", str(other)))
    assert names(collect(["torch"], given)) == ["torch 2.15+cpu"]


def test_every_download_is_shown(index: Path, tmp_path: Path) -> None:
    wheel(index, "first", requires=["second"])
    wheel(index, "second")
    progress = RecordingProgress()
    collect(["first"], store(tmp_path), progress)
    assert progress.tasks == [("wheels for the board", 1, 1)]
