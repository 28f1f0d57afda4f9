"""Native code: where it can be made, that it answers as the network, and that nothing else is in the file."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

import targets
from packager import builders
from packager.candidates import candidate
from packager.check import compare
from packager.data import Splits
from packager.export import aotinductor
from packager.train import logits
from runner.errors import StepError
from runner.runtimes import Options
from runner.runtimes import aotinductor as runtime
from tests import contexts

ROOT = Path(__file__).parent.parent.parent
PROGRAM = """
import sys, torch, models
from pathlib import Path
from packager.export import aotinductor
torch.manual_seed(0)
network = models.build("small_cnn", 1, 4, 28, 28).eval()
Path(sys.argv[1]).write_bytes(aotinductor.export(network, torch.zeros(1, 1, 28, 28)).content)
"""


def test_without_a_compiler_it_is_left_out_with_the_way_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(StepError) as caught:
        aotinductor.compiler()
    assert str(caught.value) == (
        "AOTInductor needs a C++ compiler, and there is none here\n  try: sudo apt install g++, or leave it out"
    )


def test_native_code_for_another_machine_is_not_made_here(
    trained: nn.Module, few_splits: Splits, tmp_path: Path
) -> None:
    context = contexts.context(trained, contexts.bench(few_splits, tmp_path))
    with pytest.raises(StepError, match="native code is made on the kind of machine that it is for") as caught:
        builders.export(candidate("fp32.aotinductor"), context, replace(targets.load("cuda"), name="elsewhere"))
    assert (caught.value.where, caught.value.advice) == ("elsewhere", "pack there, or leave it out")


def test_addresses_and_digests_of_the_compilers_own_notes_go() -> None:
    digest = "c" + "a2" * 26
    entries = {
        f"model/{digest}.wrapper.so": f"<fn at 0x7f12d0f15440> ./{digest}.wrapper.cpp 0x7f12d0f15440".encode(),
        "model/version": b"1",
    }
    plain = "network".ljust(len(digest), "_")
    assert dict(aotinductor._renamed(entries)) == {
        f"model/{plain}.wrapper.so": f"<fn at 0x000000000000> ./{plain}.wrapper.cpp 0x7f12d0f15440".encode(),
        "model/version": b"1",
    }


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("name", "least_db"), [("fp32.aotinductor", 100), ("int8.aotinductor", 20)])
def test_a_package_answers_as_the_network(
    name: str, least_db: float, *, trained: nn.Module, few_splits: Splits, tmp_path: Path
) -> None:
    context = contexts.context(trained, contexts.bench(few_splits, tmp_path))
    made = builders.export(candidate(name), context, targets.load("x86"))
    assert (b"qconv_pointwise" in made.content) == (name == "int8.aotinductor")
    path = tmp_path / "fp32.pt2"
    path.write_bytes(made.content)
    session = runtime.load(path, Options(threads=1))
    reference = logits(trained, few_splits.evaluation, few_splits.preprocess)
    inputs = few_splits.preprocess.apply(few_splits.evaluation.array())
    answers = torch.cat([torch.from_numpy(session.run(each[None])) for each in inputs])
    assert made.dynamic_batch is False
    assert compare(answers.numpy(), reference.numpy()).snr_db >= least_db
    assert torch.get_num_threads() == 1
    assert session.provider == "torch inductor cpu"


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_two_processes_make_the_same_bytes_without_paths_of_this_machine(tmp_path: Path) -> None:
    files = [tmp_path / "one.pt2", tmp_path / "two.pt2"]
    for file in files:
        subprocess.run([sys.executable, "-c", PROGRAM, str(file)], cwd=ROOT, check=True, capture_output=True)
    content = files[0].read_bytes()
    assert content == files[1].read_bytes()
    for path in (str(ROOT), sys.prefix, str(Path.home()) + "/", "site-packages", "edgepack-"):
        assert path.encode() not in content
