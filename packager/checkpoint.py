"""The state of a training after an epoch, and its file: with it the next epoch is what it would have been."""

import json
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from runner.packing import Epoch

Scheduler = torch.optim.lr_scheduler.LRScheduler


@dataclass(slots=True)
class State:
    """What changes from epoch to epoch."""

    module: nn.Module
    optimizer: torch.optim.Optimizer
    scheduler: Scheduler
    best: dict[str, Tensor]
    """The weights of the best epoch so far."""
    epochs: list[Epoch]
    layout: torch.memory_format
    """How images lie in memory. Not in the file: it follows from the network."""


def copied(module: nn.Module) -> dict[str, Tensor]:
    """Return a copy of all weights, which further training leaves alone."""
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def save(state: State, path: Path) -> None:
    """Write a checkpoint, which takes its name only when it is whole."""
    part = path.with_suffix(".part")
    torch.save(
        {
            "module": state.module.state_dict(),
            "optimizer": state.optimizer.state_dict(),
            "scheduler": state.scheduler.state_dict(),
            "best": state.best,
            "epochs": json.dumps([asdict(epoch) for epoch in state.epochs]),
        },
        part,
    )
    part.replace(path)


def resume(state: State, path: Path) -> bool:
    """Set the state to that of a checkpoint, or leave it and return False where the file is damaged."""
    if not _is_whole(path):
        return False
    device = next(state.module.parameters()).device
    saved = torch.load(path, map_location=device, weights_only=True)
    state.module.load_state_dict(saved["module"])
    state.optimizer.load_state_dict(saved["optimizer"])
    state.scheduler.load_state_dict(saved["scheduler"])
    state.best = saved["best"]
    state.epochs = [Epoch(**epoch) for epoch in json.loads(saved["epochs"])]
    return True


def _is_whole(path: Path) -> bool:
    """Tell whether the file is as it was written: torch.load would not notice a flipped bit."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (OSError, ValueError, EOFError, NotImplementedError, zipfile.BadZipFile):
        return False
