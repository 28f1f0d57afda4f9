"""What everything starts from."""

from pathlib import Path

import pytest
import torch

from packager import recipe
from packager.cache import Cache
from packager.origin import origin
from packager.recipe import Prune, Recipe, Variant
from runner.errors import StepError
from tests.fakes import RecordingProgress

TOO_MUCH = Prune(method="channels", of="macs", amount=0.99)
PLAIN = f"{Path(__file__).with_name('test_network.py')}:Net"


def test_a_pruning_that_cannot_be_is_told_before_the_training(few_images: Path, tmp_path: Path) -> None:
    progress = RecordingProgress()
    plan = Recipe(
        model=recipe.Model(name="resnet8"),
        data=recipe.Data(source=str(few_images)),
        train=recipe.Train(epochs=1),
        variants=(Variant(name="less", artifacts=("fp32.onnx",), prune=TOO_MUCH),),
    )

    with pytest.raises(StepError) as caught:
        origin(plan, Cache(folder=tmp_path), progress)

    assert "rehearse: prune.amount: 99% of the multiply-accumulates cannot go" in str(caught.value)
    assert "ran before it: data, model\n" in str(caught.value)


def test_a_rehearsal_leaves_the_network_as_it_was(few_images: Path, tmp_path: Path) -> None:
    ways = (None, Prune(amount=0.5), Prune(method="channels", importance="taylor", round_to=1))
    networks = [
        origin(
            Recipe(
                model=recipe.Model(name=PLAIN),
                data=recipe.Data(source=str(few_images)),
                train=recipe.Train(epochs=1, compute="cpu"),
                prune=prune,
            ),
            Cache(folder=tmp_path / str(number)),
            RecordingProgress(),
        ).trained.module
        for number, prune in enumerate(ways)
    ]

    first, *others = (torch.cat([each.flatten() for each in network.state_dict().values()]) for network in networks)
    assert all(torch.equal(first, other) for other in others)
