"""What only the host knows of a bundle: how its artifacts came to be, and what was tried on the way."""

from dataclasses import dataclass
from typing import Literal

from runner.interval import Interval
from runner.manifest import LeftOut

ROUNDING = 1e-9

Stage = Literal["train", "prune", "qat"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Epoch:
    """One epoch of training or fine-tuning. Losses are means, accuracies fractions."""

    stage: Stage
    epoch: int
    learning_rate: float
    train_loss: float
    train_accuracy: float
    validation_loss: float
    validation_accuracy: float
    duration_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class StepRecord:
    """One step of `pack`: how long it took, and whether it was run or found in the cache."""

    step: str
    duration_s: float
    cached: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkFacts:
    """A network that artifacts were made from."""

    name: str
    """Of its fp32 ONNX artifact, such as `unpruned-fp32.onnx`."""
    parameters: int
    nonzero: int
    """Parameters that are not zero."""
    macs: int
    """Multiply-accumulates for one sample."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerDamage:
    """What it does to the answers that one layer alone is quantized."""

    layer: str
    snr_db: float | None
    """Signal to noise of the logits against those in fp32; None where they are equal."""
    changed: float
    """Share of samples that are answered otherwise."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Drop:
    """By how much top-1 is lower than that of the trained network in fp32, on the same samples."""

    samples: int
    top1: float
    drop: float
    """A fraction; negative where it is higher."""
    interval: Interval

    def within(self, limit: float) -> bool:
        """Say whether the drop, as measured, is at most so much; shares of samples are no exact binary fractions."""
        return self.drop <= limit + ROUNDING


@dataclass(frozen=True, kw_only=True, slots=True)
class Try:
    """One way of making an artifact, held against the budget on the validation split."""

    what: str
    validation: Drop | None
    """None where it could not be made or run."""
    failure: str = ""
    holds: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class BudgetRecord:
    """How an artifact came to hold the accuracy budget, or did not."""

    artifact: str
    max_drop: float
    """A fraction."""
    tries: tuple[Try, ...]
    chosen: str
    evaluation: Drop
    """Looked at once, for the try that was chosen."""
    holds: bool
    """On both splits."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Speed:
    """The time of one file, among others that were timed in turns with it."""

    what: str
    median_ns: float
    interval: Interval
    ratio: float | None = None
    """By what factor it takes longer than the network in fp32; None for that itself."""
    interval_of_ratio: Interval | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Division:
    """A way to divide a network between int8 and fp32 that was tried."""

    what: str
    ratio: float | None
    """By what factor it takes longer than what was best before it; None where it could not be run."""
    interval: Interval | None
    validation: Drop | None
    """None where it was not faster."""
    accepted: bool
    reason: str
    """Why it was not."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Optimised:
    """What a search by measured latency has left in fp32 of an int8 artifact."""

    artifact: str
    max_drop: float
    """A fraction."""
    duration_s: float
    """Over all runs of the search."""
    tried: tuple[Division, ...]
    speeds: tuple[Speed, ...]
    """At the end: of fp32, of all in int8, and of what was found; empty where nothing was faster than fp32."""
    fp32: dict[str, int]
    """Operators that stay in fp32, by their type."""
    int8: dict[str, int]
    """Operators that are integers."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Contender:
    """An artifact that was made to be chosen from, with the figures that it was chosen by."""

    name: str
    size_bytes: int | None
    """None where it could not be made."""
    top1: float | None
    """On the evaluation set; None where it could not be run."""
    cost_ns: float | None
    """What was to be small, as the host has measured it for the choice; None where it has not."""
    interval: Interval | None = None
    """Of `cost_ns`, over processes."""
    kept: bool
    why: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Packing:
    """How the artifacts of a bundle came to be."""

    epochs: tuple[Epoch, ...]
    steps: tuple[StepRecord, ...]
    networks: tuple[NetworkFacts, ...] = ()
    """Where there is more than one: what was pruned beside what was not."""
    sensitivity: tuple[LayerDamage, ...] = ()
    """Worst first; empty where it was not asked for."""
    budgets: tuple[BudgetRecord, ...] = ()
    optimised: tuple[Optimised, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    contenders: tuple[Contender, ...] = ()
    """The dearest last; empty where all that was made is in the bundle."""
