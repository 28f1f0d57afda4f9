import os
import subprocess
import sys
import time
import warnings
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, SimpleNamespace

import numpy as np
import onnxruntime
import pytest
import torch
from onnx import TensorProto

from runner import runtimes
from runner.errors import RuntimeUnavailable
from runner.runtimes import KNOWN, Known, Options, Placement, installed_version, onnx, torchscript
from tests import networks

PIP = f"{sys.executable} -m pip install"
INPUTS = networks.PREPROCESS.apply(networks.inputs(5))
EXPECTED = networks.expected_logits(networks.inputs(5))


def _fresh(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_an_onnx_file_answers_as_numpy_computes(tmp_path: Path) -> None:
    session = onnx.load(networks.write_onnx(tmp_path / "net.onnx"), Options(threads=1))
    logits = session.run(INPUTS)
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, EXPECTED, rtol=1e-4, atol=1e-4)
    assert (session.provider, session.version) == ("CPUExecutionProvider", onnxruntime.__version__)


def test_a_torchscript_file_answers_as_numpy_computes(tmp_path: Path) -> None:
    session = torchscript.load(networks.write_torchscript(tmp_path / "net.pt"), Options(threads=1))
    logits = session.run(INPUTS)
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, EXPECTED, rtol=1e-4, atol=1e-4)
    assert (session.provider, session.version) == ("torch cpu", str(torch.__version__))


def test_the_engine_of_the_options_is_set_before_a_torchscript_file_is_loaded(tmp_path: Path) -> None:
    before = torch.backends.quantized.engine
    try:
        session = torchscript.load(
            networks.write_torchscript(tmp_path / "net.pt"), Options(threads=1, engine="qnnpack")
        )
        assert torch.backends.quantized.engine == "qnnpack"
        assert session.provider == "torch qnnpack"
    finally:
        torch.backends.quantized.engine = before


def test_an_engine_that_this_torch_has_not_is_named_with_those_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.quantized.__class__, "supported_engines", ["none", "onednn"])
    with pytest.raises(RuntimeUnavailable) as caught:
        torchscript.load(tmp_path / "net.pt", Options(threads=1, engine="qnnpack"))
    assert str(caught.value) == (
        f"net.pt: needs the quantization engine 'qnnpack', and this torch ({torch.__version__}) has onednn"
        "\n  try: an artifact for another engine, or another build of torch"
    )


@pytest.mark.parametrize("form", ["onnx", "torchscript"])
def test_a_file_that_a_runtime_cannot_read_is_refused_by_name(tmp_path: Path, form: str) -> None:
    path = tmp_path / "broken.bin"
    path.write_bytes(b"no network at all" * 100)
    load = {"onnx": onnx.load, "torchscript": torchscript.load}[form]
    with pytest.raises(RuntimeUnavailable, match=r"^broken\.bin: .* cannot load it: .+") as caught:
        load(path, Options(threads=1))
    assert caught.value.exit_code == 4
    assert "\n" not in caught.value.what


def _refusal(path: Path, made_with: str | None) -> str:
    load = {".onnx": onnx.load, ".pt": torchscript.load}[path.suffix]
    with pytest.raises(RuntimeUnavailable) as caught:
        load(path, Options(threads=1, made_with=made_with))
    return str(caught.value)


ORT = f"ONNX Runtime {onnxruntime.__version__}"


def test_an_opset_of_the_future_is_refused_with_the_version_that_made_it(tmp_path: Path) -> None:
    path = networks.write_onnx(tmp_path / "future.onnx", opset=99)
    what = f"future.onnx: {ORT} cannot load it: it has opset 99, and this one reads up to 26"
    assert _refusal(path, "99.1.0") == (
        f"{what}\n  try: onnxruntime 99.1.0, which it was made with, or later: {PIP} 'onnxruntime>=99.1.0'"
    )
    for no_newer in (None, "1.2.0"):
        assert _refusal(path, no_newer) == (
            f"{what}\n  try: onnxruntime newer than {onnxruntime.__version__}, or pack with a lower opset"
        )


