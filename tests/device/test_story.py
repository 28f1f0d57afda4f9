"""The whole story on two aarch64 machines: pack here, measure there, hold the one against the other."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from packager.explain import sentence
from packager.remote.result import BoardResult
from runner.bundle import Bundle, open_bundle
from runner.compare.comparison import ArtifactComparison
from runner.errors import MeasurementError
from runner.fastest import MOST_FLIPS
from runner.report import Accuracy, ArtifactReport
from tests.device import story
from tests.device.machines import Board
from tests.device.story import Told

BOARDS = ("pi5", "pi4")
# Whoever runs first plays the story: what takes microseconds elsewhere takes minutes there.
pytestmark = pytest.mark.timeout(1500)


@dataclass(frozen=True, kw_only=True, slots=True)
class Story:
    """What was packed, and what came of it."""

    bundle: Bundle
    told: Told
    reports: Path
    left: dict[str, list[str]]

    def artifact(self, board: str, name: str) -> ArtifactReport:
        """Return what a board found of an artifact."""
        report = self.told.results[board].report
        assert report
        found = report.artifact(name)
        assert found
        return found

    def accuracy(self, board: str, name: str) -> Accuracy:
        """Return how right its answers were there."""
        found = self.artifact(board, name).accuracy
        assert found
        return found

    def compared(self, board: str, name: str) -> ArtifactComparison:
        """Return how that compares with the host."""
        comparison = self.told.results[board].comparison
        assert comparison
        return next(each for each in comparison.artifacts if each.name == name)


@pytest.fixture(scope="module")
def played(both: tuple[Board, Board], packed: Path, tmp_path_factory: pytest.TempPathFactory) -> Story:
    """Play the story once."""
    for board in both:
        board.has("numpy", "onnxruntime", "torch", "psutil")
    reports = tmp_path_factory.mktemp("reports")
    told = story.bench(packed, both, reports, "--threads", 1, "--explain", "--json")
    left = {board.name: story.left_behind(board) for board in both}
    return Story(bundle=open_bundle(packed), told=told, reports=reports, left=left)


def test_both_boards_report_and_are_left_as_they_were(played: Story) -> None:
    # Emulated machines measure nothing that counts, and the code says so.
    assert played.told.code == MeasurementError.exit_code, played.told.err
    assert [(name, result.failure) for name, result in played.told.results.items()] == [(it, None) for it in BOARDS]
    assert played.left == {"pi5": [], "pi4": []}
    assert sorted(path.name for path in played.reports.glob("*.json")) == ["pi4.report.json", "pi5.report.json"]


@pytest.mark.parametrize("board", BOARDS)
def test_every_artifact_runs_there_and_answers_all_samples(played: Story, board: str) -> None:
    names = [artifact.name for artifact in played.bundle.manifest.artifacts]
    assert {"fp32.onnx", "int8.onnx", "int8.torchscript"} <= set(names)
    for name in names:
        assert played.accuracy(board, name).samples == played.bundle.manifest.samples


@pytest.mark.parametrize("board", BOARDS)
def test_qnnpack_answers_there_as_here_bit_for_bit(played: Story, board: str) -> None:
    accuracy = played.accuracy(board, "int8.torchscript")
    assert accuracy.identical_to_host
    assert accuracy.flips == ()


@pytest.mark.parametrize("board", BOARDS)
def test_flips_of_int8_onnx_are_listed_and_few(played: Story, board: str) -> None:
    compared = played.compared(board, "int8.onnx")
    assert compared.same_file
    assert compared.answers
    flips = compared.answers.flips
    assert len(flips) <= MOST_FLIPS * compared.answers.samples
    page = story.command("bench-runner", "compare", played.bundle.path, played.reports / f"{board}.report.json").out
    assert [flip.sample for flip in flips if f"int8.onnx: sample {flip.sample}, " not in page] == []


@pytest.mark.parametrize("board", BOARDS)
def test_accuracy_there_is_that_of_the_host_within_half_a_point(played: Story, board: str) -> None:
    host = played.bundle.host_report()
    assert host
    for ours in host.artifacts:
        assert ours.accuracy
        assert abs(played.accuracy(board, ours.name).top1 - ours.accuracy.top1) <= 0.005, ours.name


@pytest.mark.parametrize("board", BOARDS)
def test_the_report_says_emulated_and_compare_withholds_what_that_voids(played: Story, board: str) -> None:
    result: BoardResult = played.told.results[board]
    assert result.report
    assert result.report.status == "invalid"
    assert ("emulated", "invalid") in {(reason.code, reason.level) for reason in result.report.reasons}
    for name in ("fp32.onnx", "int8.onnx", "int8.torchscript"):
        compared = played.compared(board, name)
        assert compared.latency is None
        assert compared.word is None
        assert compared.delta("latency").ratio is None
        assert "emulated" in {reason.code for reason in compared.withheld}
    page = story.command("bench-runner", "compare", played.bundle.path, played.reports / f"{board}.report.json").out
    assert "no latency from the device: this machine is emulated" in " ".join(page.split())


@pytest.mark.parametrize("board", BOARDS)
def test_what_differs_between_the_layers_is_said_to_be_rounding(played: Story, board: str) -> None:
    result = played.told.results[board]
    assert result.divergences is not None
    found = {each.artifact: sentence(each) for each in result.divergences}
    names = [artifact.name for artifact in played.bundle.manifest.artifacts]
    assert list(found) == [name for name in names if not played.accuracy(board, name).identical_to_host]
    # Floats are summed in another order there.
    assert "fp32.onnx" in found
    assert "layers is the same but for rounding: the logits differ by at most" in found["fp32.onnx"]
    assert found["fp32.onnx"].endswith(", which is rounding too.")


def test_the_forecast_of_the_integer_kernel_differs_between_the_two(played: Story) -> None:
    kernels = {}
    for board in BOARDS:
        expected = played.artifact(board, "int8.onnx").expected
        assert expected
        kernels[board] = expected.kernel
    assert kernels["pi5"] != kernels["pi4"]
    assert "int8-no-dot-product" not in {it.code for it in played.artifact("pi5", "int8.onnx").reasons}
    assert "int8-no-dot-product" in {it.code for it in played.artifact("pi4", "int8.onnx").reasons}
