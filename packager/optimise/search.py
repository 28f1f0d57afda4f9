"""The searches of one pack, from end to end: what they find goes into the recipe, which then makes the artifacts."""

import tempfile
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from packager.branches import Branch
from packager.budget import POINTS, Baseline
from packager.builders import BuildContext, onnx
from packager.cache import tool_digest
from packager.candidates import OPTIMISED
from packager.evaluation import logits, questions
from packager.optimise import MAX_DROP, is_asked, unmeasurable
from packager.optimise.evidence import Evidence, by_unit
from packager.optimise.greedy import Search, Terms
from packager.optimise.material import NOTHING_GAINED, Material, material
from packager.optimise.proposals import Space
from packager.optimise.study import Confirmed, Outcome, Profiled, Study
from packager.optimise.trial import Plans, RunnerJudge
from packager.optimise.units import ALL
from packager.prepared import Prepared
from packager.recipe import Assignment, Optimise
from runner import codec, device
from runner.errors import MeasurementError, RuntimeUnavailable, StepError, innermost
from runner.manifest import LeftOut, Target
from runner.measure.answers import make_job
from runner.packing import Division, Drop, Optimised
from runner.render import units as shown
from runner.workers import WORKERS

TIMED = 32
"""Images that are timed, at most."""
PLANS = Plans()
"""How long each file is timed."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Searched:
    """What the targets of an order share, with what has been found in the recipe, and how it was."""

    shared: Prepared
    records: tuple[Optimised, ...] = ()
    left_out: tuple[LeftOut, ...] = ()


def search(target: Target, shared: Prepared) -> Searched:
    """Search for each artifact that is asked for and that the recipe does not know yet how to make."""
    plan = shared.bench.recipe.optimise
    records, left_out, found = list[Optimised](), list[LeftOut](), dict[str, Assignment]()
    for branch in shared.branches:
        name = branch.context.artifact(OPTIMISED)
        if plan is None or name in plan.found or not _is_asked(branch, target, plan):
            continue
        if reason := unmeasurable(target, device.facts()):
            left_out.append(LeftOut(name=name, what=reason, advice="pack on such a machine"))
            shared.journal.say(f"{target.name}: {name}", "left out", reason)
            continue
        try:
            with shared.journal.step(f"{target.name}: optimise {name}") as step:
                found[name], record = _searched(branch, target, shared)
                step.note = _noted(record)
                records.append(record)
        except StepError as error:
            cause = innermost(error, StepError)
            left_out.append(LeftOut(name=name, what=cause.what, advice=cause.advice))
            shared.journal.say(f"{target.name}: {name}", "left out", cause.what)
    return Searched(shared=_with(found, shared), records=tuple(records), left_out=tuple(left_out))


def _is_asked(branch: Branch, target: Target, plan: Optimise) -> bool:
    context = branch.context
    return is_asked(context.name, branch.asked, target, plan) and context.quantize is not None


def _with(found: dict[str, Assignment], shared: Prepared) -> Prepared:
    """Return what the targets share with another recipe, wherever it is read."""
    plan = shared.bench.recipe
    if plan.optimise is None or not found:
        return shared
    optimise = replace(plan.optimise, found={**plan.optimise.found, **found})
    bench = replace(shared.bench, recipe=replace(plan, optimise=optimise))
    branches = tuple(replace(each, context=replace(each.context, bench=bench)) for each in shared.branches)
    return replace(shared, bench=bench, branches=branches)


def _searched(branch: Branch, target: Target, shared: Prepared) -> tuple[Assignment, Optimised]:
    """Go on with the search for one network, and return what it has come to. Raises StepError."""
    context, journal = branch.context, shared.journal
    plan, name = shared.bench.recipe, branch.context.artifact(OPTIMISED)
    limit = (plan.budget.max_drop if plan.budget else MAX_DROP) / POINTS
    made = material(onnx.divisible(context, target))
    study = Study(context.bench.cache.folder / "optimise" / f"{_key(context, target, shared, limit)}.jsonl")
    with tempfile.TemporaryDirectory(prefix="edgepack-") as folder:
        judge = _judge(context, target, shared, made, Path(folder))
        space = Space(units=made.units, forms=made.forms, evidence=_evidence(judge, study))
        if before := study.outcomes:
            journal.say(f"{target.name}: {name}", "as before", shown.counted(len(before), "trial"))
        confirmed = Search(
            space=space,
            judge=judge,
            study=study,
            terms=Terms(max_drop=limit, for_s=plan.optimise.for_s if plan.optimise else 0, clock=time.monotonic),
            say=lambda outcome: journal.say(f"{target.name}: {name}", *_line(outcome)),
        ).run()
    return _assignment(confirmed), _record(name, limit, space, study, confirmed)


def _key(context: BuildContext, target: Target, shared: Prepared, limit: float) -> str:
    """Return what stands for all that decides the trials; how long they may take does not."""
    bench, here, settings = context.bench, device.facts(), shared.settings
    against = shared.trained.key if bench.recipe.budget else context.network.key
    like = replace(target, name="", description="", artifacts=(), more=())
    parts = (context.quantize, bench.recipe.export, bench.splits.preprocess, like, settings)
    keys = [context.network.key, against, bench.splits.sha256, limit, tool_digest(), here.cpu, here.cpus]
    return codec.digest([*map(codec.unstructure, parts), *keys])


def _judge(context: BuildContext, target: Target, shared: Prepared, made: Material, folder: Path) -> RunnerJudge:
    splits, validation = context.bench.splits, shared.validation
    if validation is None:
        raise StepError("there is no validation split to choose by")
    reference = logits(context.network, splits.validation, splits.preprocess)
    few = splits.validation.subset(np.arange(min(TIMED, len(splits.validation))))
    own = Baseline(labels=splits.validation.labels, trained=reference)
    return RunnerJudge(
        name=context.artifact(OPTIMISED),
        target=target,
        material=made,
        validation=validation.questions,
        few=questions(few, splits.preprocess, folder / "few.npy"),
        baseline=validation.baseline if context.bench.recipe.budget else own,
        reference=reference,
        settings=shared.settings,
        folder=folder,
        progress=context.bench.progress,
        plans=PLANS,
    )


def _evidence(judge: RunnerJudge, study: Study) -> Evidence:
    """Return the profile that proposals are ranked by: that of the record, or a new one. Raises StepError."""
    if study.evidence is not None:
        return study.evidence
    began_s, made = time.monotonic(), judge.material
    nodes = [node for unit in made.units for node in unit.nodes]
    if not nodes:
        raise StepError("no operator of the network can be in int8")
    found = []
    for content, precision in ((made.integers(made.forms[0], nodes), "int8"), (made.whole.content, "fp32")):
        subject = judge.subject(content, "int8" if precision == "int8" else "fp32")
        job = make_job(subject, judge.few.locate(), judge.few.preprocess, judge.settings.scenario)
        try:
            found.append(by_unit(WORKERS.profile(job, judge.settings.seed), made.units))
        except (MeasurementError, RuntimeUnavailable) as error:
            raise StepError(f"it cannot be profiled: {error.what}", advice=error.advice) from error
    evidence = Evidence(int8_ns=found[0], fp32_ns=found[1])
    study.write(Profiled(evidence=evidence, duration_s=time.monotonic() - began_s))
    return evidence


def _assignment(confirmed: Confirmed | None) -> Assignment:
    return confirmed.assignment if confirmed else Assignment(fp32=(ALL,))


def _record(name: str, limit: float, space: Space, study: Study, confirmed: Confirmed | None) -> Optimised:
    division = space.division(_assignment(confirmed))
    types = {each.name: each.kind for each in space.units}
    stay = Counter(types[each] for each in sorted(division.fp32))
    integers = Counter(types[each] for each in sorted(space.everything - division.fp32))
    return Optimised(
        artifact=name,
        max_drop=limit,
        duration_s=study.spent_s,
        tried=tuple(
            Division(
                what=each.what,
                ratio=each.ratio,
                interval=each.interval,
                validation=each.drop,
                accepted=each.accepted,
                reason=each.reason,
            )
            for each in study.outcomes
        ),
        speeds=confirmed.speeds if confirmed else (),
        fp32=dict(sorted(stay.items())),
        int8=dict(sorted(integers.items())),
    )


def _noted(record: Optimised) -> str:
    if not record.speeds:
        return NOTHING_GAINED
    return f"{record.speeds[-1].ratio or 1:.2f} of the time of fp32, {shown.counted(len(record.tried), 'trial')}"


def _line(outcome: Outcome) -> tuple[str, str]:
    """Return how a trial ended, as a figure and in words."""
    figure = "failed" if outcome.ratio is None else shown.times(outcome.ratio)
    return figure, f"{outcome.what}: {_end(outcome, outcome.drop)}"


def _end(outcome: Outcome, drop: Drop | None) -> str:
    lost = f", {shown.points(drop.drop)} points lost" if drop else ""
    return f"{'taken' if outcome.accepted else outcome.reason}{lost}"