def test_an_ir_version_of_the_future_is_refused_likewise(tmp_path: Path) -> None:
    path = networks.write_onnx(tmp_path / "future.onnx", ir_version=99)
    assert _refusal(path, None) == (
        f"future.onnx: {ORT} cannot load it: it has IR version 99, and this one reads up to 13"
        f"\n  try: onnxruntime newer than {onnxruntime.__version__}, or pack with a lower opset"
    )


def test_what_an_older_onnx_runtime_says_is_answered_with_the_first_that_reads_it() -> None:
    # Its words are those that 1.17.3 said to these files.
    opset = RuntimeError(
        "[ONNXRuntimeError] : 1 : FAIL : model_load_utils.h:56 ONNX Runtime only *guarantees* support for models "
        "stamped with official released onnx opset versions. Opset 21 is under development and support for this is "
        "limited. Current official support for domain ai.onnx is till opset 20."
    )
    error = onnx._unreadable(Path("int8.onnx"), opset, Options(threads=1, made_with="1.31.1"))
    assert str(error) == (
        f"int8.onnx: {ORT} cannot load it: it has opset 21, and this one reads up to 20"
        f"\n  try: onnxruntime 1.18 or later, which reads that: {PIP} 'onnxruntime>=1.18'"
    )
    ir = RuntimeError("Unsupported model IR version: 10, max supported IR version: 9")
    assert onnx._unreadable(Path("int8.onnx"), ir, Options(threads=1)).advice == (
        f"onnxruntime 1.18 or later, which reads that: {PIP} 'onnxruntime>=1.18'"
    )


def test_all_that_this_onnx_runtime_reads_stands_in_its_table(tmp_path: Path) -> None:
    ir_version, opset = (max(stamp.since) for stamp in onnx.STAMPS)
    path = networks.write_onnx(tmp_path / "new.onnx", ir_version=ir_version, opset=opset)
    session = onnx.load(path, Options(threads=1))
    np.testing.assert_allclose(session.run(INPUTS), EXPECTED, rtol=1e-4, atol=1e-4)
    assert "newer than" in _refusal(networks.write_onnx(path, ir_version=ir_version + 1), None)
    assert "newer than" in _refusal(networks.write_onnx(path, opset=opset + 1), None)


def _torchscript_with(path: Path, entry: str, old: bytes, new: bytes) -> Path:
    """Write a file in one of whose entries something else stands."""
    with zipfile.ZipFile(networks.write_torchscript(path.with_name("whole.pt"))) as whole:
        contents = {name: whole.read(name) for name in whole.namelist()}
    with zipfile.ZipFile(path, "w") as changed:
        for name, content in contents.items():
            changed.writestr(name, content.replace(old, new) if name.endswith(entry) else content)
    return path


def test_a_torchscript_file_of_a_later_format_is_refused_with_the_version_that_made_it(tmp_path: Path) -> None:
    path = _torchscript_with(tmp_path / "future.pt", "/version", b"3", b"99")
    found = _refusal(path, "99.1.0+cpu")
    what, advice = found.split("\n")
    assert what.startswith(f"future.pt: torch {torch.__version__} cannot load it: ")
    assert "Attempted to read a PyTorch file with version 99, but the maximum supported version" in what
    assert advice == f"  try: torch 99.1.0, which it was made with, or later: {PIP} 'torch>=99.1.0'"


def test_a_torchscript_operator_of_the_future_is_refused_likewise(tmp_path: Path) -> None:
    path = _torchscript_with(tmp_path / "future.pt", ".py", b"torch.relu", b"torch.relx")
    what = f"future.pt: torch {torch.__version__} cannot load it: Unknown builtin op: aten::relx."
    assert _refusal(path, "99.1.0") == (
        f"{what}\n  try: torch 99.1.0, which it was made with, or later: {PIP} 'torch>=99.1.0'"
    )
    assert _refusal(path, "2.1.0") == (f"{what}\n  try: pack it again: it was made with torch 2.1.0, which is no newer")
    assert _refusal(path, None) == f"{what}\n  try: torch newer than {torch.__version__}, or pack it again"


