"""What each command of the host side does, once its options are known. Nothing here prints or exits."""

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import models
import targets
from packager import candidates, compatibility, data, optimise, options, recipe, recipe_file, results, writer
from packager import tune as tuning
from packager.apart import parent
from packager.bundle_page import bundle_page
from packager.cache import Cache, default_folder
from packager.options import Options
from packager.recipe import Recipe
from packager.tune import Objective, Wish
from runner import atomic, codec, device
from runner.bundle import open_bundle
from runner.errors import EdgepackError, UsageError
from runner.manifest import INTEGERS, Target
from runner.progress import Progress
from runner.render import report_page
from runner.render.page import Page, Table, as_text
from runner.report import Report

if TYPE_CHECKING:
    from packager.pipeline import Packed, PackOrder

WAIT_POLICY = "OMP_WAIT_POLICY"
SOME = 0.5
"""A share that goes, where a search finds its own."""
OF_BUDGETS = tuple(
    f"-{name}" for name, each in candidates.NAMES.items() if each.precision in INTEGERS and each != candidates.OPTIMISED
)
"""How names of artifacts end that a budget is for, with a variant before them or without: a search for what is faster
in int8 may find that nothing is."""
KEPT = "finished steps and epochs are kept: the same command goes on from there"


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What is to be packed for whom, and where all that comes of it goes."""

    targets: tuple[str, ...]
    options: Options
    output: Path
    save_weights: Path | None = None
    results: Path | None = None
    """A Markdown file that the table is written into."""
    keep: bool = True
    """Keep finished steps in the cache."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TuneRequest:
    """What is to be searched for, and where all that comes of it goes."""

    targets: tuple[str, ...]
    options: Options
    """Its `max_drop` is that of the search."""
    objective: Objective
    trials: int
    timeout_s: float | None
    output: Path
    keep: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Tuned:
    """What a search came to."""

    page: Page
    path: Path
    report: Report
    holds: bool
    """Whether the artifact is within the limit, on the validation split and, of integers, on the evaluation set."""


def pack(request: Request, progress: Progress) -> Iterator[tuple[Path, Report]]:
    """Pack for the targets of these names, and yield each bundle's path with its report. Raises EdgepackError."""
    plan = options.resolve(request.options)
    output = request.output
    chosen = _targets(request.targets, output)
    problems = compatibility.impossible(plan, chosen)
    problems = problems or optimise.impossible(plan, chosen, device.facts())
    if problems := problems or compatibility.unheard_wish(request.options.quantize, plan, chosen):
        raise UsageError("\n".join(problems))
    plans = _each_model(plan)
    if len(plans) > 1 and (output.suffix == writer.SUFFIX or request.save_weights):
        raise UsageError(
            "there are several models, and this is one file", where="-o, --save-weights", advice="-o FOLDER"
        )
    _check_output(output)
    for file in filter(None, (request.results, request.save_weights)):
        atomic.check_destination(file)
    if request.results is not None:
        results.check(request.results)
    reports = list[Report]()
    with _cache(progress, keep=request.keep) as cache, parent.opened(progress) as apart:
        # PyTorch takes seconds to load: a typing error is told before that.
        with _patient_threads():
            from packager import pipeline  # noqa: PLC0415
        orders = [
            pipeline.PackOrder(
                recipe=each,
                targets=chosen,
                output=output,
                cache=cache,
                progress=progress,
                save_weights=request.save_weights,
                apart=apart,
            )
            for each in plans
        ]
        for packed in _each_packed(orders, progress):
            reports.append(packed.report)
            yield packed.path, packed.report
            # Not at the end alone: what fails later shall not cost the rows of what is packed.
            if request.results is not None:
                results.write(request.results, plan.title or reports[0].bundle_name, reports)


def _each_packed(orders: Sequence["PackOrder"], progress: Progress) -> Iterator["Packed"]:
    """Pack one model after the other; one of several that fails does not end the others. Raises EdgepackError."""
    from packager import pipeline  # noqa: PLC0415 - heavy

    failed = dict[str, EdgepackError]()
    for order in orders:
        try:
            yield from pipeline.pack(order)
        except EdgepackError as error:
            if len(orders) == 1:
                raise
            name = order.recipe.model.name
            progress.say(f"{name} failed: {error}")
            # Without its traceback, which would keep the model in memory.
            failed[name] = type(error)(error.what, where=error.where, advice=error.advice)
    if failed:
        progress.say(f"{len(failed)} of {len(orders)} models failed: {', '.join(failed)}")
        raise next(iter(failed.values()))


