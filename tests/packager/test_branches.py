"""What is made of which network: as the recipe lists it, and an fp32 file of each, by which they are compared."""

from dataclasses import replace
from pathlib import Path

import pytest
from torch import nn

import targets
from packager import recipe, recipe_file
from packager.branches import branches
from packager.data import Splits
from packager.network import Network
from tests import contexts

X86 = targets.load("x86")
ZEROS = recipe.Prune(method="l1", amount=0.5, fine_tune_epochs=0)
MORE_ZEROS = replace(ZEROS, amount=0.75)
INT8 = ("int8.torchscript",)


@pytest.fixture
def made(trained: nn.Module, few_splits: Splits, tmp_path: Path) -> "Made":
    """Return what lists the artifacts of a recipe."""
    return Made(trained, few_splits, tmp_path)


class Made:
    """Lists the artifacts of a recipe for a network that is trained."""

    def __init__(self, module: nn.Module, splits: Splits, folder: Path) -> None:
        self.network = Network(model=module, key="net")
        self.splits, self.folder = splits, folder

    def of(self, plan: recipe.Recipe) -> list[tuple[str, str]]:
        """Return names and titles."""
        found = branches(self.network, contexts.bench(self.splits, self.folder, plan))
        return [
            (each.context.artifact(candidate), each.context.title)
            for each in found
            for candidate in each.artifacts(X86)
        ]


def variant(
    name: str, prune: recipe.Prune | None, artifacts: tuple[str, ...] = INT8, title: str = ""
) -> recipe.Variant:
    """Return a variant that is quantized."""
    return recipe.Variant(name=name, title=title, artifacts=artifacts, prune=prune, quantize=recipe.Quantize())


def test_the_recipe_of_every_way_to_int8_has_the_rows_that_it_lists_and_fp32_of_what_is_pruned(made: Made) -> None:
    plan = recipe_file.load("resnet18-cifar10")
    # Of a small network, whose layers have other names.
    pruned = {each.name: replace(each.prune, fine_tune_epochs=0, keep=()) for each in plan.variants if each.prune}
    quick = replace(plan, variants=tuple(replace(each, prune=pruned.get(each.name)) for each in plan.variants))
    assert made.of(quick) == [
        ("fp32.onnx", ""),
        ("original-fp32.torchscript", "Original"),
        ("ptq-dynamic-int8.torchscript", "PTQ dynamic"),
        ("ptq-eager-int8.torchscript", "PTQ static (eager)"),
        ("ptq-fx-int8.torchscript", "PTQ static FX"),
        ("pruned-ptq-int8.torchscript", "pruned 50 % + PTQ static"),
        ("pruned-ptq-fp32.onnx", ""),
        ("qat-fx-int8.torchscript", "QAT"),
        ("pruned-qat-int8.torchscript", "pruned 50 % + QAT"),
        ("ptq-onnx-int8.onnx", "PTQ static, ONNX"),
        ("half-fp32.onnx", ""),
        ("half-int8.onnx", ""),
        ("half-int8.torchscript", ""),
    ]


def test_each_network_that_is_pruned_gets_one_fp32_file(made: Made) -> None:
    plan = recipe.Recipe(
        candidates=("fp32.onnx",),
        variants=(variant("a", ZEROS, title="A"), variant("b", MORE_ZEROS), variant("c", ZEROS)),
    )
    assert [name for name, _ in made.of(plan)] == [
        "fp32.onnx",
        "a-int8.torchscript",
        "a-fp32.onnx",
        "b-int8.torchscript",
        "b-fp32.onnx",
        "c-int8.torchscript",
    ]


def test_what_the_recipe_lists_itself_is_not_made_twice(made: Made) -> None:
    listed = variant("a", MORE_ZEROS, ("int8.onnx", "fp32.onnx"))
    plan = recipe.Recipe(candidates=("fp32.onnx",), prune=ZEROS, variants=(listed, variant("same", ZEROS)))
    assert [name for name, _ in made.of(plan)] == [
        "fp32.onnx",
        "unpruned-fp32.onnx",
        "a-int8.onnx",
        "a-fp32.onnx",
        "same-int8.torchscript",
    ]


def test_nothing_is_added_to_what_is_asked_for_of_the_recipes_own_network(made: Made) -> None:
    asked = recipe.Recipe(
        candidates=("int8.onnx",), quantize=recipe.Quantize(), variants=(variant("fx", None), variant("all", ZEROS, ()))
    )
    assert [name for name, _ in made.of(asked)] == [
        "int8.onnx",
        "fx-int8.torchscript",
        *(f"all-{candidate.name}" for candidate in X86.artifacts),
    ]
