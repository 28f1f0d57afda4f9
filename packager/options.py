"""What the command line says, laid over a recipe. After this, nobody looks at options or the environment."""

from dataclasses import dataclass, replace
from typing import TypeVar

from packager import bounds, candidates, recipe_file
from packager.overlay import fine_tunes, overlay
from packager.recipe import (
    ONNX_FILE,
    Augment,
    Budget,
    Choose,
    Compute,
    Data,
    Model,
    Optimise,
    Optimizer,
    Prune,
    PruneMethod,
    Qat,
    Quantize,
    Ranges,
    Recipe,
    Schedule,
    Train,
    Variant,
)
from runner.errors import UsageError
from runner.report import Effort, Objective

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """One field per option; None is: not given."""

    recipe: str | None = None
    model: str | None = None
    weights: str | None = None
    data: str | None = None
    data_dir: str | None = None
    image_size: int | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    calibration_samples: int | None = None
    eval_samples: int | None = None
    epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    optimizer: Optimizer | None = None
    schedule: Schedule | None = None
    augment: Augment | None = None
    compute: Compute | None = None
    prune: float | None = None
    prune_method: PruneMethod | None = None
    quantize: str | None = None
    ranges: Ranges | None = None
    keep_fp32: tuple[str, ...] | None = None
    sensitivity: bool | None = None
    candidates: tuple[str, ...] | None = None
    keep: int | None = None
    minimise: Objective | None = None
    max_drop: float | None = None
    optimise_for: float | None = None
    """In seconds."""
    settings: tuple[str, ...] = ()
    """Any other key of a recipe, as `prune.importance=taylor`."""
    seed: int | None = None
    effort: Effort | None = None
    threads: int | None = None


def resolve(options: Options) -> Recipe:
    """Return the recipe that the options ask for. Raises UsageError, also for what contradicts itself."""
    base = recipe_file.load(options.recipe) if options.recipe else _standard(options)
    prune, quantize, budget = (
        _prune(options, base.prune),
        _quantize(options, base.quantize),
        _budget(options, base.budget),
    )
    tunes = fine_tunes(replace(base, prune=prune, quantize=quantize, budget=budget))
    resolved = replace(
        base,
        models=() if options.model else base.models,
        variants=_variants(options, base),
        seed=_given(options.seed, base.seed),
        model=_model(options, base.model),
        data=_data(options, base.data),
        train=_train(options, base.train, tunes=tunes),
        prune=prune,
        quantize=quantize,
        candidates=_given(options.candidates, base.candidates),
        choose=_choose(options, base.choose),
        budget=budget,
        optimise=Optimise(for_s=options.optimise_for) if options.optimise_for is not None else base.optimise,
        measure=replace(
            base.measure,
            effort=_given(options.effort, base.measure.effort),
            threads=_given(options.threads, base.measure.threads),
            minimise=_given(options.minimise, base.measure.minimise),
        ),
    )
    resolved = overlay(resolved, options.settings)
    if problems := bounds.contradictions(resolved):
        raise UsageError("\n".join(problems))
    return resolved


def _standard(options: Options) -> Recipe:
    """Return the recipe where none is named: every step for the main job, fewer for what the user brings along.

    Weights that were given are not trained unless that is asked for, and nobody's own network is pruned unasked.
    """
    own = any((options.model, options.weights, options.data))
    ready = options.weights or (options.model or "").endswith(ONNX_FILE)
    return Recipe(
        train=None if ready else Train(),
        prune=None if own else Prune(),
        quantize=Quantize(),
    )


def _model(options: Options, base: Model) -> Model:
    # Weights belong to a model: another model does not inherit them.
    inherited = None if options.model else base.weights
    return replace(base, name=_given(options.model, base.name), weights=_given(options.weights, inherited))


def _data(options: Options, base: Data) -> Data:
    return replace(
        base,
        source=_given(options.data, base.source),
        data_dir=_given(options.data_dir, base.data_dir),
        image_size=_given(options.image_size, base.image_size),
        mean=_given(options.mean, base.mean),
        std=_given(options.std, base.std),
        calibration_samples=_given(options.calibration_samples, base.calibration_samples),
        evaluation_samples=_given(options.eval_samples, base.evaluation_samples),
    )