def tune(request: TuneRequest, progress: Progress) -> Tuned:
    """Search, and pack what was chosen. Raises EdgepackError."""
    # A search trains what it has pruned: options of training are for that, too. How much goes is its own to find.
    plan = options.resolve(replace(request.options, prune=SOME, prune_method="channels"))
    if plan.model.name.endswith(recipe.ONNX_FILE):
        plan = replace(plan, prune=None)
    if len(request.targets) != 1:
        raise UsageError("name the one to tune for", where="--target", advice="pack tune --target x86, or pack targets")
    (target,) = _targets(request.targets, request.output)
    wish = Wish(
        objective=request.objective,
        max_drop=plan.budget.max_drop if plan.budget else Wish().max_drop,
        trials=request.trials,
        timeout_s=request.timeout_s,
    )
    problems = [
        *tuning.overruled(request.options.settings),
        *map(tuning.as_settings, compatibility.impossible(tuning.without_what_is_searched(plan), (target,))),
        *tuning.impossible(plan, target, wish, device.facts()),
    ]
    if problems:
        raise UsageError("\n".join(problems))
    _check_output(request.output)
    with _patient_threads():
        from packager.tune import search  # noqa: PLC0415 - heavy, as above
    with _cache(progress, keep=request.keep) as cache:
        order = search.SearchOrder(
            recipe=plan, target=target, wish=wish, output=request.output, cache=cache, progress=progress
        )
        found = search.search(order)
        packed = search.pack(order, found)
    holds = found.choice.holds and not missed([packed.report])
    return Tuned(page=found.page, path=packed.path, report=packed.report, holds=holds)


def missed(reports: Sequence[Report]) -> bool:
    """Say whether a budget was not held, or what it was for is not there at all."""
    return any(
        not all(record.holds for record in packing.budgets)
        or (
            packing.budgets
            and not packing.contenders  # of which a choice leaves most out
            and any(f"-{each.name}".endswith(OF_BUDGETS) for each in packing.left_out)
        )
        for packing in (report.packing for report in reports)
        if packing
    )


def list_recipes() -> str:
    """Return the recipes as a table."""
    return _listing(
        "recipe", {**recipe_file.names(), "FILE.toml": "a recipe of your own; `pack inspect BUNDLE --recipe` shows one"}
    )


def list_targets() -> str:
    """Return the targets as a table."""
    return _listing("target", {name: targets.load(name).description for name in targets.names()})


def list_models() -> str:
    """Return the models as a table."""
    others = {"torchvision:NAME": "any other classifier of torchvision", "FILE.py:CALLABLE": "a network of your own"}
    return _listing("model", {**models.names(), **others})


def list_datasets() -> str:
    """Return the data sets as a table."""
    others = {
        "DIR": "a folder of images: train/CLASS/* and test/CLASS/* or val/CLASS/*, or CLASS/* alone",
        "FILE.npz": "arrays x_train, y_train, x_test and y_test",
    }
    return _listing("data set", {**data.names(), **others})


def inspect(path: Path, *, as_recipe: bool, as_json: bool) -> str:
    """Return what a bundle is, as text; or its recipe as TOML, or its manifest as JSON. Raises BundleError."""
    if as_recipe and as_json:
        raise UsageError("--recipe and --json exclude each other")
    bundle = open_bundle(path)
    if as_recipe:
        return recipe_file.to_toml(codec.structure(recipe.Recipe, bundle.manifest.provenance.recipe))
    if as_json:
        return codec.write_json(bundle.manifest, indent=2)
    report = bundle.host_report()
    return as_text((*bundle_page(bundle), *(report_page(report) if report else ())))


def _each_model(plan: Recipe) -> tuple[Recipe, ...]:
    names = plan.models or (plan.model.name,)
    return tuple(replace(plan, models=(), model=replace(plan.model, name=name)) for name in names)


def _targets(names: tuple[str, ...], output: Path) -> tuple[Target, ...]:
    chosen = tuple(targets.load(name) for name in dict.fromkeys(names))
    if output.suffix == writer.SUFFIX and len(chosen) > 1:
        raise UsageError(f"{output} is one bundle, and there are {len(chosen)} targets", where="-o", advice="-o FOLDER")
    if len({target.name for target in chosen}) < len(chosen):
        raise UsageError("two targets have one name", where="--target", advice="change `name` in one of the files")
    return chosen


def _check_output(output: Path) -> None:
    """Refuse, before long work, a place where no bundle can be written after it."""
    if output.suffix == writer.SUFFIX and output.exists() and not output.is_file():
        raise UsageError(f"{output} is there, and is no file", where="-o", advice="a folder, or another NAME.edgepack")
    folder = output.parent if output.suffix == writer.SUFFIX else output
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder}: {error.strerror}", where="-o", advice="a folder that you may write") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"{folder} is not yours to write in", where="-o", advice="a folder that you may write")


@contextmanager
def _patient_threads() -> Iterator[None]:
    """Let PyTorch's threads, if it is loaded in the body, sleep while they wait for each other.

    By default they spin. On a machine that does something else as well, the one that waits then keeps the other from
    its CPU: seen to take 8 to 15 times as long. The variable is read at the load alone, and the runner's workers,
    which are measured, shall not inherit it.
    """
    if WAIT_POLICY in os.environ:
        yield
        return
    os.environ[WAIT_POLICY] = "PASSIVE"
    try:
        yield
    finally:
        del os.environ[WAIT_POLICY]


@contextmanager
def _cache(progress: Progress, *, keep: bool) -> Iterator[Cache]:
    if keep:
        try:
            yield Cache(folder=default_folder())
        except KeyboardInterrupt:
            progress.say(KEPT)
            raise
        return
    with tempfile.TemporaryDirectory(prefix="edgepack-") as folder:
        yield Cache(folder=Path(folder))


def _listing(head: str, rows: Mapping[str, str]) -> str:
    return as_text((Table(columns=(head, ""), rows=tuple(rows.items()), left=2),))
