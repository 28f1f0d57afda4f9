"""The peak memory of an artifact as `runner.load` runs it, against the bare runtime: at most 15 MB more.

    python -m benchmarks.peers.memory [-o out/peers] [--families resnet18,swin_t] [--threads 2]
    python -m benchmarks.peers.memory --bundle net.edgepack

Of families that `python -m benchmarks.peers` has measured in batch 1 it is the artifact that edgepack chose there, of
a bundle every artifact. Each program is a process of its own that loads the same file and calls it for as long; the
figure is its largest resident memory (VmHWM), the least of three processes.
"""

import argparse
import functools
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers import bare
from benchmarks.peers.__main__ import case_of
from benchmarks.peers.case import BUNDLE
from benchmarks.peers.contenders import EDGEPACK, FAMILIES
from benchmarks.peers.conversation import ROOT
from benchmarks.peers.runtimes.edgepack_choice import REPORT, choice
from runner.bundle import Bundle, open_bundle
from runner.manifest import Artifact

MOST_MB = 15.0
PROCESSES = 3
OURS = f"""{bare.PEAK}
import runner
path, name, threads, shape = json.loads(sys.argv[1])
network = runner.load(path, prefer=name, threads=threads)
if network.choice.name != name:
    sys.exit("; ".join(each.line for each in network.choice.passed_over))
run(network.run, shape)
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """The peaks of one artifact, or why there are none."""

    title: str
    ours_mb: float = 0.0
    bare_mb: float = 0.0
    unmeasured: str = ""
    """Why nothing was measured; empty where it was."""

    @property
    def more_mb(self) -> float:
        """By how much edgepack's peak is the higher one."""
        return self.ours_mb - self.bare_mb

    @property
    def line(self) -> str:
        """All of it in a few words."""
        if self.unmeasured:
            return f"{self.title}: not measured: {self.unmeasured}"
        return f"{self.title}: edgepack {self.ours_mb:.1f} MB, bare {self.bare_mb:.1f} MB, {self.more_mb:+.1f} MB"


def main() -> None:
    """Print the differences."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=Path("out/peers"))
    parser.add_argument("--families", default=",".join(FAMILIES))
    parser.add_argument("--bundle", type=Path, default=None)
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args()
    found = []
    for each in (
        of_bundle(chosen.bundle, chosen.threads)
        if chosen.bundle
        else of_families(chosen.output, chosen.families.split(","), chosen.threads)
    ):
        print(each.line, flush=True)
        found.append(each)
    print(verdict(found))


def of_families(folder: Path, families: Sequence[str], threads: int) -> Iterator[Found]:
    """Measure the artifact that was chosen of each family."""
    for family in families:
        own = folder / family
        if not (own / "batch1" / EDGEPACK.module / REPORT).exists():
            yield Found(title=family, unmeasured="`python -m benchmarks.peers` has not chosen an artifact in batch 1")
            continue
        artifact = choice(case_of(own, 1, threads, EDGEPACK))
        yield measure(f"{family}: {artifact.name}", open_bundle(own / BUNDLE), artifact, threads)


def of_bundle(path: Path, threads: int) -> Iterator[Found]:
    """Measure every artifact of a bundle."""
    bundle = open_bundle(path)
    for artifact in bundle.manifest.artifacts:
        yield measure(artifact.name, bundle, artifact, threads)


def measure(title: str, bundle: Bundle, artifact: Artifact, threads: int) -> Found:
    """Measure one artifact, through `runner.load` and by itself."""
    why = bare.missing(artifact)
    if why:
        return Found(title=title, unmeasured=why)
    prepare = bundle.manifest.preprocess
    shape = (1, prepare.channels, prepare.height, prepare.width)
    with bare.extracted(bundle, artifact) as file:
        try:
            return Found(
                title=title,
                ours_mb=peak_mb(OURS, json.dumps([str(bundle.path.absolute()), artifact.name, threads, shape])),
                bare_mb=peak_mb(
                    bare.PROGRAMS[artifact.format], json.dumps([str(file), threads, shape, artifact.engine])
                ),
            )
        except subprocess.CalledProcessError as error:
            last = (error.stderr.strip().splitlines() or ["it left no word"])[-1]
            return Found(title=title, unmeasured=f"a program ended with {error.returncode}: {last}")


@functools.cache
def peak_mb(program: str, argument: str) -> float:
    """Return the least of the peaks of some processes: what disturbs one only adds to it. Raises CalledProcessError."""
    peaks = []
    command = (sys.executable, "-c", program, argument)
    for _ in range(PROCESSES):
        done = subprocess.run(command, check=True, cwd=ROOT, capture_output=True, text=True)
        peaks.append(int(done.stdout.split()[-1]))
    return min(peaks) / 1e6


def verdict(found: Sequence[Found]) -> str:
    """Say whether the goal is reached, which it is only where everything was measured."""
    measured = [each.more_mb for each in found if not each.unmeasured]
    if not measured:
        return f"at most {MOST_MB:.0f} MB: not shown, for nothing was measured"
    within = sum(each <= MOST_MB for each in measured)
    told = f"largest difference {max(measured):+.1f} MB; at most {MOST_MB:.0f} MB: "
    if within < len(measured):
        return f"{told}missed by {len(measured) - within} of {len(found)}"
    if len(measured) < len(found):
        return f"{told}not shown, for {len(found) - len(measured)} of {len(found)} were not measured"
    return f"{told}reached by all {len(found)}"


if __name__ == "__main__":
    main()
