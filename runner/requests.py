"""What is asked of the commands of the device side. None stands for a default."""

import itertools
from dataclasses import dataclass
from pathlib import Path

from runner.compare.comparison import Limits, Margins
from runner.device import topology
from runner.errors import UsageError
from runner.report import Effort, Objective, Scenario, Settings


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What is to be measured, how, and where the report goes. None is the default."""

    bundle: Path
    output: Path | None
    artifacts: tuple[str, ...]
    threads: tuple[int, ...]
    batches: tuple[int, ...]
    streams: tuple[int, ...]
    """Of more than one of a kind every combination is timed; the answers are taken with the first of each."""
    effort: Effort
    seed: int
    profile_ops: bool = False
    minimise: Objective = "latency"

    @property
    def settings(self) -> Settings:
        """How it is to be measured: the first scenario, and the others in the order in which they were asked for."""
        kinds = (self.threads or (topology.default_threads(),), self.batches, self.streams)
        first, *more = (Scenario(threads=each[0], batch=each[1], streams=each[2]) for each in itertools.product(*kinds))
        return Settings(
            effort=self.effort,
            threads=first.threads,
            batch=first.batch,
            streams=first.streams,
            more=tuple(more),
            seed=self.seed,
            profile_ops=self.profile_ops,
            minimise=self.minimise,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Stated:
    """By what two sides are judged: fractions, and nanoseconds."""

    max_slowdown: float | None
    max_latency: float | None
    max_accuracy_drop: float | None
    margin: float
    accuracy_margin: float
    strict: bool
    as_json: bool
    as_markdown: bool

    def __post_init__(self) -> None:
        """Raise UsageError for two styles at once."""
        if self.as_json and self.as_markdown:
            raise UsageError("--json and --markdown exclude each other")

    @property
    def limits(self) -> Limits:
        """What the user does not put up with."""
        return Limits(
            max_slowdown=self.max_slowdown,
            max_accuracy_drop=self.max_accuracy_drop,
            max_latency_ns=self.max_latency,
            strict=self.strict,
        )

    @property
    def margins(self) -> Margins:
        """What is of no interest to the user."""
        return Margins(latency=self.margin, accuracy=self.accuracy_margin)


@dataclass(frozen=True, kw_only=True, slots=True)
class TurnsRequest:
    """Which two bundles are to be measured in turn, how, and what the second is held to."""

    bundles: tuple[Path, Path]
    output: Path | None
    """A folder for the two reports."""
    artifacts: tuple[str, ...]
    threads: int | None
    batch: int
    streams: int
    effort: Effort
    seed: int
    stated: Stated

    @property
    def settings(self) -> Settings:
        """How it is to be measured."""
        return Settings(
            effort=self.effort,
            threads=self.threads or topology.default_threads(),
            batch=self.batch,
            streams=self.streams,
            seed=self.seed,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class SelfTestRequest:
    """With which artifact the machine is tested, and how long."""

    bundle: Path
    artifact: str | None
    threads: int | None
    pairs: tuple[int, int, int]
    """Of sessions: unchanged, made longer by 3 % and by 5 %; each as often again in turn."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TensorsRequest:
    """Of which artifact and sample the tensors between the layers are wanted."""

    bundle: Path
    artifact: str
    probe: Path
    """A file that was made from the artifact, and returns them."""
    sample: int
    output: Path
    """An .npz."""
    threads: int


@dataclass(frozen=True, kw_only=True, slots=True)
class PredictRequest:
    """Of which images the classes are wanted, by what."""

    bundle: Path
    images: tuple[Path, ...]
    prefer: str | None
    """An artifact's name, or the path of a report."""
    threads: int | None
    top: int
    """How many classes of each."""
