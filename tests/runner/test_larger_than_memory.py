"""An evaluation set that is larger than the memory: in processes that get no more than a little beside what they have.

The limit is that of data (RLIMIT_DATA): memory of one's own, which is what runs out. Mapped files do not count.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from runner.arrays import ArrayLocation
from runner.bundle import FP32_REFERENCE
from runner.manifest import Preprocess
from runner.runtimes import Options
from runner.worker.order import Job, Order, encode
from tests import bundles, networks

ROOT = Path(__file__).parent.parent.parent
SHAPE = (3, 224, 224)
SAMPLES = 1_000
"""150 MB of images."""
MORE_BYTES = 64 << 20
PREPROCESS = Preprocess(
    channels=3, height=224, width=224, scale=1 / 255, mean=(0.5,) * 3, std=(0.25,) * 3, resize="none"
)
LIMIT = f"""
import re, resource, sys
from pathlib import Path
def limit():
    has = 1024 * int(re.search(r"VmData:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
    resource.setrlimit(resource.RLIMIT_DATA, (has + {MORE_BYTES}, resource.RLIM_INFINITY))
def is_too_much(array):
    try:
        array.copy()
    except MemoryError:
        return True
"""
WORKER = f"""{LIMIT}
from runner import worker
from runner.runtimes import load_runtime
order = worker.decode(sys.stdin.read())
load_runtime(order.job.format).load(order.job.file, order.job.options)
limit()
with open("told", "w") as told:
    worker.answer(order, told)
print(is_too_much(order.job.inputs.open()))
"""
PARENT = f"""{LIMIT}
from runner import commands
from runner.bundle import open_bundle, INPUTS
from runner.measure.answers import load_evaluation
limit()
bundle = open_bundle(Path(sys.argv[1]))
file = bundle.extract("artifacts/fp32.onnx", Path("."))
print(load_evaluation(bundle, ["fp32.onnx"]).samples)
print(is_too_much(bundle.locate(INPUTS).open()))
"""


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file of many images, most of which are black and take no room on the disk."""
    path = tmp_path_factory.mktemp("large") / "inputs.npy"
    images = np.lib.format.open_memmap(path, "w+", np.uint8, (SAMPLES, *SHAPE))
    images[-1] = 255
    return path


def ended(program: str, folder: Path, *arguments: str, told: str = "") -> list[str]:
    """Run a program in a process of its own, and return its lines."""
    found = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        input=told,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr[-2000:]
    return found.stdout.split()


def test_a_worker_answers_more_images_than_it_could_hold(inputs: Path, tmp_path: Path) -> None:
    size_bytes = SAMPLES * int(np.prod(SHAPE))
    job = Job(
        file=networks.write_onnx(tmp_path / "net.onnx", shape=SHAPE, classes=10),
        format="onnx",
        options=Options(threads=1),
        inputs=ArrayLocation(
            path=inputs, offset=inputs.stat().st_size - size_bytes, shape=(SAMPLES, *SHAPE), dtype="|u1"
        ),
        preprocess=PREPROCESS,
    )
    order = Order(job=job, timing=None, output=tmp_path / "logits.npy", parent=os.getpid())
    assert ended(WORKER, tmp_path, told=encode(order)) == ["True"]
    logits = np.load(tmp_path / "logits.npy")
    assert logits.shape == (SAMPLES, 10)
    assert (logits[:-1] == logits[0]).all()
    assert (logits[-1] != logits[0]).any()


def test_a_bundle_is_opened_and_checked_whose_images_nobody_could_hold(inputs: Path, tmp_path: Path) -> None:
    path = tmp_path / "large.edgepack"
    logits = np.tile(np.arange(3, dtype=np.float32), (SAMPLES, 1))
    bundles.write_bundle(
        path,
        {"fp32.onnx": b"the bytes of a network"},
        (bundles.artifact(),),
        logits={FP32_REFERENCE: logits, "fp32.onnx": logits},
        labels=np.full(SAMPLES, 2),
        images=inputs,
        preprocess=PREPROCESS,
    )
    assert ended(PARENT, tmp_path, str(path)) == [str(SAMPLES), "True"]
