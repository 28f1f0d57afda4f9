"""What a board needs: what `pip install edgepack[onnx]` pulls, how long that takes to import, and memory under a limit.

    python -m benchmarks.board [--limit-mb 512]

Installs this checkout into an environment of its own, by constraints.txt, and measures with that alone: ResNet-8 and
ResNet-18 in int8 under ONNX Runtime, all processes of `bench-runner` together in so much memory, and an evaluation set
that is larger than that. To pack the two bundles takes this environment, with PyTorch.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks import memory_limit
from packager import writer
from packager.writer import Content
from runner import stats
from runner.arrays import ArrayLocation
from runner.bundle import FP32_REFERENCE, INPUTS, LABELS, REFERENCE, Bundle, open_bundle
from runner.device import topology
from runner.report_reader import load
from runner.runtimes import Options
from runner.worker.order import Job
from runner.workers import WORKERS

ROOT = Path(__file__).parent.parent
MIB = 2**20
OWN = ("pip", "setuptools", "wheel")
"""What a new environment has already."""
IMPORTED = ("runner.cli", "runner.commands", "runner.worker", "onnxruntime")
PROCESSES = 11
TIME = "import sys, time; began = time.perf_counter(); __import__(sys.argv[1]); print(time.perf_counter() - began)"
SIZES = """
import json
from importlib import metadata
found = {}
for it in metadata.distributions():
    files = [path.locate() for path in it.files or ()]
    found[it.metadata["Name"]] = [it.version, sum(path.stat().st_size for path in files if path.is_file())]
