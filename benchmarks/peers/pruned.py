"""A pruned int8 network against the fastest peer's unpruned int8, from the same trained weights.

    pack --target x86 --recipe resnet18-cifar10 --data cifar10 --save-weights resnet18.safetensors -o resnet18.edgepack
    python -m benchmarks.peers.pruned resnet18.edgepack resnet18.safetensors [-o out/pruned] [--python PYTHON]

The runner chooses on this machine among all artifacts of the bundle whose top-1 is at most one point below that of the
trained network in fp32; the peers quantize the trained network as it is. The ratio should be at most 0.60.
"""

import argparse
import functools
import shutil
import sys
from pathlib import Path

import models
from benchmarks.peers import subject
from benchmarks.peers.__main__ import bench, case_of
from benchmarks.peers.case import BUNDLE, NETWORK, WEIGHTS
from benchmarks.peers.compare import compare, resumed
from benchmarks.peers.contenders import EDGEPACK, PEERS
from benchmarks.peers.environments import Environments, given
from benchmarks.peers.judgement import duel
from benchmarks.peers.record import Record
from benchmarks.peers.rounds import Plan
from packager import weights
from runner import bundle, device
from runner.errors import EdgepackError
from runner.render import device_line

MOST_RATIO = 0.60
SAMPLES = 256
MODEL = "resnet18"


def main() -> None:
    """Print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=Path("out/pruned"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--python", action="append", default=[])
    chosen = parser.parse_args()
    try:
        found = measured(chosen)
    except EdgepackError as error:
        sys.exit(str(error))
    for entrant in found.entrants:
        print(f"{entrant.name}: {entrant.failed or entrant.version}")
    judged = duel(found)
    if judged is None:
        sys.exit("no ratio: edgepack's choice or every peer is without a figure")
    interval = judged.interval
    spread = f" ({interval.low:.3f} to {interval.high:.3f}, {interval.confidence:.1%})" if interval else ""
    verdict = "reached" if judged.ratio <= MOST_RATIO else "missed"
    print(f"{judged.choice.entrant.version} / {judged.peer.entrant.name}: {judged.ratio:.3f}{spread}")
    print(f"at most {MOST_RATIO} of the fastest peer's unpruned int8: {verdict}")


def measured(chosen: argparse.Namespace) -> Record:
    """Write the subject where it is missing, and return what was measured. Raises EdgepackError."""
    own: Path = chosen.output / MODEL
    own.mkdir(parents=True, exist_ok=True)
    if not (own / NETWORK).exists():
        _write_subject(chosen.bundle, chosen.weights, own)
    environments = Environments(folder=chosen.output / "environments", given=given(chosen.python))
    contenders = (EDGEPACK, *(peer for peer in PEERS if peer.int8))
    pythons = {each.environment: environments.python(each.environment) for each in contenders}
    machine = device_line(device.facts())
    blank = Record(family=MODEL, batch=1, threads=chosen.threads, device=machine, entrants=())
    return compare(
        resumed(chosen.output, blank),
        contenders,
        Plan(rounds=chosen.rounds, timed_s=chosen.seconds),
        bench(chosen.output, functools.partial(case_of, own, 1, chosen.threads), pythons),
    )


def _write_subject(source: Path, trained: Path, own: Path) -> None:
    opened = bundle.open_bundle(source)
    preprocess, classes = opened.manifest.preprocess, len(opened.manifest.classes)
    shape = (preprocess.channels, preprocess.height, preprocess.width)
    module = models.build(MODEL, shape[0], classes, *shape[1:]).eval()
    weights.load(trained, module)
    weights.save(module, own / WEIGHTS)
    samples = opened.locate(bundle.INPUTS).open()
    inputs = preprocess.apply(samples[:SAMPLES])
    # For speed alone: the peers' accuracy is not judged here.
    calibration = preprocess.apply(samples[-subject.CALIBRATED :])
    shutil.copyfile(source, own / BUNDLE)
    subject.write_samples(module, calibration, inputs, own)
    subject.write_network(MODEL, shape, classes, own)


if __name__ == "__main__":
    main()
