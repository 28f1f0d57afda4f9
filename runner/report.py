"""What was measured, where, under which conditions. The raw samples are the record; every summary follows from them."""

import dataclasses
from dataclasses import dataclass
from typing import Literal

from runner import codec
from runner.facts import DeviceFacts, DeviceState
from runner.interval import Interval
from runner.manifest import Device, Engine, Format, Precision
from runner.operators import OperatorTime
from runner.packing import Packing
from runner.process import Process
from runner.reason import Reason, Status, worst

SCHEMA = "1.3"

Effort = Literal["quick", "standard", "rigorous"]
Objective = Literal["latency", "cold-start"]
"""What the fastest is fastest in: one call, or all from the start of a process to its first answer."""
Stopped = Literal["precision", "budget", "failures", "interrupted"]
"""The interval is narrow enough; as many processes ran as the effort allows; too many died; Ctrl-C."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RuntimeFacts:
    """What executed an artifact."""

    name: Format
    version: str
    provider: str
    """What did the arithmetic: `CPUExecutionProvider`, `torch qnnpack` …"""
    device: Device
    engine: Engine | None
    threads: int
    nodes: int | None = None
    """Of an artifact on a GPU, where the runtime tells how it has placed them."""
    cpu_nodes: tuple[str, ...] = ()
    """The operators of those that it has placed on the CPU all the same, one for each node."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Flip:
    """A sample that the host and this machine answer differently with the same artifact."""

    sample: int
    label: int
    host: int
    device: int
    host_margin: float
    """How far the host's answer led its own runner-up, in logits."""
    device_margin: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Accuracy:
    """The answers of one artifact to the evaluation set, and what follows from them."""

    samples: int
    top1: float
    top5: float | None
    """None with 10 classes or fewer, where it says little."""
    loss: float
    """Mean cross-entropy, in nats."""
    agreement: float
    """Share of samples with the same answer as the fp32 model on the host."""
    snr_db: float | None
    """Signal to noise of the logits against those of the host's fp32 model; None where they are equal bit for bit."""
    identical_to_host: bool
    """Whether every logit is the host's own for this artifact, bit for bit."""
    max_abs_difference: float
    """The largest difference of a logit from the host's own for this artifact."""
    flips: tuple[Flip, ...]
    predictions: tuple[int, ...]
    """The answer to each sample. The record."""
    label_ranks: tuple[int, ...]
    """How many classes scored above the label, for each sample. The record."""
    losses: tuple[float, ...]
    """Cross-entropy of each sample. The record."""
    least_cosine: float | None = None
    """The least cosine, over the samples, of the logits and the host's own for this artifact. None: never measured."""
    furthest_sample: int | None = None
    """The first sample with a logit that is `max_abs_difference` from the host's own. None: never looked for."""
    kl_nats: float | None = None
    """Mean Kullback-Leibler divergence of the class probabilities from the host's own. None: never measured."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scenario:
    """How calls are made: of so many samples, by so many threads of the runtime, from so many streams at once."""

    threads: int
    batch: int = 1
    streams: int = 1
    """Threads of one process that call at the same time, each in a session of its own."""

    @property
    def words(self) -> str:
        """What a person calls it."""
        counts = (("thread", self.threads), ("stream", self.streams))
        threads, streams = (f"{count} {noun}{'s' if count > 1 else ''}" for noun, count in counts)
        return f"{threads}, batch {self.batch}" + (f", {streams}" if self.streams > 1 else "")


@dataclass(frozen=True, kw_only=True, slots=True)
class Steadiness:
    """How far the samples within a process are from independent draws of one distribution."""

    not_steady: int
    """Processes whose latency drifted through the timed window."""
    lag1: float
    """Median of the processes' autocorrelations at lag 1."""
    effective_n: float
    """Median of the processes' effective numbers of samples."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Latency:
    """How long one call takes, over fresh processes: the process is the unit, not the call."""

    batch: int
    threads: int | None = None
    """None in reports of schema 1.1: the run's own."""
    streams: int = 1
    processes: tuple[Process, ...]
    failures: tuple[str, ...]
    """What became of the processes that did not finish."""
    stopped: Stopped | None = None
    """Why no more processes were started. None in reports of schema 1.1."""
    median_ns: float
    """Median of the processes' medians."""
    interval: Interval
    p95_ns: float | None
    """Median of the processes' 95th percentiles; None with fewer than 59 samples in each, or several calls
    to a sample."""
    p99_ns: float | None = None
    """The same of the 99th, which needs 299 samples."""
    throughput_per_s: float
    """Samples a second in a closed loop: the median of what each process did in its timed window, all streams and what
    they waited included, by the length of that; streams x batch / median in reports of schema 1.1."""
    load_ns: float
    """Median over the processes, the runtime's import left out."""
    first_ns: float
    device_ns: float | None = None
    """Median of the processes' medians of the accelerator's own time; None where it has no events."""
    steadiness: Steadiness | None = None
    reasons: tuple[Reason, ...] = ()
    """Of scenarios beside the first, which void no figure but their own; those of the first are the artifact's."""

    @property
    def scenario(self) -> Scenario:
        """How the calls were made."""
        return Scenario(threads=self.threads or 1, batch=self.batch, streams=self.streams)


