"""LiteRT artifacts in LiteRT's interpreter."""

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from runner.errors import RuntimeUnavailable
from runner.runtimes import Options, Profiling, installed_version, litert
from tests import litert_files, networks

PIP = f"{sys.executable} -m pip install"
INPUTS = networks.PREPROCESS.apply(networks.inputs(5))
EXPECTED = networks.expected_logits(networks.inputs(5))
VERSION = metadata.version("ai-edge-litert")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return litert_files.write_litert(tmp_path / "net.tflite")


def test_a_file_answers_as_numpy_computes_and_xnnpack_does_it(file: Path) -> None:
    session = litert.load(file, Options(threads=1))
    logits = session.run(INPUTS[:1])
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, EXPECTED[:1], rtol=1e-4, atol=1e-4)
    assert (session.provider, session.version) == ("XNNPACK", VERSION)
    assert installed_version("litert") == VERSION


def test_the_number_of_samples_may_change_from_call_to_call(file: Path) -> None:
    session = litert.load(file, Options(threads=2))
    for count in (1, 5, 2, 1):
        np.testing.assert_allclose(session.run(INPUTS[:count]), EXPECTED[:count], rtol=1e-4, atol=1e-4)


def test_an_answer_is_left_alone_by_the_next_call(file: Path) -> None:
    session = litert.load(file, Options(threads=1))
    first = session.run(INPUTS[:1])
    kept = first.copy()
    second = session.run(INPUTS[1:2])
    assert np.array_equal(first, kept)
    assert not np.array_equal(first, second)


def test_all_outputs_are_those_that_the_file_has(file: Path) -> None:
    session = litert.load(file, Options(threads=1))
    (logits,) = session.tensors(INPUTS[:1])
    assert np.array_equal(logits, session.run(INPUTS[:1]))
    assert (session.device_ns(INPUTS), session.placement(), session.device_memory()) == (None, None, None)


@pytest.mark.parametrize("threads", [1, 3])
def test_it_takes_as_many_threads_as_it_is_told(file: Path, threads: int) -> None:
    program = (
        "import os, sys; from pathlib import Path; import numpy as np; from runner.runtimes import Options, litert; "
        "before = len(os.listdir('/proc/self/task')); "
        f"session = litert.load(Path(sys.argv[1]), Options(threads={threads})); "
        "session.run(np.zeros((1, 1, 8, 8), np.float32)); "
        "print(len(os.listdir('/proc/self/task')) - before + 1)"
    )
    done = subprocess.run([sys.executable, "-c", program, file], check=True, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == (f"{threads}\n", "")


def test_a_second_load_in_a_process_says_nothing_either(file: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        litert.load(file, Options(threads=1))
    os.write(2, b"heard again\n")
    assert capfd.readouterr() == ("", "heard again\n")


@pytest.mark.parametrize("content", [b"no network at all" * 100, b""])
def test_a_file_that_cannot_be_read_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.tflite"
    path.write_bytes(content)
    with pytest.raises(
        RuntimeUnavailable, match=rf"^broken\.tflite: LiteRT {VERSION} cannot load it: ValueError: "
    ) as it:
        litert.load(path, Options(threads=1))
    assert it.value.advice == f"ai-edge-litert newer than {VERSION}, or pack it again"


def test_a_cut_file_is_refused(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:2000])
    with pytest.raises(RuntimeUnavailable, match="cannot load it: ValueError: "):
        litert.load(file, Options(threads=1))


FUTURE = f"ai-edge-litert 99.1.0, which it was made with, or later: {PIP} 'ai-edge-litert>=99.1.0'"


def test_operators_of_the_future_are_refused_with_the_version_that_has_them(tmp_path: Path) -> None:
    path = litert_files.write_litert(tmp_path / "future.tflite", opset=99)
    with pytest.raises(RuntimeUnavailable) as caught:
        litert.load(path, Options(threads=1, made_with="99.1.0"))
    assert str(caught.value) == (
        f"future.tflite: LiteRT {VERSION} cannot load it: ValueError: Didn't find op for builtin opcode 'TRANSPOSE' "
        "version '99'. An older version of this builtin might be supported. Are you using an old TFLite binary with a "
        f"newer model?\n  try: {FUTURE}"
    )


def test_a_file_of_a_later_schema_is_refused_with_the_version_that_made_it(tmp_path: Path) -> None:
    path = litert_files.write_litert(tmp_path / "future.tflite", schema_version=4)
    with pytest.raises(RuntimeUnavailable) as caught:
        litert.load(path, Options(threads=1, made_with="99.1.0"))
    assert str(caught.value) == (
        f"future.tflite: LiteRT {VERSION} cannot load it: ValueError: Model provided is schema version 4 not equal to "
        f"supported version 3.\n  try: {FUTURE}"
    )


def test_a_file_without_a_float32_face_is_refused(tmp_path: Path) -> None:
    path = litert_files.write_integers(tmp_path / "integers.tflite")
    with pytest.raises(RuntimeUnavailable) as caught:
        litert.load(path, Options(threads=1))
    assert caught.value.what == "takes int8 and returns int8, and the runner gives and takes float32"


def test_there_is_no_cuda(file: Path) -> None:
    with pytest.raises(RuntimeUnavailable, match=r"^net\.tflite: LiteRT runs on the CPU here"):
        litert.load(file, Options(threads=1, device="cuda"))


def test_a_profile_is_refused_with_its_reason(file: Path, tmp_path: Path) -> None:
    profiling = Profiling(inputs=[INPUTS[:1]], warmups=0, folder=tmp_path)
    with pytest.raises(RuntimeUnavailable, match="LiteRT shows no times of single operators in Python"):
        litert.profile(file, Options(threads=1), profiling)
