"""TorchScript files, made from real networks and run by PyTorch."""

import io
import sys
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from packager.export import Exported, HalfPrecision
from packager.export.torchscript import export
from runner.errors import StepError
from runner.runtimes import Options, torchscript
from tests import modules

ROOT = Path(__file__).parent.parent.parent
EXAMPLE = torch.randn(1, 1, 28, 28, generator=torch.Generator().manual_seed(0))
IMAGES = torch.randn(32, 1, 28, 28, generator=torch.Generator().manual_seed(1))
ADVICE = "leave data-dependent `if`, loops over tensors and print out of forward()"


def seeded(kind: type[nn.Module]) -> nn.Module:
    """Return a network with the same weights each time."""
    torch.manual_seed(0)
    return modules.settled(kind(), IMAGES[:1])


def load(content: bytes) -> torch.jit.ScriptModule:
    """Return the network that a file holds."""
    with warnings.catch_warnings(action="ignore"):
        loaded: torch.jit.ScriptModule = torch.jit.load(io.BytesIO(content))  # type: ignore[no-untyped-call]  # torch ships it so
    return loaded


def difference(one: Tensor, two: Tensor) -> float:
    """Return the largest difference, relative to the largest value."""
    assert one.shape == two.shape
    return float((one - two).abs().max() / two.abs().max())


@pytest.fixture(scope="module")
def exported(trained: nn.Module) -> Exported:
    """The trained network as a file."""
    return export(trained, EXAMPLE)


@pytest.mark.parametrize("samples", [1, 3, 32])
def test_the_file_answers_as_the_network_does_to_any_number_of_samples(
    samples: int, exported: Exported, trained: nn.Module
) -> None:
    with torch.no_grad():
        answers, expected = load(exported.content)(IMAGES[:samples]), trained(IMAGES[:samples])

    assert exported.dynamic_batch
    assert difference(answers, expected) < 1e-5


def test_the_runner_runs_it(exported: Exported, trained: nn.Module, tmp_path: Path) -> None:
    (tmp_path / "fp32.pt").write_bytes(exported.content)
    answers = torchscript.load(tmp_path / "fp32.pt", Options(threads=1)).run(IMAGES[:3].numpy())

    with torch.no_grad():
        assert difference(torch.from_numpy(answers), trained(IMAGES[:3])) < 1e-5


def test_the_file_is_frozen(exported: Exported) -> None:
    loaded = load(exported.content)

    assert (list(loaded.parameters()), list(loaded.buffers()), list(loaded.children())) == ([], [], [])


@pytest.mark.parametrize("kind", [modules.FixedBatch, modules.Unrolled])
def test_a_trace_that_fixes_its_batch_says_so(kind: type[nn.Module]) -> None:
    module = seeded(kind)
    exported = export(module, EXAMPLE)

    with torch.no_grad():
        assert difference(load(exported.content)(IMAGES[:1]), module(IMAGES[:1])) < 1e-5
    assert not exported.dynamic_batch


def test_half_precision_computes_in_float16_behind_a_float32_face(trained: nn.Module) -> None:
    exported = export(HalfPrecision(trained), EXAMPLE)
    with torch.no_grad():
        answers, expected = load(exported.content)(IMAGES[:3]), trained(IMAGES[:3])

    assert exported.dynamic_batch
    assert answers.dtype == torch.float32
    assert 1e-6 < difference(answers, expected) < 1e-2
    assert len(exported.content) < 0.52 * sum(4 * value.numel() for value in trained.parameters())


def test_the_same_network_gives_the_same_bytes_whatever_was_exported_before(
    exported: Exported, trained: nn.Module
) -> None:
    # PyTorch counts the classes of a process: the names get longer.
    for _ in range(12):
        export(seeded(modules.Residual), EXAMPLE)

    assert export(trained, EXAMPLE) == exported


@pytest.mark.parametrize("engine", ["x86", "qnnpack"])
def test_the_quantization_engine_of_the_process_does_not_matter(
    engine: str, exported: Exported, trained: nn.Module
) -> None:
    before = torch.backends.quantized.engine
    torch.backends.quantized.engine = engine
    try:
        assert export(trained, EXAMPLE) == exported
    finally:
        torch.backends.quantized.engine = before


