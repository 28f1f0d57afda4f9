"""What is told of layers: of every network that is asked about, and never at the cost of the bundle."""

from dataclasses import replace
from pathlib import Path

import pytest
from torch import nn

import targets
from packager import making, prepared, recipe
from packager.data import Splits
from packager.network import Network
from packager.origin import Origin
from runner.packing import LayerDamage
from runner.progress import Silent
from tests import contexts

ASKED = recipe.Quantize(sensitivity=True)
HOPELESS = replace(ASKED, keep_fp32=("*",))
"""Nothing is left that could be quantized."""


class Told(Silent):
    """Keeps the lines that stay."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, message: str) -> None:
        """Keep one line."""
        self.lines.append(" ".join(message.split()))


@pytest.fixture
def told() -> Told:
    """Return what keeps the lines of one test."""
    return Told()


def damages(
    own: recipe.Quantize | None, other: recipe.Quantize, trained: nn.Module, splits: Splits, folder: Path, told: Told
) -> tuple[LayerDamage, ...]:
    """Ask about a network as a recipe and as its variant quantizes it."""
    plan = recipe.Recipe(quantize=own, variants=(recipe.Variant(name="other", artifacts=(), quantize=other),))
    bench = contexts.bench(splits, folder, plan, told)
    start = Origin(name="net", trained=Network(model=trained, key="net"), bench=bench)
    shared = prepared.prepare(start, folder)
    told.lines.clear()
    return making.damages(targets.load("x86"), shared)


def test_layers_are_ranked_where_a_variant_alone_asks_for_it(
    trained: nn.Module, few_splits: Splits, tmp_path: Path, told: Told
) -> None:
    found = damages(recipe.Quantize(), ASKED, trained, few_splits, tmp_path, told)
    (line,) = told.lines
    assert len(found) > 1
    assert line.startswith("x86: other-sensitivity ")
    assert line.endswith(f" s {len(found)} layers, the worst {found[0].layer}")


def test_each_network_is_asked_about_and_the_recipes_own_is_shown(
    trained: nn.Module, few_splits: Splits, tmp_path: Path, told: Told
) -> None:
    own = damages(ASKED, recipe.Quantize(), trained, few_splits, tmp_path, told)
    fewer = replace(ASKED, keep_fp32=(own[0].layer,))
    assert damages(ASKED, fewer, trained, few_splits, tmp_path, told) == own
    assert [line.split()[:2] for line in told.lines] == [["x86:", "sensitivity"], ["x86:", "other-sensitivity"]]
    assert f"{len(own)} layers, the worst {own[0].layer}" in told.lines[0]
    assert f"{len(own) - 1} layers, the worst {own[1].layer}" in told.lines[1]


def test_layers_that_cannot_be_ranked_are_told_and_the_next_network_is_asked(
    trained: nn.Module, few_splits: Splits, tmp_path: Path, told: Told
) -> None:
    found = damages(HOPELESS, ASKED, trained, few_splits, tmp_path, told)
    assert len(found) > 1
    assert told.lines[0] == "x86: sensitivity left out every layer stays in fp32"
    assert told.lines[1].startswith("x86: other-sensitivity ")
    assert damages(HOPELESS, recipe.Quantize(), trained, few_splits, tmp_path, told) == ()
    assert told.lines == ["x86: sensitivity left out every layer stays in fp32"]


def test_who_does_not_ask_is_not_kept_waiting(
    trained: nn.Module, few_splits: Splits, tmp_path: Path, told: Told
) -> None:
    assert damages(None, recipe.Quantize(), trained, few_splits, tmp_path, told) == ()
    assert told.lines == []
