import ensurepip
import os
import platform
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from packager.remote.messages import BoardFacts
from packager.remote.setup import prepare, venv_program
from runner.errors import MeasurementError, RuntimeUnavailable
from runner.progress import Silent
from tests.fakes import RecordingProgress
from tests.packager.remote.boards import FolderBoard, board_facts
from tests.packager.remote.setup.wheel_files import wheel

PYTHON = ".".join(map(str, sys.version_info[:2]))
(PIP,) = (Path(ensurepip.__file__).parent / "_bundled").glob("pip-*.whl")


@pytest.fixture
def index_of_all(index: Path) -> Path:
    """Return an index with small stand-ins for what boards need."""
    wheel(index, "numpy", "2.4")
    wheel(index, "psutil", "7.2")
    wheel(index, "onnxruntime", "1.31", requires=["numpy>=1.21", "flatbuffers"])
    wheel(index, "flatbuffers", "25.1")
    wheel(index, "torch", "2.9.1")
    wheel(index, "executorch", "1.0.1", requires=["torch<2.10", "coremltools==9.0"])
    shutil.copy(PIP, index)
    return index


def board_here(
    tmp_path: Path, packages: dict[str, str] | None = None, *, free_bytes: int = 20 << 30, has_ensurepip: bool = False
) -> FolderBoard:
    """Return a fresh board: this Python, said to run on a Raspberry Pi.

    By default it is given a pip, which is faster by far than to have it make its own.
    """
    folder, cache = tmp_path / "board" / "session", tmp_path / "board" / "cache"
    folder.mkdir(parents=True, exist_ok=True)
    facts = board_facts(
        python=platform.python_version(),
        executable=sys.executable,
        cache=str(cache),
        packages=packages,
        free_bytes=free_bytes,
        has_ensurepip=has_ensurepip,
    )
    return FolderBoard(folder=folder, facts=facts)


def venv_of(board: FolderBoard) -> Path:
    return Path(board.facts.cache) / f"venv-{PYTHON}"


def inodes(folder: Path) -> dict[str, int]:
    return {str(path): path.lstat().st_ino for path in folder.rglob("*")}


@pytest.mark.parametrize("offline", [False, True])
def test_executorch_comes_with_torch_and_with_nothing_that_only_makes_files(
    offline: bool, index_of_all: Path, tmp_path: Path
) -> None:
    if sys.version_info[:2] > (3, 12):
        pytest.skip("executorch 1.0.1 has no wheels for this Python")
    found = prepare(board_here(tmp_path), ["executorch"], Silent(), offline=offline, store=tmp_path / "store")
    wanted = {"torch": "2.9.1", "executorch": "1.0.1", "coremltools": None}
    assert {name: found.packages.get(name) for name in wanted} == wanted


def test_a_fresh_board_gets_an_environment_of_its_own(index_of_all: Path, tmp_path: Path) -> None:
    board, progress = board_here(tmp_path, has_ensurepip=True), RecordingProgress()
    found = prepare(board, ["onnx"], progress)
    assert found.changed
    assert found.python == str(venv_of(board) / "bin" / "python")
    assert {name: found.packages[name] for name in ("numpy", "psutil", "onnxruntime", "flatbuffers")} == {
        "numpy": "2.4",
        "psutil": "7.2",
        "onnxruntime": "1.31",
        "flatbuffers": "25.1",
    }
    asked = [found.python, "-c", "import numpy, psutil, onnxruntime; print(onnxruntime.__version__)"]
    assert subprocess.run(asked, capture_output=True, text=True, check=True).stdout == "1.31\n"
    assert [path.name for path in Path(board.facts.cache).iterdir()] == [venv_of(board).name]
    # One step for the environment, one for what is installed, one for each that is imported.
    assert progress.tasks == [("copying wheels to the board", 0, 0), ("installing on the board", 5, 5)]


def test_what_is_there_is_left_alone(index_of_all: Path, tmp_path: Path) -> None:
    board = board_here(tmp_path)
    first = prepare(board, ["onnx"], Silent())
    before = inodes(venv_of(board))
    again = prepare(board, ["onnx"], Silent())
    assert (again.python, again.packages, again.changed) == (first.python, first.packages, False)
    assert inodes(venv_of(board)) == before


