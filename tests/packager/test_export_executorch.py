"""ExecuTorch files: all of a network is XNNPACK's, in fp32 and in int8, and equal networks give equal bytes."""

import operator
import subprocess
import sys
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.fx import GraphModule

import targets
from packager import builders, qat, recipe
from packager.candidates import NAMES
from packager.check import Logits, compare
from packager.data import Splits
from packager.quantize import Order
from packager.quantize.calibration import Calibration
from packager.train import logits
from runner.errors import StepError
from runner.progress import Silent
from runner.runtimes import Options
from tests import contexts, modules
from tests.depthwise import Mobile

executorch = pytest.importorskip("packager.export.executorch", reason="edgepack[pack-executorch] is not installed")

from packager.quantize import xnnpack  # noqa: E402 - after the extra that it needs
from runner.runtimes import executorch as runtime  # noqa: E402 - as above

X86 = targets.load("x86")
AGAIN = """
import hashlib, sys, torch
from packager.export import executorch
from tests import modules
torch.manual_seed(0)
print(hashlib.sha256(executorch.export(modules.Residual().eval(), torch.zeros(1, 1, 28, 28)).content).hexdigest())
"""


def order(splits: Splits, plan: recipe.Quantize | None = None, target: str = "x86") -> Order:
    """Return what is asked for."""
    calibration = Calibration(samples=splits.calibration, preprocess=splits.preprocess, progress=Silent())
    return Order(target=targets.load(target), plan=plan or recipe.Quantize(), calibration=calibration)


def settled(kind: type[nn.Module], splits: Splits) -> nn.Module:
    """Return a network with random weights and the batch-norm statistics of the calibration samples."""
    torch.manual_seed(0)
    return modules.settled(kind(), torch.from_numpy(splits.preprocess.apply(splits.calibration.array())))


def answers(content: bytes, splits: Splits, folder: Path) -> Logits:
    """Return what the runner's runtime answers to the evaluation samples."""
    path = folder / "net.pte"
    path.write_bytes(content)
    session = runtime.load(path, Options(threads=1))
    images = splits.preprocess.apply(splits.evaluation.array())
    found: Logits = np.concatenate([session.run(image[None]) for image in images])
    return found


def reference(module: nn.Module, splits: Splits) -> Logits:
    """Return what the network answers to them."""
    return logits(module, splits.evaluation, splits.preprocess).numpy()


def lowered(module: nn.Module, splits: Splits) -> object:
    """Return a network with all that XNNPACK computes left to it."""
    return executorch.lowered(module, torch.from_numpy(order(splits).calibration.example()))


def constants(quantized: nn.Module) -> list[torch.Tensor]:
    """Return the tensors that the graph of an int8 network computes with."""
    network = quantized.get_submodule("network")
    assert isinstance(network, GraphModule)
    return [operator.attrgetter(node.target)(network) for node in network.graph.find_nodes(op="get_attr")]


def test_fp32_is_xnnpacks_throughout_and_answers_as_the_network_does(few_splits: Splits, tmp_path: Path) -> None:
    module = settled(Mobile, few_splits)
    program = lowered(module, few_splits)
    assert executorch.left_over(program) == ()
    made = executorch.export(module, torch.from_numpy(order(few_splits).calibration.example()))
    assert not made.dynamic_batch
    assert compare(answers(made.content, few_splits, tmp_path), reference(module, few_splits)).snr_db >= 90


