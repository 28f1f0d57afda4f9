"""edgepack: the artifact that `bench-runner` names as the fastest whose answers hold, in this batch and threads."""

import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.peers.case import BUNDLE, PACK_LOG, Case
from benchmarks.peers.runtimes import Loaded
from runner import bundle, report_reader
from runner.manifest import Artifact
from runner.options import make_options
from runner.runtimes import load_runtime

REPORT = "report.json"
BENCH = "import edgepack; edgepack.bench_runner()"
VOID = 5
"""The exit code with which a run ends that measured all and holds its own figures for doubtful."""


def build(case: Case) -> None:
    """Let the runner choose, as on a device. Raises RuntimeError."""
    if not (case.subject / BUNDLE).exists():
        log = (case.subject / PACK_LOG).read_text(encoding="utf-8", errors="replace")
        raise RuntimeError(f"there is no bundle: {next((e for e in log.splitlines() if e.startswith('error: ')), log)}")
    written = case.folder / REPORT
    scenario = ("--batch", str(case.batch), "--threads", str(case.threads))
    command = (sys.executable, "-c", BENCH, str(case.subject / BUNDLE), *scenario, "-o", str(written))
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode not in (0, VOID) or not written.exists():
        raise RuntimeError(f"bench-runner ended with {done.returncode}: {done.stderr.strip()[-500:]}")
    choice(case)


def load(case: Case) -> Loaded:
    """Return the chosen artifact in its runtime, with the options that the runner measures it with."""
    chosen = choice(case)
    with tempfile.TemporaryDirectory() as folder:
        opened = bundle.open_bundle(case.subject / BUNDLE)
        options = make_options(chosen, opened.manifest.target, case.threads)
        session = load_runtime(chosen.format).load(opened.extract(chosen.path, Path(folder)), options)
    return Loaded(version=f"{chosen.name}, {session.provider} {session.version}", run=session.run)


def choice(case: Case) -> Artifact:
    """Return the artifact that the runner has chosen. Raises RuntimeError where it named none."""
    name = report_reader.load(case.folder / REPORT).fastest
    found = None if name is None else bundle.open_bundle(case.subject / BUNDLE).manifest.artifact(name)
    if found is None:
        raise RuntimeError("the runner names no artifact whose answers hold")
    return found