print(json.dumps(found))
"""
PACK = "import edgepack; edgepack.pack()"
ARTIFACT = "int8.onnx"
COMMON = ("--target", "x86", "--quantize", "static", "--candidates", "fp32.onnx,int8.onnx", "--epochs", "0")
IMAGES = ("--image-size", "224", "--eval-samples", "64", "--calibration-samples", "32")
NETWORKS = {
    "ResNet-8": ("--model", "resnet8", "--eval-samples", "2000"),
    "ResNet-18": ("--model", "resnet18", *IMAGES),
}
"""Their weights are random: memory does not depend on them."""
SMALL = ("--model", "small_cnn", *IMAGES)
"""For many images: it answers some hundred of them in a second."""
LARGER = 1.4
"""How many times as large as the limit the large evaluation set is."""


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit-mb", type=int, default=512)
    chosen = parser.parse_args()
    limit_bytes = chosen.limit_mb * MIB
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        python = install(folder / "venv")
        print_imports(python)
        for network, options in NETWORKS.items():
            print_run(f"{network} int8", python, pack(options, folder / f"{network}.edgepack"), limit_bytes)
        few = open_bundle(pack(SMALL, folder / "small.edgepack"))
        many = enlarge(few, folder, round(LARGER * limit_bytes))
        size_mib = many.stat().st_size / MIB
        print_run(f"Small network int8, a bundle of {size_mib:.0f} MiB", python, many, limit_bytes)


def install(venv: Path) -> Path:
    """Install this checkout as a board would, print what came with it, and return the environment's Python."""
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    python = venv / "bin" / "python"
    pip = (python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    subprocess.run([*pip, "--constraint", ROOT / "constraints.txt", f"{ROOT}[onnx]"], check=True)
    found: dict[str, tuple[str, int]] = json.loads(output(python, SIZES))
    pulled = {name: each for name, each in found.items() if name not in OWN}
    for name, (version, size) in sorted(pulled.items(), key=lambda item: -item[1][1]):
        print(f"  {name} {version}: {size / 1e6:.1f} MB")
    print(f"pip install edgepack[onnx]: {sum(size for _, size in pulled.values()) / 1e6:.0f} MB", flush=True)
    return python


def print_imports(python: Path) -> None:
    """Print how long fresh processes take to import what a run needs."""
    for name in IMPORTED:
        took = [float(output(python, TIME, name)) for _ in range(PROCESSES)]
        print(f"import {name}: {stats.median(took) * 1e3:.0f} ms", flush=True)


def pack(options: Sequence[str], path: Path) -> Path:
    """Pack a network with this environment, and return the bundle's path."""
    command = [sys.executable, "-c", PACK, *COMMON, *options, "-o", str(path)]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{path.stem}: {done.stderr}")
    return path


def print_run(title: str, python: Path, bundle: Path, limit_bytes: int) -> None:
    """Measure a bundle under the limit, and print what that took."""
    memory_limit.forget(bundle)
    written = bundle.with_suffix(".json")
    command = (str(python.with_name("bench-runner")), str(bundle), "-o", str(written), "--artifact", ARTIFACT)
    ran = memory_limit.run(command, limit_bytes, bundle.parent)
    if ran.code not in (0, 5) or not written.exists():
        sys.exit(f"{title}: failed with {ran.code} under {ran.how}:\n{ran.err}")
    (artifact,) = load(written).artifacts
    if artifact.accuracy is None or artifact.latency is None:
        sys.exit(f"{title}: {'; '.join(reason.line for reason in artifact.reasons)}")
    worker = f"{artifact.peak_bytes / MIB:.0f}" if artifact.peak_bytes else "?"
    kernel = ""
    if ran.anonymous_bytes is not None and ran.group_bytes is not None:
        cached = f"with the cache of files {ran.group_bytes / MIB:.0f}"
        kernel = f", {ran.anonymous_bytes / MIB:.0f} of them in no file ({cached})"
    print(
        f"{title}: {ran.pss_bytes / MIB:.0f} MiB at most, all processes{kernel}; a timed worker alone {worker}; "
        f"{artifact.accuracy.samples:,} samples; limit {limit_bytes / MIB:.0f} MiB by {ran.how}",
        flush=True,
    )


def enlarge(source: Bundle, folder: Path, least_bytes: int) -> Path:
    """Return a bundle like another whose images take so many bytes, repeated with some noise."""
    few = source.locate(INPUTS).open()
    count = -(-least_bytes // few[0].nbytes)
    inputs = folder / "inputs.npy"
    values = np.lib.format.open_memmap(inputs, "w+", few.dtype, (count, *few.shape[1:]))
    chance = np.random.default_rng(0)
    for start in range(0, count, len(few)):
        part = values[start : start + len(few)]
        part[:] = few[: len(part)] ^ chance.integers(0, 8, part.shape, dtype=few.dtype)
    values.flush()
    manifest = source.manifest
    artifact = next(each for each in manifest.artifacts if each.name == ARTIFACT)
    file = source.extract(artifact.path, folder)
    offset = inputs.stat().st_size - values.nbytes
    job = Job(
        file=file,
        format=artifact.format,
        options=Options(threads=topology.default_threads()),
        inputs=ArrayLocation(path=inputs, offset=offset, shape=values.shape, dtype=values.dtype.str),
        preprocess=manifest.preprocess,
    )
    logits = WORKERS.answer(job, lambda *_, **__: None).logits
    del values
    labels = np.asarray(logits.argmax(axis=1), np.int64)
    path = folder / "large.edgepack"
    contents = (
        Content(path=artifact.path, source=file),
        Content(path=INPUTS, source=inputs),
        Content(path=LABELS, source=writer.array_bytes(labels)),
        Content(path=REFERENCE, source=writer.arrays_bytes({FP32_REFERENCE: logits, artifact.name: logits})),
    )
    writer.write(path, replace(manifest, name="large", samples=count, artifacts=(artifact,), entries=()), contents)
    inputs.unlink()
    return path


def output(python: Path, program: str, *arguments: str) -> str:
    """Return what a program prints in a fresh process, away from this checkout."""
    command = [str(python), "-c", program, *arguments]
    return subprocess.run(command, cwd=python.parent, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    main()
