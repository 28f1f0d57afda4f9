"""How often this machine, measured this way, finds a difference that is not there, and one that is.

    python -m benchmarks.error_rates [--pairs 60] [--changed 20] [--threads 1]

Pairs of sessions of one small network: unchanged, and with every call made longer by 3 % and by 5 %; each kind with one
session after the other, and with both in turn. Exact (Clopper-Pearson) 95 % intervals of the rates. Separate sessions
are judged by their statistics alone, and with noise floors. Ctrl-C prints the rates of the pairs so far.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks.overhead import make_job
from runner import device, noise
from runner.compare import gate
from runner.edge import INTERRUPTED
from runner.measure.answers import Logits
from runner.measure.rounds import Course, instruments
from runner.render.page import as_text
from runner.render.selftest import selftest_page
from runner.report import Scenario
from runner.selftest import selftest
from runner.terminal import Terminal
from runner.worker.order import Job
from runner.workers import WORKERS
from tests.networks import write_onnx

SHAPE = (1, 28, 28)


def main() -> None:
    """Print the rates."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--pairs", type=int, default=60)
    parser.add_argument("--changed", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = chosen.file or write_onnx(Path(folder) / "network.onnx", shape=SHAPE, classes=10)
        job = make_job(file, Path(folder), chosen.threads)
        course = Course(name=file.name, job=job, scenario=Scenario(threads=chosen.threads), answers=_answers(job))
        pairs = (chosen.pairs, chosen.changed, chosen.changed)
        facts = device.facts()
        applied = gate.floor_of(facts, noise.load(facts, chosen.threads))
        found = selftest(course, facts, applied, pairs, instruments(), Terminal(sys.stderr))
    print(as_text(selftest_page(found)))
    sys.exit(0 if found.complete else INTERRUPTED)


def _answers(job: Job) -> Logits:
    return WORKERS.answer(job, lambda *_, **__: None).logits


if __name__ == "__main__":
    main()
