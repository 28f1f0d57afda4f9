"""What a worker is told, and how that travels: as JSON, through stdin."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from runner.arrays import ArrayLocation
from runner.manifest import Format, Preprocess
from runner.runtimes import Options


@dataclass(frozen=True, kw_only=True, slots=True)
class Timing:
    """For how long to time, after how long a warm-up, and how."""

    warmup_s: float
    timed_s: float
    seed: int
    """Of the choice of samples."""
    streams: int = 1
    """How many threads of the worker call at once, each in a session of its own."""
    slowdown: float = 0.0
    """By what share every call is made longer: what `selftest` injects, to see whether it is found."""
    least_samples: int | None = None
    """However long they take; None: as many as a summary needs, and each input at least once."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """An artifact, how it is run, and on what."""

    file: Path
    format: Format
    options: Options
    inputs: ArrayLocation
    preprocess: Preprocess
    batch: int = 1
    cpus: tuple[int, ...] = ()
    """What the worker is pinned to; none leaves it where it may be."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Probing:
    """A file made from the job's artifact that returns what lies between its layers too, and what it is run on."""

    file: Path
    sample: int
    """Of the evaluation set."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """What a worker is told: to answer every sample, with a `timing` to time some, to profile it or to probe it."""

    job: Job
    timing: Timing | None
    profiling_seed: int | None = None
    """Of the choice of samples to profile the operators with, instead of either."""
    probing: Probing | None = None
    """What is run beside the artifact, instead of any of these."""
    output: Path
    """Where the logits are written as .npy: all of them in order, or those of the batches that each stream timed.
    Of a probe it is an .npz: the artifact's own logits, then what the probe returns."""
    parent: int
    """The process to die with."""


def encode(order: Order) -> str:
    """Return an order as JSON."""
    return json.dumps(dataclasses.asdict(order), default=str)


def decode(text: str) -> Order:
    """Build an order from its JSON."""
    data = json.loads(text)
    job, timing, probing = data["job"], data["timing"], data["probing"]
    inputs, prepare = job["inputs"], job["preprocess"]
    return Order(
        job=Job(
            file=Path(job["file"]),
            format=job["format"],
            options=Options(**{**job["options"], "affinity": tuple(job["options"]["affinity"])}),
            inputs=ArrayLocation(**{**inputs, "path": Path(inputs["path"]), "shape": tuple(inputs["shape"])}),
            preprocess=Preprocess(**{**prepare, "mean": tuple(prepare["mean"]), "std": tuple(prepare["std"])}),
            batch=job["batch"],
            cpus=tuple(job["cpus"]),
        ),
        timing=Timing(**timing) if timing else None,
        profiling_seed=data["profiling_seed"],
        probing=Probing(file=Path(probing["file"]), sample=probing["sample"]) if probing else None,
        output=Path(data["output"]),
        parent=data["parent"],
    )
