"""Train a network, keep its best epoch, and go on after an interruption where it stopped."""

import contextlib
import copy
import math
import time
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from packager import distillation, recipe
from packager.augment import augment
from packager.checkpoint import Scheduler, State, copied, resume, save
from packager.data import Samples, Splits
from packager.distillation import Teacher
from packager.mixed_precision import mixed_precision
from runner.errors import StepError
from runner.manifest import Preprocess
from runner.packing import Epoch, Stage
from runner.progress import Advance, Progress

EVALUATION_BATCH = 256
LOWER_RATE: dict[Stage, str] = {
    "train": "a lower learning rate: --learning-rate, or `learning_rate` in the recipe's [train]",
    "prune": "a lower learning rate: `fine_tune_learning_rate` in the recipe's [prune]",
    "qat": "a lower learning rate: `learning_rate` in the recipe's [quantize.qat]",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Trained:
    """A network after training, with the weights of its best epoch."""

    module: nn.Module
    epochs: tuple[Epoch, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """What one training is made of."""

    plan: recipe.Train
    splits: Splits
    seed: int
    stage: Stage = "train"
    masks: Mapping[str, Tensor] = field(default_factory=dict)
    """Parameter name -> 0 and 1: weights that stay zero."""
    teacher: Teacher | None = None
    """Whose answers the network shall learn as well; in eval mode, on the CPU."""
    checkpoint: Path | None = None
    """Where the state after each epoch is kept, and taken up again."""


def train(module: nn.Module, job: Job, progress: Progress) -> Trained:
    """Train a copy of `module` and return it with the weights that were best on the validation split.

    Each epoch draws from a generator seeded by its number, so that a training which was interrupted and resumed
    ends with the same weights as one which was not. Raises StepError where the loss is no longer a number.
    """
    module = copy.deepcopy(module)
    if not job.plan.epochs:
        return Trained(module=module.eval(), epochs=())
    state = _start(module, job, progress)
    steps = _steps_per_epoch(job)
    with _deterministic(), progress.task(f"{job.stage} {job.plan.epochs} epochs", job.plan.epochs * steps) as advance:
        if state.epochs:
            advance(len(state.epochs) * steps, "resumed")
        for epoch in range(len(state.epochs), job.plan.epochs):
            _run_epoch(state, job, epoch, advance)
            if job.checkpoint is not None:
                save(state, job.checkpoint)
    state.module.load_state_dict(state.best)
    trained = state.module.cpu().to(memory_format=torch.contiguous_format)
    return Trained(module=trained.eval(), epochs=tuple(state.epochs))


def compute_device(compute: recipe.Compute) -> torch.device:
    """Return the device to train on. Raises StepError where CUDA is asked for and absent."""
    if compute == "cuda" and not torch.cuda.is_available():
        raise StepError("CUDA is asked for, and this machine has none", advice="--compute cpu")
    return torch.device("cuda" if compute != "cpu" and torch.cuda.is_available() else "cpu")


def evaluate(module: nn.Module, samples: Samples, preprocess: Preprocess) -> tuple[float, float]:
    """Return mean cross-entropy and top-1 accuracy on `samples`."""
    answers = logits(module, samples, preprocess)
    labels = torch.from_numpy(samples.labels)
    loss = functional.cross_entropy(answers, labels).item()
    return loss, (answers.argmax(1) == labels).double().mean().item()


def logits(module: nn.Module, samples: Samples, preprocess: Preprocess) -> Tensor:
    """Return what `module`, in eval mode, answers to `samples`: N x classes, float32, on the CPU."""
    device = next((parameter.device for parameter in module.parameters()), torch.device("cpu"))
    module.eval()
    answers = []
    with torch.inference_mode():
        for first in range(0, len(samples), EVALUATION_BATCH):
            batch = samples.take(np.arange(first, min(first + EVALUATION_BATCH, len(samples))))
            answers.append(module(torch.from_numpy(preprocess.apply(batch)).to(device)).float().cpu())
    return torch.cat(answers)


@contextlib.contextmanager
def _deterministic() -> Iterator[None]:
    """Let torch choose algorithms that give the same bits each time; quantization, later, has none to choose."""
    before = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with warnings.catch_warnings():
            # Where CUDA has no such algorithm: not a thing that the user of a network can change.
            warnings.filterwarnings("ignore", message=".*deterministic", category=UserWarning)
            yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warn_only)


def _start(module: nn.Module, job: Job, progress: Progress) -> State:
    layout = _layout(module, job)
    module = module.to(compute_device(job.plan.compute)).to(memory_format=layout)
    optimizer = _optimizer(module, job.plan)
    state = State(
        module=module,
        optimizer=optimizer,
        scheduler=_scheduler(optimizer, job),
        best=copied(module),
        epochs=[],
        layout=layout,
    )
    if job.checkpoint is not None and job.checkpoint.exists() and not resume(state, job.checkpoint):
        progress.say(f"note: {job.checkpoint.name} of an interrupted training is damaged: training starts anew")
    return state


def _layout(module: nn.Module, job: Job) -> torch.memory_format:
    """Return how images lie in memory while training: channels last takes a third less time on a CPU.

    A network that flattens with view() cannot have it so, and gets them as they are.
    """
    images = torch.from_numpy(job.splits.preprocess.apply(job.splits.train.take(slice(0, 2))))
    tried = copy.deepcopy(module).to(memory_format=torch.channels_last).eval()
    try:
        with torch.no_grad():
            tried(images.to(memory_format=torch.channels_last))
    except RuntimeError:
        return torch.contiguous_format
    return torch.channels_last


def _optimizer(module: nn.Module, plan: recipe.Train) -> torch.optim.Optimizer:
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    if not parameters:
        raise StepError("the model has no parameters to train", advice="no training: --epochs 0")
    if plan.optimizer == "sgd":
        return torch.optim.SGD(
            parameters, plan.learning_rate, momentum=0.9, nesterov=True, weight_decay=plan.weight_decay
        )
    return torch.optim.AdamW(parameters, plan.learning_rate, weight_decay=plan.weight_decay, fused=True)


def _scheduler(optimizer: torch.optim.Optimizer, job: Job) -> Scheduler:
    if job.plan.schedule == "plateau":
        return torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.3, patience=2)
    total = job.plan.epochs * _steps_per_epoch(job)
    return torch.optim.lr_scheduler.OneCycleLR(optimizer, job.plan.learning_rate, total_steps=total + 1)