def test_a_board_that_has_all_of_it_is_asked_for_nothing(tmp_path: Path) -> None:
    board = board_here(tmp_path, {"numpy": "2.4", "psutil": "7.2", "onnxruntime": "unknown", "torch": "2.9.1"})
    found = prepare(board, ["onnx", "torchscript"], Silent())
    assert (found.python, found.changed, board.ran) == (sys.executable, False, [])


def test_a_torch_that_is_not_the_one_for_arm_is_not_taken(index_of_all: Path, tmp_path: Path) -> None:
    board = board_here(tmp_path, {"numpy": "2.4", "psutil": "7.2", "torch": "2.15.0"})
    found = prepare(board, ["torchscript"], Silent())
    assert (found.changed, found.packages["torch"]) == (True, "2.9.1")


def test_another_runtime_joins_those_that_are_there(index_of_all: Path, tmp_path: Path) -> None:
    board = board_here(tmp_path)
    prepare(board, ["onnx"], Silent())
    found = prepare(board, ["torchscript"], Silent())
    assert found.changed
    assert found.packages["onnxruntime"] == "1.31"
    assert found.packages["torch"] == "2.9.1"


def test_a_board_without_network_gets_its_wheels_from_here(
    index_of_all: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What is needed on x86 alone is not for this board, though it is played by such a machine.
    wheel(index_of_all, "torch", "2.9.1", requires=['nvidia-cublas-cu12; platform_machine == "x86_64"'])
    board = board_here(tmp_path, has_ensurepip=True)

    def lose_the_index() -> None:
        if (board.folder / "wheels").exists():
            monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "nothing"))

    board.before_run = lose_the_index
    progress = RecordingProgress()
    found = prepare(board, ["onnx", "torchscript"], progress, offline=True)
    assert found.packages["torch"] == "2.9.1"
    assert "nvidia-cublas-cu12" not in found.packages
    copied = sorted(path.name.split("-")[0] for path in (board.folder / "wheels").iterdir())
    assert copied == ["flatbuffers", "numpy", "onnxruntime", "psutil", "torch"]
    size_bytes = sum(path.stat().st_size for path in (board.folder / "wheels").iterdir())
    assert ("copying wheels to the board", size_bytes, size_bytes) in progress.tasks


def test_a_python_without_ensurepip_is_given_a_pip(index_of_all: Path, tmp_path: Path) -> None:
    board = board_here(tmp_path, has_ensurepip=False)
    found = prepare(board, ["onnx"], Silent())
    assert (found.packages["onnxruntime"], "pip" in found.packages) == ("1.31", False)
    assert [path.name for path in (board.folder / "wheels").iterdir()] == [PIP.name]


def test_a_set_up_that_was_cut_off_is_not_taken_for_whole(index_of_all: Path, tmp_path: Path) -> None:
    slow = wheel(index_of_all, "psutil", "7.3", code="import time\ntime.sleep(60)\n")
    board = board_here(tmp_path)

    def cut_off() -> None:
        if "onnxruntime" in (board.folder / venv_program.ORDER).read_text():
            board.before_run = lambda: None
            program = [sys.executable, str(board.folder / venv_program.__file__)]
            child = subprocess.Popen(program, cwd=board.folder, stdout=subprocess.PIPE, start_new_session=True)
            assert child.stdout
            for line in child.stdout:
                if line == b"== importing psutil\n":
                    break
            os.killpg(child.pid, signal.SIGKILL)
            child.communicate()
            assert (venv_of(board).parent / f".venv-{PYTHON}.making").is_dir()
            assert not venv_of(board).exists()
            slow.unlink()

    board.before_run = cut_off
    found = prepare(board, ["onnx"], Silent())
    assert found.packages["psutil"] == "7.2"
    assert [path.name for path in venv_of(board).parent.iterdir()] == [venv_of(board).name]


def test_a_set_up_that_fails_leaves_the_earlier_one_as_it_was(index_of_all: Path, tmp_path: Path) -> None:
    board = board_here(tmp_path)
    prepare(board, ["onnx"], Silent())
    before = inodes(venv_of(board))
    (index_of_all / "torch-2.9.1-py3-none-any.whl").unlink()
    with pytest.raises(MeasurementError, match=r"pip failed there: Could not find a version .* torch==2\.9\.1"):
        prepare(board, ["torchscript"], Silent())
    assert inodes(Path(board.facts.cache)) == {str(venv_of(board)): venv_of(board).stat().st_ino} | before


