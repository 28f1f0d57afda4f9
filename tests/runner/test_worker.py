import os
import signal
import subprocess
import sys
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import runner
from runner import workers
from runner.arrays import ArrayLocation
from runner.manifest import Format
from runner.runtimes import Options
from runner.worker.order import Job, Order, Timing, decode, encode
from runner.worker.samples import rotation
from runner.worker.timing import LEAST_SAMPLES, LEAST_WARMUPS
from runner.workers import WORKERS, Answered
from tests import networks

SAMPLES = 40
BRIEF = Timing(warmup_s=0.0, timed_s=0.0, seed=3)
INPUTS = networks.inputs(SAMPLES)


def _job(folder: Path, *, form: Format = "onnx", batch: int = 1) -> Job:
    path = folder / "inputs.bin"
    path.write_bytes(b"a header" + INPUTS.tobytes())
    write = {"onnx": networks.write_onnx, "torchscript": networks.write_torchscript}[form]
    return Job(
        file=write(folder / f"net.{form}"),
        format=form,
        options=Options(threads=1),
        inputs=ArrayLocation(path=path, offset=8, shape=INPUTS.shape, dtype="|u1"),
        preprocess=networks.PREPROCESS,
        batch=batch,
    )


def _answer(job: Job) -> Answered:
    return WORKERS.answer(job, lambda *_, **__: None)


def test_an_order_comes_out_of_its_json_as_it_went_in(tmp_path: Path) -> None:
    order = Order(job=_job(tmp_path), timing=BRIEF, output=tmp_path / "logits.npy", parent=os.getpid())
    assert decode(encode(order)) == order


def test_an_array_is_mapped_where_it_lies(tmp_path: Path) -> None:
    found = _job(tmp_path).inputs.open()
    assert isinstance(found, np.memmap)
    assert np.array_equal(found, INPUTS)


@pytest.mark.parametrize("form", ["onnx", "torchscript"])
def test_a_worker_answers_every_sample_in_order(tmp_path: Path, form: Format) -> None:
    steps: list[int] = []
    answered = WORKERS.answer(_job(tmp_path, form=form), lambda steps_=1, note="": steps.append(steps_))
    np.testing.assert_allclose(answered.logits, networks.expected_logits(INPUTS), rtol=1e-4, atol=1e-4)
    assert sum(steps) == SAMPLES
    # Mapped, and not in memory twice; nor can they be written to.
    assert isinstance(answered.logits.base, np.memmap)
    assert not answered.logits.flags.writeable