def test_an_onnx_file_that_takes_no_float32_is_refused(tmp_path: Path) -> None:
    path = networks.write_onnx(tmp_path / "half.onnx", kind=TensorProto.FLOAT16)
    with pytest.raises(RuntimeUnavailable) as caught:
        onnx.load(path, Options(threads=1))
    assert caught.value.what == (
        "takes tensor(float16) and returns tensor(float16), and the runner gives and takes tensor(float)"
    )


@pytest.mark.skipif("CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="has CUDA")
def test_onnx_on_cuda_without_cuda_is_an_error_and_not_the_cpu(tmp_path: Path) -> None:
    with pytest.raises(RuntimeUnavailable, match="has no working CUDAExecutionProvider") as caught:
        onnx.load(networks.write_onnx(tmp_path / "net.onnx"), Options(threads=1, device="cuda"))
    assert caught.value.advice == "pip install onnxruntime-gpu, and see that CUDA and cuDNN can be found"


@pytest.mark.skipif(torch.cuda.is_available(), reason="has CUDA")
def test_torchscript_on_cuda_without_cuda_is_an_error_and_not_the_cpu(tmp_path: Path) -> None:
    with pytest.raises(RuntimeUnavailable, match="finds no CUDA device"):
        torchscript.load(networks.write_torchscript(tmp_path / "net.pt"), Options(threads=1, device="cuda"))


def test_versions_are_found_and_nothing_is_imported() -> None:
    program = (
        "import sys; from runner.runtimes import installed_version as v; "
        "print(v('onnx'), v('torchscript'), *({'onnxruntime', 'torch'} & set(sys.modules)))"
    )
    # torch's metadata leaves out the local part of its version, such as +cpu, or has it: the number is the same.
    found = _fresh(program).split()
    assert found[0] == onnxruntime.__version__
    assert found[1].partition("+")[0] == str(torch.__version__).partition("+")[0]
    assert found[2:] == []


def test_a_package_that_is_not_installed_has_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = Known(module="runner.runtimes.onnx", package="no_such_package", distributions=("no",))
    monkeypatch.setattr(runtimes, "KNOWN", MappingProxyType({**KNOWN, "onnx": absent}))
    assert installed_version("onnx") is None


def test_the_onnx_path_never_imports_torch() -> None:
    assert _fresh("import sys, runner.runtimes.onnx; print('torch' in sys.modules)") == "False"


# Where the nodes run


@dataclass
class FakePlaced:
    """A session of ONNX Runtime that tells where its nodes are, as the real one does."""

    parts: Sequence[tuple[str, Sequence[str]]]

    def get_provider_graph_assignment_info(self) -> Sequence[object]:
        """Return a part for each group of nodes."""
        return [
            SimpleNamespace(ep_name=where, get_nodes=lambda kinds=kinds: [SimpleNamespace(op_type=it) for it in kinds])
            for where, kinds in self.parts
        ]


def placed(session: object, provider: str = "CUDAExecutionProvider") -> Placement | None:
    return onnx.OnnxSession(
        session=session, input_name="input", output_names=["logits"], provider=provider, version="1.31.1"
    ).placement()


def test_nodes_that_a_provider_has_left_to_the_cpu_are_told() -> None:
    parts = [
        ("CUDAExecutionProvider", ["Conv", "Relu"]),
        ("CPUExecutionProvider", ["TopK"]),
        ("CPUExecutionProvider", ["Shape"]),
    ]
    assert placed(FakePlaced(parts)) == Placement(nodes=4, elsewhere=("TopK", "Shape"))
    assert placed(FakePlaced(parts[:1])) == Placement(nodes=2, elsewhere=())


def test_a_session_on_the_cpu_or_of_an_old_onnx_runtime_tells_no_places() -> None:
    assert placed(FakePlaced([("CPUExecutionProvider", ["Conv"])]), "CPUExecutionProvider") is None
    assert placed(object()) is None


def test_a_real_session_that_is_asked_to_tells_where_each_node_is(tmp_path: Path) -> None:
    settings = onnxruntime.SessionOptions()
    settings.add_session_config_entry(onnx.RECORD_PLACEMENT, "1")
    path = networks.write_onnx(tmp_path / "net.onnx")
    session = onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
    assert placed(session) == Placement(nodes=4, elsewhere=("Conv", "Relu", "Flatten", "Gemm"))


def test_on_the_cpu_no_runtime_has_a_place_events_or_memory_of_an_accelerator(tmp_path: Path) -> None:
    sessions = (
        onnx.load(networks.write_onnx(tmp_path / "net.onnx"), Options(threads=1)),
        torchscript.load(networks.write_torchscript(tmp_path / "net.pt"), Options(threads=1)),
    )
    for session in sessions:
        assert (session.placement(), session.device_ns(INPUTS), session.device_memory()) == (None, None, None)


def test_fp32_on_a_gpu_is_not_rounded_to_tf32(tmp_path: Path) -> None:
    torch.backends.cudnn.allow_tf32 = True
    torchscript.load(networks.write_torchscript(tmp_path / "net.pt"), Options(threads=1))
    assert (torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32) == (False, False)
    assert onnx.PROVIDER_OPTIONS["cuda"] == {"device_id": "0", "use_tf32": "0"}


# What a runtime makes of a file at load


def wide(folder: Path) -> Path:
    """Write a network with more weights than the least for oneDNN's layouts."""
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 512, 3), torch.nn.ReLU(), torch.nn.Conv2d(512, 256, 3)).eval()
    path = folder / "wide.pt"
    with warnings.catch_warnings(action="ignore"):
        traced = torch.jit.trace(network, torch.zeros(1, 1, 8, 8))  # type: ignore[no-untyped-call]
        torch.jit.freeze(traced).save(str(path))
    return path


