"""A bundle that was made on this machine runs on aarch64 by itself, with numpy and one runtime."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from onnxruntime.quantization import QuantType, quantize_static

import targets
from runner import report_reader
from runner.bundle import FP32_REFERENCE
from runner.device.cpu import ARM_NONE
from runner.report import ArtifactReport, Report
from tests import bundles, networks
from tests.device.cores import PI4, PI5
from tests.device.machines import Board
from tests.onnx_files import run

SAMPLES = 40
ARM = targets.load("arm-qnnpack")


class Calibration:
    """Hands the samples out one after another, as ONNX Runtime asks for them."""

    def __init__(self, images: NDArray[np.float32]) -> None:
        self._rest: Iterator[NDArray[np.float32]] = iter(np.split(images, len(images)))

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        image = next(self._rest, None)
        return None if image is None else {"input": image}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle for ARM boards: a small network in fp32 and with eight bits."""
    folder = tmp_path_factory.mktemp("bundle")
    images = networks.PREPROCESS.apply(networks.inputs(SAMPLES))
    fp32, int8 = networks.write_onnx(folder / "fp32.onnx"), folder / "int8.onnx"
    quantize_static(
        fp32, int8, Calibration(images), activation_type=QuantType.QInt8, weight_type=QuantType.QInt8, per_channel=True
    )
    files = {"fp32.onnx": fp32.read_bytes(), "int8.onnx": int8.read_bytes()}
    reference = run(files["fp32.onnx"], images)
    logits = {FP32_REFERENCE: reference, "fp32.onnx": reference, "int8.onnx": run(files["int8.onnx"], images, ARM)}
    artifacts = (bundles.artifact(), bundles.artifact("int8"))
    bundles.write_bundle(
        folder / "net.edgepack", files, artifacts, logits=logits, labels=reference.argmax(axis=1), target=ARM
    )
    return folder / "net.edgepack"


@dataclass(frozen=True, kw_only=True, slots=True)
class Ran:
    """What a board made of the bundle."""

    report: Report
    printed: str


@pytest.fixture(scope="module")
def ran(both: tuple[Board, Board], bundle: Path) -> tuple[Ran, Ran]:
    """What the board with the dot product made of it, and the one without."""
    with ThreadPoolExecutor() as pool:
        pi5, pi4 = pool.map(lambda board: run_on(board, bundle), both)
    return pi5, pi4


def run_on(board: Board, bundle: Path) -> Ran:
    """Run the bundle as a user does who has copied it there, and take the report."""
    board.has("numpy", "onnxruntime")
    (board.home / "net.edgepack").write_bytes(bundle.read_bytes())
    done = board.ssh("python3 net.edgepack --artifact int8.onnx --effort quick --threads 1 -o report.json")
    # A measurement that is not valid: no time of such a board is.
    assert done.returncode == 5, done.stderr
    found = report_reader.load(board.home / "report.json")
    for name in ("net.edgepack", "report.json"):
        (board.home / name).unlink()
    return Ran(report=found, printed=done.stdout)


def of(ran: Ran, name: str) -> ArtifactReport:
    """Return what the report says of an artifact."""
    found = ran.report.artifact(name)
    assert found is not None
    return found


def test_the_report_says_which_board_it_is_and_that_it_is_emulated(ran: tuple[Ran, Ran]) -> None:
    pi5, pi4 = (it.report.device for it in ran)
    assert [(it.machine, it.cpu) for it in (pi5, pi4)] == [("aarch64", "Cortex-A76"), ("aarch64", "Cortex-A72")]
    assert [it.features for it in (pi5, pi4)] == [("asimd", "asimdhp", "asimddp"), ("asimd",)]
    assert [it.environment for it in (pi5, pi4)] == [{"QEMU_CPU": PI5.qemu}, {"QEMU_CPU": PI4.qemu}]
    assert [bool(it.emulated) for it in (pi5, pi4)] == [True, True]


def test_no_time_of_an_emulated_board_counts(ran: tuple[Ran, Ran]) -> None:
    for it in ran:
        assert (it.report.status, it.report.fastest, it.report.complete) == ("invalid", None, True)
        assert [reason.level for reason in it.report.reasons if reason.code == "emulated"] == ["invalid"]
        assert "Fastest: none. No time of this run is valid." in it.printed
        assert "this machine is emulated" in it.printed


def test_the_forecast_of_the_integer_kernel_is_that_of_the_core(ran: tuple[Ran, Ran]) -> None:
    expected = [of(it, "int8.onnx").expected for it in ran]
    assert [it and it.kernel for it in expected] == ["SDOT and UDOT", ARM_NONE]
    codes = [[reason.code for reason in of(it, "int8.onnx").reasons] for it in ran]
    assert ["int8-no-dot-product" in each for each in codes] == [False, True]


def test_the_answers_of_both_boards_are_those_of_the_host(ran: tuple[Ran, Ran]) -> None:
    for it in ran:
        int8 = of(it, "int8.onnx")
        assert int8.runtime is not None
        assert (int8.runtime.name, int8.runtime.provider) == ("onnx", "CPUExecutionProvider")
        assert int8.accuracy is not None
        assert (int8.accuracy.samples, int8.accuracy.flips) == (SAMPLES, ())
        # Integers are rounded a little otherwise there, some of them by one: a step is about 0.04.
        assert int8.accuracy.max_abs_difference < 0.1


def test_without_a_runtime_a_board_is_told_so_and_measures_nothing(pi5: Board, bundle: Path) -> None:
    pi5.has("numpy")
    (pi5.home / "net.edgepack").write_bytes(bundle.read_bytes())
    done = pi5.ssh("python3 net.edgepack -o report.json; echo $?; ls; rm net.edgepack")
    assert done.stdout.split() == ["4", "net.edgepack"]
    assert "onnxruntime" in done.stderr
