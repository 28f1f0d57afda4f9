"""What two reports say of each other: the types that `compare` fills, and nothing else."""

from dataclasses import dataclass
from typing import Literal

from runner.interval import Interval
from runner.reason import Reason, Status
from runner.report import Effort

SCHEMA = "1.2"

Unit = Literal["bytes", "fraction", "nats", "ns"]
Pair = Literal["same-device", "cross-device"]
PairClass = Literal["same-device", "same-artifact", "cross"]
Place = Literal["host", "device"]
Word = Literal["faster", "slower", "equivalent", "inconclusive"]
AccuracyWord = Literal["non-inferior", "inferior", "undecided"]
Limit = Literal["max_slowdown", "max_latency", "max_accuracy_drop"]
Judgement = Literal["held", "violated", "undecided"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What the user does not put up with. None is not asked for."""

    max_slowdown: float | None = None
    """0.05: the latency may be up to 1.05 times the host's."""
    max_accuracy_drop: float | None = None
    """0.005: top-1 may be up to half a point below the host's."""
    strict: bool = False
    """Whether a limit that cannot be decided counts as missed."""
    max_latency_ns: float | None = None
    """How long one call may take on the device, whatever the host needs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Margins:
    """What is of no interest to the user, as fractions."""

    latency: float = 0.02
    """0.02: latencies that differ by less are equivalent."""
    accuracy: float = 0.01
    """0.01: an artifact whose top-1 is lower by less than a point is not inferior."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Side:
    """Where and how one of the two reports was measured."""

    machine: str
    name: str
    """The board's name, or the CPU's."""
    cpus: int
    threads: int
    batch: int
    streams: int
    effort: Effort
    created: str
    status: Status
    reasons: tuple[Reason, ...]
    bundle_id: str
    noise_floor: float
    """By how much latencies of two sessions there may differ with nothing changed, as a fraction."""
    floor_measured: bool
    """Whether `selftest` measured that there, or it is what machines of its kind are taken to have."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Delta:
    """One figure on both sides. None is: not measured, or withheld."""

    metric: str
    unit: Unit
    host: float | None
    device: float | None
    difference: float | None
    """Device less host."""
    ratio: float | None
    """Device / host; of latencies the Hodges-Lehmann estimate."""
    interval: Interval | None = None
    """Of the ratio."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LatencyVerdict:
    """What two sets of latencies on one device say of each other."""

    ratio: float
    """By what factor the second is longer: the Hodges-Lehmann estimate."""
    interval: Interval | None
    """Of the ratio. None where there are too few processes for one."""
    word: Word
    """Of the second: `slower` and `faster` where the whole interval is beyond the margin, `equivalent` where within."""
    margin: float
    """What a difference must exceed, as a fraction: the larger of the user's margin and the noise floor."""
    hidden: bool
    """Whether the estimate lies within a noise floor above the user's margin: more processes would not settle it."""
    smallest_effect: float | None
    """The change, as a fraction, that such a measurement would call slower in about 80 % of cases."""
    more_processes: int | None
    """About how many more on each side would settle it. None where it is settled, or no number is known to do so."""
    processes_needed: int | None
    """About how many on each side would, where both have as many. None as above."""
    effort: Effort | None = None
    """The least at which runs have so many processes. None as above, and where even the most rigorous have fewer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerFlip:
    """A sample that one artifact answers differently on the two machines."""

    sample: int
    label: int
    host: int
    device: int
    host_margin: float | None
    """How far the answer led its runner-up, in logits. None where the device's report does not list this flip."""
    device_margin: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Distance:
    """How far apart the logits are that two sides gave to the same samples. None was not measured."""

    max_abs: float
    """The largest difference of a logit."""
    least_cosine: float | None
    """Over the samples, each a vector of logits."""
    kl_nats: float | None
    """Mean Kullback-Leibler divergence of the class probabilities."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answers:
    """One artifact's answers to the same samples on the two machines, one by one."""

    samples: int
    agreement: float
    """Share of samples with the same answer on both."""
    right_to_wrong: int
    """Right on the host, wrong on the device."""
    wrong_to_right: int
    flips: tuple[AnswerFlip, ...]
    interval: Interval
    """Of the device's top-1 less the host's, two-sided: its lower end is a one-sided bound of 95 %."""
    p_value: float
    """Of McNemar's exact test."""
    differs: bool
    """Whether that is below 0.01."""
    word: AccuracyWord
    """Of the device's top-1: where the interval lies, to the host's less the margin."""
    samples_needed: int | None
    """About how many samples could show that no more than the margin is lost. None where there are as many."""
    distance: Distance | None
    """How far the logits of the two are apart. None where the records do not hold it."""

    @property
    def accuracy_drop(self) -> float:
        """By how much top-1 is lower on the device."""
        return (self.right_to_wrong - self.wrong_to_right) / self.samples


@dataclass(frozen=True, kw_only=True, slots=True)
class ArtifactComparison:
    """One artifact that both machines ran."""

    name: str
    deltas: tuple[Delta, ...]
    """One of each metric."""
    answers: Answers | None
    word: Word | None
    """That of `latency`."""
    withheld: tuple[Reason, ...]
    """Why a claim is not made here."""
    unsettled: tuple[Reason, ...]
    """Why no word is said of figures that there are."""
    pair: PairClass
    """What the two sides share, and so what can be claimed: words on latency need one device."""
    same_file: bool
    """Whether both ran the very same bytes: then no flips are expected."""
    latency: LatencyVerdict | None
    """What the latencies say on one device; across devices nothing is better or worse."""

    def delta(self, metric: str) -> Delta:
        """Return the delta of the metric of that name."""
        return next(delta for delta in self.deltas if delta.metric == metric)


@dataclass(frozen=True, kw_only=True, slots=True)
class Missing:
    """An artifact that one side did not run."""

    name: str
    side: Place
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """One stated limit, judged for one artifact."""

    artifact: str
    limit: Limit
    allowed: float
    """A fraction; of `max_latency` nanoseconds."""
    observed: float | None
    """The slowdown, or the drop of top-1, as a fraction; or the median latency in nanoseconds."""
    interval: Interval | None
    """Of what was observed. That of a slowdown is widened by the noise floor, for it spans two sessions."""
    judgement: Judgement
    detail: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """What follows from two reports."""

    schema: str = SCHEMA
    bundle_id: str
    bundle_name: str
    target: str
    pair: Pair
    host: Side
    device: Side
    limits: Limits
    margin: float | None
    """On one device: how large a change of latency must be to stand out from the noise between sessions."""
    margins: Margins
    artifacts: tuple[ArtifactComparison, ...]
    missing: tuple[Missing, ...]
    verdicts: tuple[Verdict, ...]
    notes: tuple[Reason, ...]
    """What was not alike in the two measurements."""
    violated: bool
    """Whether a stated limit is missed; with `strict`, also whether one could not be decided."""
    interleaved: bool = False
    """Whether processes of both took turns in one session: no noise between sessions is in what they say."""
