"""What the command line says, laid over a recipe. After this, nobody looks at options or the environment."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from packager import bounds
from packager import recipe as recipes
from packager.recipe import Augment, Compute, Data, Model, Optimizer, Prune, Quantize, Recipe, Schedule, Train
from runner.errors import UsageError
from runner.report import Effort

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """One field per option; None is: not given."""

    recipe: Path | None = None
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
    quantize: str | None = None
    seed: int | None = None
    effort: Effort | None = None
    threads: int | None = None


def resolve(options: Options) -> Recipe:
    """Return the recipe that the options ask for. Raises UsageError, also for what contradicts itself."""
    base = recipes.load(options.recipe) if options.recipe else _standard(options)
    prune = _prune(options, base.prune)
    resolved = replace(
        base,
        seed=_given(options.seed, base.seed),
        model=_model(options, base.model),
        data=_data(options, base.data),
        train=_train(options, base.train, prune),
        prune=prune,
        quantize=_quantize(options, base.quantize),
        measure=replace(
            base.measure,
            effort=_given(options.effort, base.measure.effort),
            threads=_given(options.threads, base.measure.threads),
        ),
    )
    if problems := bounds.contradictions(resolved):
        raise UsageError("\n".join(problems))
    return resolved


def _standard(options: Options) -> Recipe:
    """Return the recipe where none is named: every step for the main job, fewer for what the user brings along.

    Weights that were given are not trained unless that is asked for, and nobody's own network is pruned unasked.
    """
    own = any((options.model, options.weights, options.data))
    return Recipe(
        train=None if options.weights else Train(),
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


def _train(options: Options, base: Train | None, prune: Prune | None) -> Train | None:
    """Return the plan of training; without epochs of its own where only fine-tuning follows what else it says."""
    plan = base or Train(epochs=0)
    plan = replace(
        plan,
        epochs=_given(options.epochs, plan.epochs),
        batch_size=_given(options.batch_size, plan.batch_size),
        learning_rate=_given(options.learning_rate, plan.learning_rate),
        optimizer=_given(options.optimizer, plan.optimizer),
        schedule=_given(options.schedule, plan.schedule),
        augment=_given(options.augment, plan.augment),
        compute=_given(options.compute, plan.compute),
    )
    tunes = prune is not None and prune.fine_tune_epochs != 0
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
    if plan is not None and options.epochs == 0:
        plan = replace(plan, fine_tune_epochs=0)
    return plan


def _quantize(options: Options, base: Quantize | None) -> Quantize | None:
    match options.quantize:
        case None:
            return base
        case "none":
            return None
        case "static":
            return replace(base or Quantize(), method="static")
        case _:
            return replace(base or Quantize(), method="dynamic")


def _given(value: T | None, otherwise: T) -> T:
    return otherwise if value is None else value
