"""What was not measured is told, and never counts as reached."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.peers import memory
from benchmarks.peers.memory import Found, of_bundle, of_families, verdict
from tests import loadable

NEAR = Found(title="near", ours_mb=60.0, bare_mb=50.0)
FAR = Found(title="far", ours_mb=80.0, bare_mb=50.0)
UNKNOWN = Found(title="unknown", unmeasured="nobody did")


def test_an_artifact_is_measured_beside_its_bare_runtime_and_the_line_has_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "PROCESSES", 1)
    bundle = loadable.write(tmp_path, (loadable.FP32,))
    (found,) = of_bundle(bundle.path, threads=1)
    assert found.ours_mb > found.bare_mb > 10
    assert found.line == (
        f"fp32.onnx: edgepack {found.ours_mb:.1f} MB, bare {found.bare_mb:.1f} MB, "
        f"+{found.ours_mb - found.bare_mb:.1f} MB"
    )


def test_what_runner_load_passes_over_is_not_measured_by_another_artifact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "PROCESSES", 1)
    odd = replace(loadable.FP32, name="odd.onnx", path="artifacts/odd.onnx")
    bundle = loadable.write(tmp_path, (loadable.FP32, odd), host={"odd.onnx": -loadable.LOGITS})
    fp32, other = of_bundle(bundle.path, threads=1)
    assert not fp32.unmeasured
    assert other.line.startswith("odd.onnx: not measured: a program ended with 1: ")
    assert "odd.onnx: answers " in other.unmeasured


def test_what_has_no_bare_program_is_told(tmp_path: Path) -> None:
    cuda = replace(loadable.FP32, device="cuda")
    (found,) = of_bundle(loadable.write(tmp_path, (cuda,)).path, threads=1)
    assert found.line == "fp32.onnx: not measured: runs on cuda, and the bare programs on the CPU"


def test_a_family_without_a_choice_is_told(tmp_path: Path) -> None:
    (found,) = of_families(tmp_path, ["resnet18"], threads=1)
    assert found.line == "resnet18: not measured: `python -m benchmarks.peers` has not chosen an artifact in batch 1"


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ([NEAR, NEAR], "largest difference +10.0 MB; at most 15 MB: reached by all 2"),
        ([NEAR, FAR, UNKNOWN], "largest difference +30.0 MB; at most 15 MB: missed by 1 of 3"),
        ([NEAR, UNKNOWN], "largest difference +10.0 MB; at most 15 MB: not shown, for 1 of 2 were not measured"),
        ([UNKNOWN], "at most 15 MB: not shown, for nothing was measured"),
    ],
)
def test_the_goal_is_reached_where_everything_was_measured_and_near_alone(found: list[Found], told: str) -> None:
    assert verdict(found) == told