@dataclass(frozen=True, kw_only=True, slots=True)
class EnergyUse:
    """What one meter measured while an artifact was called without a break, in a pass of its own."""

    meter: str
    scope: str
    """What was measured: a rail, a package, a board; what idles is in it."""
    duration_ns: int
    inferences: int
    joules: float | None
    reason: str = ""
    """Why there are no joules."""

    @property
    def joules_per_inference(self) -> float | None:
        """The mean over the window."""
        return self.joules / self.inferences if self.joules is not None and self.inferences else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Expectation:
    """What was to be expected of an artifact's integer arithmetic on this machine, said before it was measured."""

    kernel: str | None
    """What it uses; None where an artifact has none, or a GPU does it."""
    least_speedup: float | None
    """How many times as fast as fp32 in the same runtime, at least and at most; None where nobody has measured it."""
    most_speedup: float | None
    evidence: str
    """What was measured."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ArtifactReport:
    """What was measured of one artifact. A part that is None has its reason in `reasons`."""

    name: str
    title: str = ""
    """What tables call it, where that is not its name."""
    precision: Precision
    format: Format
    sha256: str
    size_bytes: int
    runtime: RuntimeFacts | None
    expected: Expectation | None = None
    """None in reports of schema 1.1, and where nothing here can run it."""
    accuracy: Accuracy | None
    latency: Latency | None
    """In the first scenario."""
    scenarios: tuple[Latency, ...] = ()
    """In the others that were asked for."""
    peak_bytes: int | None
    """Median over the processes of their largest resident memory."""
    energy: tuple[EnergyUse, ...] = ()
    """Of each meter that the machine has."""
    operators: tuple[OperatorTime, ...] = ()
    """The dearest first; empty where they were not profiled."""
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """How it was measured."""

    effort: Effort = "quick"
    threads: int
    batch: int = 1
    streams: int = 1
    more: tuple[Scenario, ...] = ()
    """Scenarios beside the first, which the three above are."""
    seed: int = 0
    profile_ops: bool = False
    """Whether the time of each operator was taken, after all the others."""
    minimise: Objective = "latency"
    """What the fastest artifact is chosen by."""

    @property
    def scenario(self) -> Scenario:
        """The first, in which the answers are taken too."""
        return Scenario(threads=self.threads, batch=self.batch, streams=self.streams)


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """One run of the runner over one bundle."""

    schema: str = SCHEMA
    bundle_id: str
    """SHA-256 of the bundle's manifest."""
    bundle_name: str
    bundle_size_bytes: int | None
    """None in a host report: it is part of the file that it would measure."""
    target: str
    created: str
    """Start of the run, UTC, ISO 8601."""
    edgepack: str
    settings: Settings
    device: DeviceFacts
    before: DeviceState
    after: DeviceState
    labels: tuple[int, ...]
    """Of the evaluation set, in its order."""
    reference_predictions: tuple[int, ...]
    """The answers of the fp32 model on the host."""
    artifacts: tuple[ArtifactReport, ...]
    fastest: str | None
    """The artifact with the lowest median latency among those whose answers hold."""
    reasons: tuple[Reason, ...]
    """What concerns the whole run."""
    complete: bool = True
    """False where the run was interrupted: what was finished by then is in it."""
    packing: Packing | None = None
    interleaved: str | None = None
    """What two reports have in common whose processes took turns; None: measured alone."""
    noise_floor: float | None = None
    """By how much the latency of one artifact differs between two sessions on this device, as a fraction, as `selftest`
    measured it; None: never measured."""
    inputs_sha256: str | None = None
    """SHA-256 of the file of evaluation samples, by which reports of two bundles know that they are the same."""
    digest: str = ""
    """SHA-256 of the rest of this document, as canonical JSON."""

    @property
    def status(self) -> Status:
        """The worst that any reason says of the figures; that of a scenario beside the first is a caveat at most."""
        whole = worst([*self.reasons, *(reason for artifact in self.artifacts for reason in artifact.reasons)])
        others = worst(reason for artifact in self.artifacts for each in artifact.scenarios for reason in each.reasons)
        return whole if others == "valid" or whole == "invalid" else "caveats"

    def artifact(self, name: str) -> ArtifactReport | None:
        """Return the report of the artifact of that name, if there is one."""
        return next((artifact for artifact in self.artifacts if artifact.name == name), None)


def seal(report: Report) -> Report:
    """Return the report with its digest filled in."""
    bare = dataclasses.replace(report, digest="")
    return dataclasses.replace(bare, digest=codec.digest(bare))