def test_a_board_without_network_is_sent_the_way_out(index: Path, tmp_path: Path) -> None:
    with pytest.raises(MeasurementError, match=r"pip failed there: Could not find a version .* numpy") as error:
        prepare(board_here(tmp_path, has_ensurepip=True), ["onnx"], Silent())
    assert error.value.where == "pi"
    assert error.value.advice == "a network for the board, or --setup --offline, which brings all of it from here"


def test_a_package_that_dies_on_this_cpu_is_told_as_such(index_of_all: Path, tmp_path: Path) -> None:
    wheel(index_of_all, "torch", "2.9.1", code="import os\nos.kill(os.getpid(), 4)\n")
    board = board_here(tmp_path)
    with pytest.raises(RuntimeUnavailable) as error:
        prepare(board, ["torchscript"], Silent())
    assert error.value.what == "torch was installed, and has instructions that this CPU has not"
    assert list(Path(board.facts.cache).iterdir()) == []


def test_a_package_that_cannot_be_imported_is_told_with_its_own_words(index_of_all: Path, tmp_path: Path) -> None:
    code = "raise ImportError('libcublasLt.so.12: cannot open shared object file')"
    wheel(index_of_all, "torch", "2.9.1", code=code)
    with pytest.raises(RuntimeUnavailable, match="torch was installed, and cannot be imported") as error:
        prepare(board_here(tmp_path), ["torchscript"], Silent())
    assert "ImportError: libcublasLt.so.12: cannot open shared object file" in error.value.what


@pytest.mark.parametrize(("offline", "free", "needed"), [(False, 190 << 20, "197 MiB"), (True, 19 << 20, "20 MiB")])
def test_a_full_board_is_told_before_anything_is_copied(
    index_of_all: Path, tmp_path: Path, offline: bool, free: int, needed: str
) -> None:
    board = board_here(tmp_path, free_bytes=free, has_ensurepip=True)
    with pytest.raises(MeasurementError) as error:
        prepare(board, ["onnx"], Silent(), offline=offline)
    assert error.value.what == (f"{needed} are needed for a set-up in {board.facts.cache}, and {free >> 20} are free")
    assert not (board.folder / "wheels").exists()


@pytest.mark.parametrize(
    ("facts", "what"),
    [
        (
            board_facts(machine="armv7l", bits=32),
            "onnxruntime has no wheels for a 32-bit system (armv7l, Python of 32 bits)",
        ),
        (
            board_facts(machine="aarch64", bits=32),
            "onnxruntime has no wheels for a 32-bit system (aarch64, Python of 32 bits)",
        ),
        (board_facts(libc=""), "onnxruntime has no wheels for a system with musl"),
        (board_facts(machine="riscv64"), "onnxruntime has no wheels for riscv64"),
    ],
)
def test_a_board_that_there_are_no_wheels_for_is_told_before_anything_is_done(
    tmp_path: Path, facts: BoardFacts, what: str
) -> None:
    board = FolderBoard(folder=tmp_path, facts=facts)
    with pytest.raises(RuntimeUnavailable) as error:
        prepare(board, ["onnx"], Silent())
    assert (error.value.what, error.value.where, board.ran) == (what, "pi", [])
    assert error.value.advice


def test_an_environment_whose_python_is_gone_makes_room(index_of_all: Path, tmp_path: Path) -> None:
    board = board_here(tmp_path)
    gone = venv_of(board).with_name("venv-3.9")
    (gone / "bin").mkdir(parents=True)
    (gone / "bin" / "python").symlink_to("/usr/bin/python-that-is-gone")
    prepare(board, ["onnx"], Silent())
    assert [path.name for path in venv_of(board).parent.iterdir()] == [venv_of(board).name]


def test_a_board_side_that_ends_badly_is_told_by_its_last_line(tmp_path: Path) -> None:
    board = board_here(tmp_path)
    board.python = "/bin/false"
    with pytest.raises(MeasurementError, match="its set-up ended with 1: no message"):
        prepare(board, ["onnx"], Silent())
