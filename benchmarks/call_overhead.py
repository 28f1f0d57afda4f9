"""What a call through `runner.load` costs beside the bare runtime: both in turn, in one process, on the same samples.

    python -m benchmarks.call_overhead [BUNDLE --prefer NAME] [--calls 2000] [--rounds 20] [--threads 1]

`run` takes what is prepared already, as the bare runtime does; the call itself prepares stored samples first, and is
held against the bare runtime together with the plain preprocessing that anybody would have to write. At most 20 us
should lie between. Without a BUNDLE it is a network so small that nothing hides the cost.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

import runner
from runner import stats
from runner.bundle import INPUTS, Bundle, open_bundle
from tests import loadable

Call = Callable[[int], object]
SAMPLES = 16


def main() -> None:
    """Print medians, and what lies between them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", nargs="?", type=Path)
    parser.add_argument("--prefer", default="fp32.onnx", help="an ONNX artifact, for the CPU")
    parser.add_argument("--calls", type=int, default=2000, help="of each, in every round")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bundle = open_bundle(chosen.bundle) if chosen.bundle else loadable.write(Path(folder), (loadable.FP32,))
        calls = make_calls(bundle, chosen.prefer, chosen.threads)
        medians = {name: list[float]() for name in calls}
        for _ in range(chosen.rounds):
            for name, median_ns in in_turn(calls, chosen.calls).items():
                medians[name].append(median_ns)
    for name, found in medians.items():
        print(f"{name}: {stats.median(found) / 1e3:.2f} us")
    for ours, bare in (("run", "bare"), ("call", "bare with preprocessing")):
        tell(ours, bare, medians[ours], medians[bare])


def tell(ours: str, bare: str, of_ours: list[float], of_bare: list[float]) -> None:
    """Print what a call of ours takes longer, with the interval of the rounds' median difference, and the ratio."""
    differences = [(mine - theirs) / 1e3 for mine, theirs in zip(of_ours, of_bare, strict=True)]
    interval = stats.median_interval(differences, 0.99)
    ratio = stats.median([mine / theirs for mine, theirs in zip(of_ours, of_bare, strict=True)])
    span = f"{interval.low:+.2f} to {interval.high:+.2f}"
    print(f"{ours} less {bare}: {stats.median(differences):+.2f} us ({interval.confidence:.1%}: {span}), {ratio:.4f}x")


def make_calls(bundle: Bundle, name: str, threads: int) -> dict[str, Call]:
    """Return what is compared, each a function of a sample's number."""
    artifact = bundle.manifest.artifact(name)
    assert artifact is not None
    assert artifact.format == "onnx"
    network = runner.load(bundle.path, prefer=name, threads=threads)
    assert network.choice.name == name, network.choice
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(bundle.read(artifact.path), settings, providers=["CPUExecutionProvider"])
    taken, given = session.get_inputs()[0].name, [session.get_outputs()[0].name]
    samples = [np.array(sample)[None] for sample in bundle.locate(INPUTS).open()[:SAMPLES]]
    prepared = [network.prepare(sample) for sample in samples]
    values = bundle.manifest.preprocess
    mean, std = (np.asarray(each, np.float32).reshape(-1, 1, 1) for each in (values.mean, values.std))
    scale = np.float32(values.scale)

    def plain(sample: NDArray[np.generic]) -> NDArray[np.float32]:
        found: NDArray[np.float32] = (sample.astype(np.float32) * scale - mean) / std
        return found

    return {
        "bare": lambda index: session.run(given, {taken: prepared[index]}),
        "run": lambda index: network.run(prepared[index]),
        "bare with preprocessing": lambda index: session.run(given, {taken: plain(samples[index])}),
        "call": lambda index: network(samples[index]),
    }


def in_turn(calls: dict[str, Call], times: int) -> dict[str, float]:
    """Call one after the other, again and again, and return the median of each in nanoseconds."""
    clock = time.perf_counter_ns
    took = {name: list[int]() for name in calls}
    for turn in range(times):
        index = turn % SAMPLES
        # Each is first once in a while: what the one before leaves in the caches meets all alike.
        names = list(calls)[turn % len(calls) :] + list(calls)[: turn % len(calls)]
        for name in names:
            call, samples_ns = calls[name], took[name]
            began = clock()
            call(index)
            samples_ns.append(clock() - began)
    return {name: stats.median(samples_ns) for name, samples_ns in took.items()}


if __name__ == "__main__":
    main()