def _steps_per_epoch(job: Job) -> int:
    return max(1, int(job.plan.share * len(job.splits.train)) // job.plan.batch_size)


def _run_epoch(state: State, job: Job, epoch: int, advance: Advance) -> None:
    began = time.perf_counter()
    rate = state.optimizer.param_groups[0]["lr"]
    train_loss, train_accuracy = _train_epoch(state, job, epoch, advance)
    loss, accuracy = evaluate(state.module, job.splits.validation, job.splits.preprocess)
    for name, value in (("loss", train_loss), ("validation loss", loss)):
        if not math.isfinite(value):
            raise StepError(f"the {name} is {value} after epoch {epoch + 1}", advice=LOWER_RATE[job.stage])
    if accuracy > max((past.validation_accuracy for past in state.epochs), default=-1.0):
        state.best = copied(state.module)
    if isinstance(state.scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
        state.scheduler.step(loss)
    state.epochs.append(
        Epoch(
            stage=job.stage,
            epoch=epoch + 1,
            learning_rate=rate,
            train_loss=train_loss,
            train_accuracy=train_accuracy,
            validation_loss=loss,
            validation_accuracy=accuracy,
            duration_s=time.perf_counter() - began,
        )
    )


def _train_epoch(state: State, job: Job, epoch: int, advance: Advance) -> tuple[float, float]:
    """Run over the training samples once, and return the mean loss and the accuracy on the way."""
    device = next(state.module.parameters()).device
    # Anew for each epoch, the scale of float16's loss included: an interrupted training goes on as if it had not been.
    precision = mixed_precision(job.plan.arithmetic, device)
    parameters = dict(state.module.named_parameters())
    masked = [(parameters[name], mask.to(device)) for name, mask in job.masks.items()]
    teacher = _on(device, state.layout, job.teacher)
    state.module.train()
    losses, hits, count = 0.0, 0, 0
    for batch, labels in _batches(job, epoch):
        inputs = batch.to(device, memory_format=state.layout)
        with precision.autocast():
            answers = state.module(inputs)
            loss = functional.cross_entropy(answers, labels.to(device), label_smoothing=job.plan.label_smoothing)
            if teacher is not None:
                loss = distillation.loss(answers, inputs, loss, teacher)
        precision.step(loss, state.optimizer)
        _keep_pruned(masked)
        if isinstance(state.scheduler, torch.optim.lr_scheduler.OneCycleLR):
            state.scheduler.step()
        losses += loss.item() * len(labels)
        hits += int((answers.argmax(1).cpu() == labels).sum())
        count += len(labels)
        advance(note=f"epoch {epoch + 1} loss {losses / count:.3f}")
    return losses / count, hits / count


def _on(device: torch.device, layout: torch.memory_format, teacher: Teacher | None) -> Teacher | None:
    if teacher is None:
        return None
    module = copy.deepcopy(teacher.module).eval().to(device).to(memory_format=layout)
    return replace(teacher, module=module)


def _batches(job: Job, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield an epoch's batches: float32 inputs and labels. An incomplete last batch is left out of this epoch."""
    # Dropout draws from torch's own generator, everything else from this one.
    seed = int(np.random.SeedSequence([job.seed, epoch]).generate_state(1)[0])
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    samples, size = job.splits.train, job.plan.batch_size
    order = random.permutation(len(samples))
    for step in range(_steps_per_epoch(job)):
        chosen = np.sort(order[step * size : (step + 1) * size])  # sorted: large sets are read from disk in order
        batch = augment(samples.take(chosen), job.plan.augment, random)
        yield torch.from_numpy(job.splits.preprocess.apply(batch)), torch.from_numpy(samples.labels[chosen])


def _keep_pruned(masked: list[tuple[nn.Parameter, Tensor]]) -> None:
    with torch.no_grad():
        for parameter, mask in masked:
            parameter.mul_(mask)