@pytest.mark.parametrize("allowed", [True, False])
def test_what_the_process_allows_a_gpu_does_not_matter_and_fp32_stays_fp32(
    exported: Exported, trained: nn.Module, allowed: bool
) -> None:
    with torch.backends.cudnn.flags(enabled=True, benchmark=allowed, deterministic=allowed, allow_tf32=allowed):
        content = export(trained, EXAMPLE).content
    assert content == exported.content
    (convolution, *_) = [node for node in load(content).inlined_graph.nodes() if "conv" in node.kind()]
    assert not list(convolution.inputs())[-1].toIValue()


def test_no_path_of_this_machine_and_no_stack_is_in_the_file(exported: Exported) -> None:
    for path in (str(ROOT), sys.prefix, "site-packages"):
        assert path.encode() not in exported.content
    with zipfile.ZipFile(io.BytesIO(exported.content)) as archive:
        names = archive.namelist()
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        kinds = {(entry.file_size <= 65536, entry.compress_type) for entry in archive.infolist()}
        assert kinds == {(True, zipfile.ZIP_DEFLATED), (False, zipfile.ZIP_STORED)}
    assert not [name for name in names if "debug" in name or "serialization_id" in name]
    assert "archive/data.pkl" in names


def test_the_network_is_left_as_it_was(trained: nn.Module) -> None:
    before = {name: value.clone() for name, value in trained.state_dict().items()}
    export(trained, EXAMPLE)

    assert not trained.training
    assert all(torch.equal(value, before[name]) for name, value in trained.state_dict().items())


def test_an_if_that_depends_on_the_data_is_refused_with_its_layer() -> None:
    """A trace would keep the branch that its example takes, and say nothing."""
    with pytest.raises(StepError) as caught:
        export(seeded(modules.Gated), EXAMPLE)

    what, advice = str(caught.value).splitlines()
    assert what.startswith(
        "the network cannot be traced to TorchScript, in block.gate (Gate): "
        "DataDependentError: a decision that depends on the input, here on the value "
    )
    assert advice == f"  try: {ADVICE}"


@pytest.mark.parametrize(
    "read",
    [
        lambda x: x * float(x.max()),
        lambda x: x * int(x.argmax()),
        lambda x: x if torch.equal(x, -x) else -x,
        lambda x: x if torch.allclose(x, -x) else -x,
        lambda x: torch.cat([x, x]).chunk(2)[x.sum().gt(0).item()],
    ],
    ids=["float", "int", "equal", "allclose", "item"],
)
def test_every_way_to_read_a_number_out_of_the_data_is_seen(read: Callable[[Tensor], Tensor]) -> None:
    class Reads(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return read(torch.relu(x))

    with pytest.raises(StepError, match=r"in 1 \(Reads\): DataDependentError: a decision that depends on the input"):
        export(nn.Sequential(nn.Flatten(), Reads(), nn.Linear(784, 4)).eval(), EXAMPLE)


def test_numbers_that_do_not_depend_on_the_data_may_be_read() -> None:
    module = seeded(modules.Scaled)
    exported = export(module, EXAMPLE)

    with torch.no_grad():
        assert difference(load(exported.content)(IMAGES[:3]), module(IMAGES[:3])) < 1e-5
    assert exported.dynamic_batch


def test_a_layer_that_fails_is_named() -> None:
    with pytest.raises(StepError) as caught:
        export(nn.Sequential(nn.Flatten(), nn.Linear(783, 4)).eval(), EXAMPLE)

    assert str(caught.value) == (
        "the network cannot be traced to TorchScript, in 1 (Linear): "
        f"RuntimeError: mat1 and mat2 shapes cannot be multiplied (1x784 and 783x4)\n  try: {ADVICE}"
    )


def test_nothing_is_printed(trained: nn.Module, capfd: pytest.CaptureFixture[str]) -> None:
    export(trained, EXAMPLE)
    with pytest.raises(StepError):
        export(seeded(modules.Gated), EXAMPLE)

    assert capfd.readouterr() == ("", "")
