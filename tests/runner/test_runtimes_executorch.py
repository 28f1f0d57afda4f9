"""ExecuTorch files: answers, threads, memory of their own, and what is told of those that cannot be run."""

import gc
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from runner.errors import RuntimeUnavailable
from runner.operators import OperatorTime
from runner.runtimes import Options, Profiling, installed_version
from tests import networks

executorch = pytest.importorskip("runner.runtimes.executorch", reason="edgepack[executorch] is not installed")

INPUTS = networks.PREPROCESS.apply(networks.inputs(5))
EXPECTED = networks.expected_logits(networks.inputs(5))
ALONE = """
import os, sys
from pathlib import Path
from runner.runtimes import Options, executorch

def tasks():
    return len(os.listdir("/proc/self/task"))

before = tasks()
session = executorch.load(Path(sys.argv[1]), Options(threads=int(sys.argv[2])))
print(executorch.EXTENSION._threadpool_get_thread_count(), tasks() - before)
print(*sorted(name for name in sys.modules if name in ("executorch.exir", "openvino", "torchao")))
"""


@pytest.fixture(autouse=True)
def _no_session_is_left() -> None:
    """Take away what a test that was told an error still holds: sessions of one process share their threads."""
    gc.collect()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small network."""
    return networks.write_executorch(tmp_path_factory.mktemp("executorch") / "net.pte")


def test_a_file_answers_as_numpy_computes_sample_by_sample(file: Path) -> None:
    session = executorch.load(file, Options(threads=1))
    logits = np.concatenate([session.run(INPUTS[place : place + 1]) for place in range(5)])
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, EXPECTED, rtol=1e-4, atol=1e-4)
    assert (session.provider, session.version) == ("XNNPACK", installed_version("executorch"))
    assert (session.placement(), session.device_ns(INPUTS), session.device_memory()) == (None, None, None)


def test_an_answer_stays_when_another_is_given_by_the_same_session_or_another(file: Path) -> None:
    one, two = (executorch.load(file, Options(threads=1)) for _ in range(2))
    first = one.run(INPUTS[:1])
    kept = first.copy()
    assert not np.array_equal(one.run(INPUTS[1:2]), kept)
    two.run(INPUTS[2:3])
    assert np.array_equal(first, kept)
    assert np.array_equal(one.tensors(INPUTS[:1])[0], kept)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_fresh_process_has_the_threads_of_the_options_and_loads_and_says_nothing_else(
    file: Path, threads: int
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ALONE, str(file), str(threads)], check=True, capture_output=True, text=True
    )
    counts, loaded = done.stdout.splitlines()
    # The one that calls is one of them.
    assert counts == f"{threads} {threads - 1}"
    assert loaded == ""
    assert done.stderr == ""


def test_other_threads_are_refused_while_a_session_has_its_own_and_given_when_it_is_gone(file: Path) -> None:
    session = executorch.load(file, Options(threads=1))
    with pytest.raises(RuntimeUnavailable) as caught:
        executorch.load(file, Options(threads=2))
    assert str(caught.value) == (
        "net.pte: ExecuTorch has one pool of threads in a process: 1 are in use, and 2 are asked for"
        "\n  try: the same number, or another process"
    )
    del session
    again = executorch.load(file, Options(threads=2))
    np.testing.assert_allclose(again.run(INPUTS[:1]), EXPECTED[:1], rtol=1e-4, atol=1e-4)
    assert executorch.EXTENSION._threadpool_get_thread_count() == 2


@pytest.mark.parametrize("content", [b"", b"no network at all" * 100, None], ids=["empty", "another file", "cut short"])
def test_a_file_that_cannot_be_read_is_refused_with_the_versions_that_can(
    file: Path, tmp_path: Path, content: bytes | None, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "broken.pte"
    path.write_bytes(file.read_bytes()[:2000] if content is None else content)
    with pytest.raises(RuntimeUnavailable, match=r"^broken\.pte: executorch .* cannot load it: RuntimeError: .+") as it:
        executorch.load(path, Options(threads=1))
    assert it.value.advice == "executorch 1.0.1 (with torch 2.9.1, for ARM) to 1.5 read what `pack` writes"
    assert capfd.readouterr() == ("", "")


def test_two_samples_at_once_are_no_batch_of_one(file: Path) -> None:
    with pytest.raises(RuntimeError, match="set_inputs"):
        executorch.load(file, Options(threads=1)).run(INPUTS[:2])


def test_what_executorch_tells_by_a_number_is_an_error_of_memory() -> None:
    with pytest.raises(MemoryError, match="0x:21"), executorch._out_of_memory():
        raise RuntimeError("Failed to load method forward, error: 0x:21")
    with pytest.raises(RuntimeError, match="0x:23"), executorch._out_of_memory():
        raise RuntimeError("Failed to load program, error: 0x:23")


def test_a_gpu_and_a_profile_are_not_to_be_had(file: Path, tmp_path: Path) -> None:
    with pytest.raises(RuntimeUnavailable, match="runs on a CPU alone"):
        executorch.load(file, Options(threads=1, device="cuda"))

    def profile() -> tuple[OperatorTime, ...]:
        found: tuple[OperatorTime, ...] = executorch.profile(
            file, Options(threads=1), Profiling(inputs=[INPUTS[:1]], warmups=0, folder=tmp_path)
        )
        return found

    with pytest.raises(RuntimeUnavailable, match="has no profiler for what XNNPACK computes"):
        profile()


def test_without_torch_it_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib import util  # noqa: PLC0415 - what the test takes the place of

    real = util.find_spec
    monkeypatch.setattr(util, "find_spec", lambda name: None if name == "torch" else real(name))
    assert installed_version("executorch") is None
    assert installed_version("onnx") is not None