def test_a_large_fp32_file_is_optimised_at_load_and_answers_the_same_for_any_batch(tmp_path: Path) -> None:
    path = wide(tmp_path)
    fast, stored = (torchscript.load(path, Options(threads=1, as_stored=each)) for each in (False, True))
    kinds = [{node.kind() for node in each.module.inlined_graph.nodes()} for each in (fast, stored)]
    assert any("mkldnn" in kind for kind in kinds[0])
    assert not any("mkldnn" in kind for kind in kinds[1])
    for count in (1, 3, 5):
        np.testing.assert_allclose(fast.run(INPUTS[:count]), stored.run(INPUTS[:count]), rtol=1e-4, atol=1e-5)


def test_a_small_file_runs_as_it_is(tmp_path: Path) -> None:
    session = torchscript.load(networks.write_torchscript(tmp_path / "net.pt"), Options(threads=1))
    assert not any("mkldnn" in node.kind() for node in session.module.inlined_graph.nodes())


@pytest.mark.parametrize(("spinning", "expected"), [(True, "1"), (False, "0")])
def test_onnx_runtimes_threads_spin_as_the_target_says(spinning: bool, expected: str) -> None:
    settings = onnx._session_options(Options(threads=1, spinning=spinning))
    assert settings.get_session_config_entry("session.intra_op.allow_spinning") == expected


@pytest.mark.parametrize("key", ["session.intra_op.allow_spinning", "session.intra_op_thread_affinities"])
def test_by_default_spinning_and_cpus_are_left_to_onnx_runtime(key: str) -> None:
    settings = onnx._session_options(Options(threads=2))
    with pytest.raises(RuntimeError, match=key):
        settings.get_session_config_entry(key)


def test_onnx_runtimes_own_threads_stay_on_the_cpus_of_the_options(tmp_path: Path) -> None:
    cpu = max(os.sched_getaffinity(0))
    before = set(Path("/proc/self/task").iterdir())
    path = networks.write_onnx(tmp_path / "net.onnx")
    session = onnx.load(path, Options(threads=3, affinity=(cpu, cpu)))
    np.testing.assert_allclose(session.run(INPUTS), EXPECTED, rtol=1e-4, atol=1e-4)
    own = [int(task.name) for task in set(Path("/proc/self/task").iterdir()) - before]
    assert len(own) == 2
    # Each thread goes there by itself, when it begins.
    until = time.monotonic() + 10
    while {cpu} != set().union(*map(os.sched_getaffinity, own)) and time.monotonic() < until:
        time.sleep(0.01)
    assert [os.sched_getaffinity(task) for task in own] == [{cpu}, {cpu}]