def test_what_xnnpack_does_not_compute_is_named(few_splits: Splits) -> None:
    class Sorted(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.sort(x.flatten(1)).values[:, :4]

    assert executorch.left_over(lowered(Sorted(), few_splits)) == ("aten.sort.default",)


def test_another_process_gives_the_same_bytes_which_hold_no_path() -> None:
    torch.manual_seed(0)
    content = executorch.export(modules.Residual().eval(), torch.zeros(1, 1, 28, 28)).content
    again = subprocess.run([sys.executable, "-c", AGAIN], check=True, capture_output=True, text=True)
    assert again.stdout.strip() == sha256(content).hexdigest()
    assert str(Path(executorch.__file__).parent).encode() not in content
    assert b"site-packages" not in content


def test_a_network_that_cannot_be_exported_is_told_with_its_layer(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(StepError) as caught:
        executorch.export(modules.Gated().eval(), torch.zeros(1, 1, 28, 28))
    assert str(caught.value).startswith("the network cannot be exported to ExecuTorch, in block.gate (Gate): ")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("kind", [modules.Residual, Mobile])
def test_int8_is_integers_throughout_and_the_same_for_every_machine(
    kind: type[nn.Module], few_splits: Splits, tmp_path: Path
) -> None:
    module = settled(kind, few_splits)
    example = torch.from_numpy(order(few_splits).calibration.example())
    quantized = xnnpack.quantize(module, order(few_splits))
    for_arm = xnnpack.quantize(module, order(few_splits, target="arm-qnnpack"))
    images = torch.from_numpy(few_splits.preprocess.apply(few_splits.evaluation.array()))
    with torch.no_grad():
        assert torch.equal(quantized(images), for_arm(images))

    # XNNPACK averages whole images alone, and this one has an average of four parts.
    others = ("aten._adaptive_avg_pool2d.default",) if kind is modules.Residual else ()
    assert executorch.left_over(lowered(quantized, few_splits)) == others
    assert {value.dtype for value in constants(quantized) if value.dim() > 1} == {torch.int8}
    content = executorch.export(quantized, example).content
    assert compare(answers(content, few_splits, tmp_path), reference(module, few_splits)).snr_db >= 20


def test_weights_are_symmetric_within_127_and_activations_signed(trained: nn.Module, few_splits: Splits) -> None:
    for target in ("x86", "x86-avx2"):
        quantized = xnnpack.quantize(trained, order(few_splits, target=target))
        integers = [value for value in quantized.buffers() if value.dtype == torch.int8]
        assert integers
        assert {int(each.max()) for each in integers} | {-int(each.min()) for each in integers} == {127}
    network = quantized.get_submodule("network")
    assert isinstance(network, GraphModule)
    rounded = [node for node in network.graph.nodes if "quantize_per_tensor" in str(node.target)]
    assert {node.args[5] for node in rounded} == {torch.int8}


def test_an_average_has_a_scale_of_its_own(few_splits: Splits) -> None:
    class Averaged(nn.Sequential):
        def __init__(self) -> None:
            super().__init__(nn.Conv2d(1, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))

    quantized = xnnpack.quantize(settled(Averaged, few_splits), order(few_splits))
    network = quantized.get_submodule("network")
    assert isinstance(network, GraphModule)
    (mean,) = (node for node in network.graph.nodes if node.target == torch.ops.aten.adaptive_avg_pool2d.default)
    before, after = mean.args[0], next(iter(mean.users))
    assert before.args[1] > 1.1 * after.args[1]


def test_layers_that_the_recipe_keeps_stay_in_fp32(trained: nn.Module, few_splits: Splits) -> None:
    quantized = xnnpack.quantize(trained, order(few_splits, recipe.Quantize(keep_fp32=("conv1",))))
    plain = xnnpack.quantize(trained, order(few_splits))
    kept, all_of_it = (sum(value.dtype == torch.int8 for value in each.buffers()) for each in (quantized, plain))
    assert all_of_it - kept == 1


def test_a_pack_trains_with_the_rounding_in_it_and_its_file_answers_as_that_network(
    trained: nn.Module, few_splits: Splits, tmp_path: Path
) -> None:
    plan = recipe.Quantize(qat=recipe.Qat(epochs=1))
    context = contexts.context(trained, contexts.bench(few_splits, tmp_path / "cache"), plan)
    made = builders.export(NAMES["int8.executorch"], context, X86)

    assert len(made.epochs) == 1
    assert not made.dynamic_batch
    asked = xnnpack.for_xnnpack(order(few_splits, plan))
    learned = qat.learned(xnnpack, trained, asked, context.qat("xnnpack"))  # found where it was kept
    found = compare(answers(made.content, few_splits, tmp_path), reference(learned.module, few_splits))
    assert found.snr_db >= 25
    assert found.agreement >= 0.98


def test_the_converter_is_asked_for_by_the_name_of_its_extra(
    trained: nn.Module, few_splits: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("packager.installed.find_spec", lambda _: None)
    context = contexts.context(trained, contexts.bench(few_splits, tmp_path))
    for name in ("fp32.executorch", "int8.executorch"):
        with pytest.raises(StepError) as caught:
            builders.export(NAMES[name], replace(context, name=""), X86)
        assert str(caught.value) == "executorch is not installed\n  try: pip install 'edgepack[pack-executorch]'"
