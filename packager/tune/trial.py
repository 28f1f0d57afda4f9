"""One trial: prune and fine-tune, quantize, run, measure; and stop where nothing good can come of it any more."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from packager import artifacts, counting, network, timing
from packager.artifacts import Built
from packager.asking import ask, subject
from packager.budget import POINTS, Baseline
from packager.builders import BuildContext
from packager.candidates import candidate
from packager.check import Logits, check
from packager.evaluation import Questions, logits
from packager.journal import Journal
from packager.network import Network
from packager.onnx_model import OnnxModel
from packager.origin import Origin
from packager.tune import Wish
from packager.tune.front import Finding
from packager.tune.plan import Plan
from runner import measure
from runner.errors import StepError, innermost
from runner.manifest import Target
from runner.packing import Drop
from runner.progress import Silent
from runner.report import Latency, Settings

WON_BACK = 0.01
"""By how much of top-1 an artifact may come out better than the network in fp32 that it is made from."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TrialContext:
    """What all trials are judged by."""

    target: Target
    wish: Wish
    origin: Origin
    questions: Questions
    """The validation split."""
    baseline: Baseline
    settings: Settings


class HopelessError(Exception):
    """A trial that would not be chosen however it went on."""


def judged(plan: Plan, context: TrialContext, others: Sequence[Finding]) -> Finding:
    """Do what a plan says, and return what came of it. Raises StepError, and HopelessError with the reason.

    `others` are the findings so far.
    """
    # Its own journal: what ran before a step that fails is of this trial.
    bench = replace(context.origin.bench, journal=Journal(Silent()))
    trained = context.origin.trained
    with bench.journal.step(plan.artifact):
        left = network.pruned(trained, plan.prune, bench) if plan.prune else trained
        reference = logits(left, bench.splits.validation, bench.splits.preprocess)
        macs = _macs(left, context)
    if plan.prune is not None and (reason := _hopeless(context.baseline.drop(reference), macs, context.wish, others)):
        raise HopelessError(reason)
    with bench.journal.step(plan.artifact):
        compressed = BuildContext(network=left, teacher=trained, quantize=plan.quantize, bench=bench)
        built = artifacts.build(candidate(plan.artifact), compressed, context.target)
        given = _answers(built, context)
        check(
            built.artifact.name,
            built.artifact.precision,
            given,
            reference,
            context.questions.labels,
            trained=bool(built.epochs),
        )
        time = _latency(built, given, context) if context.wish.objective == "latency" else None
    return Finding(
        plan=plan,
        drop=context.baseline.drop(given),
        macs=macs,
        size_bytes=built.file.stat().st_size,
        latency_ns=time.median_ns if time else None,
        latency_interval=time.interval if time else None,
    )


def cause(error: StepError) -> str:
    """Return what went wrong in a trial, without the steps that the journal has put around it, in one line."""
    return next(iter(innermost(error, StepError).what.splitlines()), "")


def _macs(left: Network, context: TrialContext) -> int | None:
    return None if isinstance(left.model, OnnxModel) else counting.count(left.module, context.origin.bench.example).macs


def _hopeless(fp32: Drop, macs: int | None, wish: Wish, others: Sequence[Finding]) -> str:
    """Return why a pruned and fine-tuned network is not worth quantizing; nothing where it may be."""
    lost, hoped = fp32.drop * POINTS, fp32.drop - WON_BACK
    if hoped > wish.max_drop / POINTS:
        return f"{lost:.2f} points were lost before it was quantized, and {wish.max_drop:g} may be lost in all"
    if wish.objective == "macs" and macs is not None:
        for other in others:
            if other.macs is not None and other.macs <= macs and other.drop.drop < hoped:
                return f"{lost:.2f} points were lost before it was quantized, and another does better with fewer MACs"
    return ""


def _answers(built: Built, context: TrialContext) -> Logits:
    asked = subject(built, context.target)
    return ask(asked, context.questions, context.settings, context.origin.bench.progress).logits


def _latency(built: Built, given: Logits, context: TrialContext) -> Latency:
    """Take the time of an artifact as `pack` does, with its own plan of worker processes."""
    settings = context.settings
    course = timing.course(subject(built, context.target), given, context.questions, settings)
    plan = measure.Bench().plans[settings.effort]
    timing.time([course], plan, settings.seed, context.origin.bench.progress)
    return timing.summary(course)
