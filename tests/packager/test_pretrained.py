from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import models
from packager import pretrained, recipe, weights
from packager.data import Splits
from packager.data.embedded import CLASSES
from packager.pretrained import Card
from packager.train import evaluate
from runner import codec
from runner.errors import StepError, UsageError
from tests import disk

FOUR = ("0", "1", "2", "3")
CARD = Card(
    model="wide_cnn",
    data="few-images",
    classes=FOUR,
    channels=1,
    height=28,
    width=28,
    mean=(0.25,),
    std=(0.5,),
    accuracy=0.9,
    samples=100,
    command="pack --model wide_cnn",
)
SHOWN = "wide_cnn on few-images (4 classes, 1 x 28 x 28, top-1 90.00%)"


@pytest.fixture
def shelf(trained: nn.Module, tmp_path: Path) -> Path:
    """A folder with the weights of the network that learned the few images."""
    pretrained.write(trained, CARD, tmp_path)
    return tmp_path


def test_weights_are_found_by_the_model_and_the_data_and_answer_as_they_did(
    shelf: Path, trained: nn.Module, few_splits: Splits
) -> None:
    module = models.build("wide_cnn", 1, 4, 28, 28).eval()

    card = pretrained.find("wide_cnn", few_splits, shelf)
    pretrained.load(card, module, shelf)

    assert card == replace(CARD, sha256=card.sha256)
    learned = evaluate(trained, few_splits.evaluation, few_splits.preprocess)
    assert evaluate(module, few_splits.evaluation, few_splits.preprocess) == learned
    assert sorted(file.name for file in shelf.iterdir()) == [
        "wide_cnn-few-images.json",
        "wide_cnn-few-images.safetensors",
    ]


def test_a_card_is_read_as_it_was_written(shelf: Path) -> None:
    text = (shelf / "wide_cnn-few-images.json").read_text(encoding="utf-8")

    card = codec.read_json(Card, text)

    assert pretrained.cards(shelf) == (card,)
    assert len(card.sha256) == 64
    assert replace(card, sha256="") == CARD


def test_torchvisions_models_have_names_fit_for_files() -> None:
    assert replace(CARD, model="torchvision:vgg11").stem == "torchvision-vgg11-few-images"


def test_the_cards_normalisation_becomes_that_of_the_data(few_splits: Splits) -> None:
    normalised = pretrained.normalised(few_splits, CARD, recipe.Data())

    assert normalised.preprocess == replace(few_splits.preprocess, mean=(0.25,), std=(0.5,))
    assert normalised.sha256 != few_splits.sha256
    assert normalised.train is few_splits.train
    own = normalised.preprocess.apply(np.full((1, 1, 1, 1), 255, np.uint8))
    assert own.item() == pytest.approx((1 - 0.25) / 0.5)


def test_a_normalisation_that_the_user_gives_stays(few_splits: Splits) -> None:
    own = replace(few_splits.preprocess, mean=(0.5,))

    half = pretrained.normalised(replace(few_splits, preprocess=own), CARD, recipe.Data(mean=(0.5,)))
    whole = pretrained.normalised(few_splits, CARD, recipe.Data(mean=(0.5,), std=(0.5,)))

    assert (half.preprocess.mean, half.preprocess.std) == ((0.5,), (0.5,))
    assert whole is few_splits


@pytest.mark.parametrize(
    ("classes", "channels", "side", "problem"),
    [
        (("0", "1", "2"), 1, 28, "the data have 3 classes"),
        (("0", "1", "2", "cat"), 1, 28, "the data have a class 'cat'"),
        (("0", "1", "3", "2"), 1, 28, "the data have its classes in another order"),
        (FOUR, 3, 28, "the images have 3 channels"),
        (FOUR, 1, 32, "the images have 32 x 32 pixels, use --image-size 28"),
    ],
)
def test_data_that_the_weights_are_not_for_are_refused_with_the_difference(
    shelf: Path, few_splits: Splits, classes: tuple[str, ...], channels: int, side: int, problem: str
) -> None:
    shape = replace(few_splits.preprocess, channels=channels, height=side, width=side)

    with pytest.raises(UsageError) as caught:
        pretrained.find("wide_cnn", replace(few_splits, classes=classes, preprocess=shape), shelf)

    assert str(caught.value) == (
        f"--weights pretrained: no pretrained weights fit these data: {SHOWN}: {problem}\n"
        "  try: train it: --epochs 8 in place of --weights"
    )


def test_of_several_the_weights_for_these_classes_are_taken(shelf: Path, few_splits: Splits) -> None:
    clothes = replace(CARD, data="clothes", classes=CLASSES)
    pretrained.write(models.build("wide_cnn", 1, 10, 28, 28), clothes, shelf)
    folders = ("t-shirt_top", *(name.replace(" ", "_") for name in CLASSES[1:]))

    assert pretrained.find("wide_cnn", few_splits, shelf).data == "few-images"
    assert pretrained.find("wide_cnn", replace(few_splits, classes=CLASSES), shelf).data == "clothes"
    assert pretrained.find("wide_cnn", replace(few_splits, classes=folders), shelf).data == "clothes"


def test_a_model_without_weights_is_refused_with_those_there_are(shelf: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        pretrained.check("resnet8", shelf)
    assert str(caught.value) == (
        f"--weights pretrained: there are no pretrained weights of resnet8\n  try: there are {SHOWN}"
    )
    with pytest.raises(UsageError, match="try: train it: --epochs 8 in place of --weights"):
        pretrained.check("resnet8", tmp_path / "nothing")


def test_a_flipped_bit_in_the_weights_is_noticed(shelf: Path, trained: nn.Module) -> None:
    path = shelf / "wide_cnn-few-images.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)

    with pytest.raises(StepError, match=r"safetensors: is damaged: its SHA-256 is [0-9a-f]{12}…, and the card says"):
        pretrained.load(pretrained.cards(shelf)[0], trained, shelf)


def test_weights_that_are_gone_and_cards_that_are_damaged_are_told(shelf: Path) -> None:
    (card,) = pretrained.cards(shelf)
    (shelf / "wide_cnn-few-images.safetensors").unlink()

    with pytest.raises(StepError, match=r"few-images\.safetensors: cannot be read: No such file or directory"):
        pretrained.load(card, nn.Linear(1, 1), shelf)
    (shelf / "wide_cnn-few-images.json").write_text('{"model": 3}', encoding="utf-8")
    with pytest.raises(StepError, match=r"few-images\.json: is no card of weights: .*model: expected a string, got 3"):
        pretrained.cards(shelf)


def test_where_the_disk_is_full_no_card_promises_weights(tmp_path: Path, trained: nn.Module) -> None:
    with disk.small(1000), pytest.raises(StepError, match="cannot be written: File too large"):
        pretrained.write(trained, CARD, tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_every_card_that_comes_with_edgepack_is_of_weights_that_are_there() -> None:
    assert {card.stem for card in pretrained.cards()} == {"resnet8-cifar10", "resnet8-fashion-mnist"}
    for card in pretrained.cards():
        module = models.build(card.model, card.channels, len(card.classes), card.height, card.width)
        before = [value.clone() for value in module.parameters()]

        pretrained.load(card, module)

        assert not all(torch.equal(one, two) for one, two in zip(before, module.parameters(), strict=True))
        assert len(card.mean) == len(card.std) == card.channels
        assert 0.5 < card.accuracy < 1
        assert (pretrained.FOLDER / f"{card.stem}{weights.SAFETENSORS}").is_file()