def test_a_batch_that_does_not_divide_the_samples_leaves_none_out(tmp_path: Path) -> None:
    answered = _answer(_job(tmp_path, batch=7))
    np.testing.assert_allclose(answered.logits, networks.expected_logits(INPUTS), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("form", ["onnx", "torchscript"])
def test_a_timed_worker_keeps_every_latency_and_its_answers(tmp_path: Path, form: Format) -> None:
    job = _job(tmp_path, form=form)
    timed = WORKERS.time(job, BRIEF)
    found = timed.process
    assert len(found.warmup_ns) == LEAST_WARMUPS
    assert len(found.samples_ns) == LEAST_SAMPLES
    assert min(found.import_ns, found.load_ns, found.first_ns, *found.warmup_ns, *found.samples_ns) > 0
    assert found.imported_bytes is not None
    assert found.loaded_bytes is not None
    assert found.peak_bytes is not None
    assert 10_000_000 < found.imported_bytes <= found.loaded_bytes <= found.peak_bytes
    assert timed.batches == tuple(rotation(job, seed=3))
    assert timed.logits.shape == (16, 1, networks.CLASSES)
    assert np.array_equal(timed.logits[:, 0], _answer(job).logits[list(timed.batches)])


def test_timed_batches_are_whole_and_those_of_the_answers(tmp_path: Path) -> None:
    job = _job(tmp_path, batch=12)
    timed = WORKERS.time(job, BRIEF)
    assert sorted(timed.batches) == [0, 1, 2]  # 40 samples make three batches of 12, and 4 are left
    expected = _answer(job).logits[:36].reshape(3, 12, networks.CLASSES)
    assert np.array_equal(timed.logits, expected[list(timed.batches)])


def test_the_rotation_follows_the_seed(tmp_path: Path) -> None:
    job = _job(tmp_path)
    assert rotation(job, 1) == rotation(job, 1) != rotation(job, 2)
    assert len(set(rotation(job, 1))) == 16


def test_large_samples_are_rotated_only_as_far_as_memory_bears() -> None:
    location = ArrayLocation(path=Path("none"), offset=0, shape=(1000, 3, 512, 512), dtype="|u1")
    job = Job(
        file=Path("none"),
        format="onnx",
        options=Options(threads=1),
        inputs=location,
        preprocess=networks.PREPROCESS,
        batch=4,
    )
    assert len(rotation(job, 0)) == 2  # 12 MiB a batch as float32, and 32 MiB in all


def test_the_folder_that_a_worker_starts_in_shadows_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = _job(tmp_path)
    elsewhere = tmp_path / "project"
    (elsewhere / "runner").mkdir(parents=True)
    (elsewhere / "runner" / "__init__.py").write_text("raise SystemExit('the wrong runner')")
    (elsewhere / "numpy.py").write_text("raise SystemExit('the wrong numpy')")
    monkeypatch.chdir(elsewhere)
    assert _answer(job).logits.shape == (SAMPLES, networks.CLASSES)


def test_a_worker_runs_from_inside_a_zip_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = Path(runner.__file__).parent
    archive = tmp_path / "net.edgepack"
    with zipfile.ZipFile(archive, "w") as file:
        for path in root.rglob("*.py"):
            file.write(path, f"runner/{path.relative_to(root)}")
    monkeypatch.setattr(workers, "ROOT", archive)
    monkeypatch.chdir(tmp_path)
    assert _answer(_job(tmp_path)).logits.shape == (SAMPLES, networks.CLASSES)


def test_a_worker_imports_only_what_it_needs(tmp_path: Path) -> None:
    program = "import sys, runner.worker; print(*({'click', 'cattrs', 'attrs', 'psutil', 'torch'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout.split() == []


def test_what_a_runtime_prints_does_not_reach_the_results(tmp_path: Path) -> None:
    order = Order(job=_job(tmp_path), timing=None, output=tmp_path / "logits.npy", parent=os.getpid())
    program = (
        "import os, runner.runtimes.onnx as module\n"
        "load = module.load\n"
        "def loud(*given):\n"
        "    os.write(1, b'a runtime says hello\\n')\n"
        "    print('and so does Python')\n"
        "    return load(*given)\n"
        "module.load = loud\n"
        "from runner.worker import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], input=encode(order), check=True, capture_output=True, text=True
    )
    assert all(line.startswith(('{"done"', '{"result"')) for line in done.stdout.splitlines())
    assert "a runtime says hello" in done.stderr
    assert "and so does Python" in done.stderr


def _children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    return [int(word) for word in text.split()]


def _wait(condition: str, pid: int) -> list[int]:
    """Wait until a process has children, or is gone."""
    for _ in range(600):
        if condition == "children" and (found := _children(pid)):
            return found
        if condition == "gone" and not Path(f"/proc/{pid}/exe").exists():
            return []
        time.sleep(0.02)
    pytest.fail(f"process {pid} never came to: {condition}")


def test_a_worker_dies_with_its_parent(tmp_path: Path) -> None:
    order = Order(job=_job(tmp_path), timing=None, output=tmp_path / "logits.npy", parent=os.getpid())
    program = (
        "import sys; from runner.worker.order import decode, Timing; from runner.workers import WORKERS\n"
        "WORKERS.time(decode(sys.stdin.read()).job, Timing(warmup_s=0, timed_s=300, seed=0))"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, text=True)
    try:
        assert parent.stdin is not None
        with parent.stdin as stdin:
            stdin.write(encode(order))
        (worker,) = _wait("children", parent.pid)
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
        _wait("gone", worker)
    finally:
        parent.kill()
        parent.wait()


def test_a_worker_stays_on_the_cpu_that_it_is_given(tmp_path: Path) -> None:
    allowed = sorted(os.sched_getaffinity(0))
    timed = WORKERS.time(replace(_job(tmp_path), cpus=(allowed[-1],)), BRIEF)
    assert timed.process.cpus == (allowed[-1],)


def test_a_cpu_that_is_gone_leaves_the_worker_where_it_may_be_and_that_is_recorded(tmp_path: Path) -> None:
    timed = WORKERS.time(replace(_job(tmp_path), cpus=(1023,)), BRIEF)
    assert timed.process.cpus == tuple(sorted(os.sched_getaffinity(0)))


def test_several_streams_of_a_real_worker_give_the_answers_of_one(tmp_path: Path) -> None:
    job = _job(tmp_path)
    timed = WORKERS.time(job, replace(BRIEF, streams=2))
    assert len(timed.process.samples_ns) == 2 * LEAST_SAMPLES
    assert np.array_equal(timed.logits[:, 0], _answer(job).logits[list(timed.batches)])
