"""The search from end to end: one training, many trials, the front written down, the chosen point packed."""

import re
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from packager import pipeline, writer
from packager.budget import POINTS, Baseline
from packager.cache import Cache, tool_digest
from packager.candidates import candidate
from packager.evaluation import logits, questions
from packager.origin import Origin, origin
from packager.pipeline import Packed
from packager.recipe import Budget, Measure, Model, Recipe
from packager.recipe_file import to_toml
from packager.tune import Wish, table
from packager.tune.front import Choice, Point, Record, choice, front
from packager.tune.plan import as_recipe
from packager.tune.space import Space, space
from packager.tune.study import Study
from packager.tune.trial import HopelessError, TrialContext, cause, judged
from runner import atomic, codec, device
from runner.device import topology
from runner.errors import StepError, UsageError
from runner.manifest import INTEGERS, Target
from runner.progress import Progress
from runner.render.page import Page, as_markdown
from runner.report import Settings


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchOrder:
    """What is to be searched for, from what, and where all that comes of it goes."""

    recipe: Recipe
    target: Target
    wish: Wish
    output: Path
    """A folder, or the bundle's own path: the other files then stand beside it."""
    cache: Cache
    progress: Progress

    @property
    def folder(self) -> Path:
        """Where the search's own files go."""
        return self.output.parent if self.output.suffix == writer.SUFFIX else self.output


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """What a search has come to so far."""

    name: str
    records: tuple[Record, ...]
    front: tuple[Point, ...]
    choice: Choice
    page: Page
    recipe: Recipe
    """Of the chosen point."""


def search(order: SearchOrder) -> Found:
    """Go on with a search until it has as many trials as are asked for, and write down its front.

    Raises UsageError, and StepError where no trial came to anything.
    """
    began_s = time.monotonic()
    start = origin(order.recipe, order.cache, order.progress, searches=True)
    name = f"tune-{start.name}-{order.target.name}"
    choices = space(start.trained, start.bench, order.target)
    if order.wish.objective == "macs" and not choices.stages:
        raise UsageError("no channels of this network can go", where="--minimise macs", advice="--minimise size")
    study = Study(order.folder / f"{name}.journal", _key(order, start), order.recipe.seed)
    with tempfile.TemporaryDirectory(prefix="edgepack-") as folder:
        _run(study, choices, _trial_context(order, start, Path(folder)), began_s)
    return _written(order, start, name, study.records())


def pack(order: SearchOrder, found: Found) -> Packed:
    """Pack the chosen point. Raises StepError.

    Integers that hold the limit on the validation split, by which they were chosen, have to hold it on the evaluation
    set too.
    """
    integer = candidate(found.choice.point.finding.plan.artifact).precision in INTEGERS
    held = Budget(max_drop=order.wish.max_drop) if found.choice.holds and integer else None
    plan = pipeline.PackOrder(
        recipe=replace(found.recipe, budget=held),
        targets=(order.target,),
        output=order.output,
        cache=order.cache,
        progress=order.progress,
    )
    (packed,) = pipeline.pack(plan)
    return packed


def _key(order: SearchOrder, start: Origin) -> str:
    """Return what stands for all that decides the trials: another recipe begins another search."""
    plan, wish = order.recipe, order.wish
    # How it is measured changes nothing where nothing is; the model is in the network's key.
    timed, here = wish.objective == "latency", device.facts()
    how = plan.measure if timed else Measure()
    bare = replace(plan, title="", model=Model(), variants=(), budget=None, measure=how)
    parts = (bare, order.target, start.trained.key, start.bench.splits.sha256, wish.objective, wish.max_drop)
    # Times of another machine are no figures to choose by.
    where = [here.cpu, here.cpus, here.cuda] if timed else []
    return codec.digest([*map(codec.unstructure, parts), tool_digest(), where])


def _trial_context(order: SearchOrder, start: Origin, folder: Path) -> TrialContext:
    splits, plan = start.bench.splits, order.recipe.measure
    samples = splits.validation
    trained = logits(start.trained, samples, splits.preprocess)
    return TrialContext(
        target=order.target,
        wish=order.wish,
        origin=start,
        questions=questions(samples, splits.preprocess, folder / "validation.npy"),
        baseline=Baseline(labels=samples.labels, trained=trained),
        settings=Settings(
            effort=plan.effort, threads=plan.threads or topology.default_threads(), seed=order.recipe.seed
        ),
    )


def _run(study: Study, choices: Space, context: TrialContext, began_s: float) -> None:
    wish, bench = context.wish, context.origin.bench
    with bench.progress.task("tune", wish.trials) as advance:
        before = study.records()
        if before:
            bench.journal.say("tune", "as before", f"{len(before)} of the trials have ended already")
            advance(len(before))
        while len(records := study.records()) < wish.trials:
            if wish.timeout_s is not None and time.monotonic() - began_s > wish.timeout_s:
                bench.journal.say("tune", "stopped", f"{wish.timeout_s:g} seconds are over")
                break
            record = _one(study, choices, context, records)
            bench.journal.say(f"trial {record.trial} of {wish.trials}", *table.line(record))
            advance(1)


def _one(study: Study, choices: Space, context: TrialContext, records: Sequence[Record]) -> Record:
    """Run the next trial to whatever end it takes, and write that down."""
    trial, plan = study.ask(choices)
    number, values = len(records) + 1, None
    try:
        finding = judged(plan, context, [record.finding for record in records if record.finding])
    except HopelessError as error:
        record = Record(trial=number, reason=str(error))
    except StepError as error:
        record = Record(trial=number, failed=True, reason=cause(error))
    except BaseException:
        study.forget(trial)
        raise
    else:
        record = Record(trial=number, finding=finding)
        values = (finding.drop.drop, finding.figure(context.wish.objective))
    study.tell(trial, record, values)
    return record


def _written(order: SearchOrder, start: Origin, name: str, records: tuple[Record, ...]) -> Found:
    """Write the table and the recipes of the front. Raises StepError where there is none."""
    wish = order.wish
    points = front(records, wish.objective)
    if not points:
        reasons = "; ".join(dict.fromkeys(record.reason for record in records)) or "none was begun"
        advice = "more --trials, or a larger --max-drop" if records else "more time, --timeout"
        raise StepError(f"no trial came to anything: {reasons}", where="tune", advice=advice)
    chosen = choice(points, wish.max_drop / POINTS)
    shown = table.page(f"{start.name} for {order.target.name}", wish, records, points, chosen)
    atomic.write(order.folder / f"{name}.md", as_markdown(shown))
    recipes = {point.trial: to_toml(as_recipe(point.finding.plan, order.recipe)) for point in points}
    for path in order.folder.glob(f"{name}-*.toml"):
        # Beaten since, or of another search: the table, which is written anew, knows nothing of it.
        if re.fullmatch(r"\d+", path.stem.removeprefix(f"{name}-")):
            path.unlink()
    for trial, text in recipes.items():
        atomic.write(order.folder / f"{name}-{trial}.toml", text)
    recipe = as_recipe(chosen.point.finding.plan, order.recipe)
    return Found(name=name, records=records, front=points, choice=chosen, page=shown, recipe=recipe)