def _train(options: Options, base: Train | None, *, tunes: bool) -> Train | None:
    """Return the plan of training; without epochs of its own where only fine-tuning follows what else it says."""
    plan = base or Train(epochs=0)
    # A recipe says how its weights came about: who brings weights along has that behind them.
    usual = 0 if options.weights else plan.epochs
    plan = replace(
        plan,
        epochs=_given(options.epochs, usual),
        batch_size=_given(options.batch_size, plan.batch_size),
        learning_rate=_given(options.learning_rate, plan.learning_rate),
        optimizer=_given(options.optimizer, plan.optimizer),
        schedule=_given(options.schedule, plan.schedule),
        augment=_given(options.augment, plan.augment),
        compute=_given(options.compute, plan.compute),
    )
    if void := _void(options, trains=plan.epochs != 0, tunes=tunes):
        raise UsageError("nothing is trained that this could be for", where=", ".join(void), advice="--epochs N")
    return plan if plan.epochs or (tunes and plan != Train(epochs=0)) else None


def _void(options: Options, *, trains: bool, tunes: bool) -> list[str]:
    """Return the options that were given and would change nothing."""
    # Fine-tuning has a learning rate of its own.
    training = {"--learning-rate": options.learning_rate}
    either = {
        "--batch-size": options.batch_size,
        "--optimizer": options.optimizer,
        "--schedule": options.schedule,
        "--augment": options.augment,
        "--compute": options.compute,
    }
    void = {} if trains else training if tunes else training | either
    return [name for name, value in void.items() if value is not None]


def _prune(options: Options, base: Prune | None) -> Prune | None:
    if options.prune == 0:
        return None
    plan = base
    if options.prune is not None:
        plan = replace(base or Prune(), amount=options.prune)
    if options.prune_method is not None:
        plan = replace(plan or Prune(), method=options.prune_method)
    if plan is not None and options.epochs == 0:
        plan = replace(plan, fine_tune_epochs=0)
    return plan


def _variants(options: Options, base: Recipe) -> tuple[Variant, ...]:
    """Return the recipe's variants; `--epochs 0` is for their fine-tuning, too."""
    if options.epochs != 0:
        return base.variants
    return tuple(replace(each, prune=each.prune and replace(each.prune, fine_tune_epochs=0)) for each in base.variants)


def _quantize(options: Options, base: Quantize | None) -> Quantize | None:
    plan = _method(options.quantize, base)
    details = {"ranges": options.ranges, "keep-fp32": options.keep_fp32, "sensitivity": options.sensitivity}
    if plan is None:
        given = [f"--{name}" for name, value in details.items() if value is not None]
        if given:
            where = ", ".join(given)
            advice = "--quantize static; variants of a recipe have their own [variants.quantize], in a file"
            raise UsageError("nothing is quantized that this could be for", where=where, advice=advice)
        return None
    return replace(
        plan,
        ranges=_given(options.ranges, plan.ranges),
        keep_fp32=_given(options.keep_fp32, plan.keep_fp32),
        sensitivity=_given(options.sensitivity, plan.sensitivity),
    )


def _method(method: str | None, base: Quantize | None) -> Quantize | None:
    plan = base or Quantize()
    match method:
        case None:
            return base
        case "none":
            return None
        case "qat":
            return replace(plan, method="static", qat=plan.qat or Qat())
        case "static":
            return replace(plan, method="static", qat=None)
        case _:
            return replace(plan, method="dynamic", qat=None)


def _budget(options: Options, base: Budget | None) -> Budget | None:
    if options.max_drop is None:
        return base
    return replace(base or Budget(max_drop=0), max_drop=options.max_drop)


def _choose(options: Options, base: Choose | None) -> Choose | None:
    """Return how to choose: by default where there is more to choose from than what is named."""
    if options.keep is None and not {candidates.QUICK, candidates.ALL} & set(options.candidates or ()):
        return base
    plan = base or Choose()
    return replace(plan, keep=_given(options.keep, plan.keep))


def _given(value: T | None, otherwise: T) -> T:
    return otherwise if value is None else value
