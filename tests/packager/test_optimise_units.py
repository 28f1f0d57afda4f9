"""What of a network is in int8 or in fp32 as a whole, by the graph of a small network that is known."""

import pytest
import torch

from packager.export import onnx as onnx_export
from packager.optimise.evidence import Evidence, by_unit
from packager.optimise.proposals import Proposal, Space, starts, steps
from packager.optimise.units import Division, Unit, blocks, divided, kinds, products, units
from packager.quantize.onnx_graph import layers, prepared
from packager.recipe import Assignment
from runner.errors import StepError
from runner.operators import OperatorTime
from tests.packager.squeeze_excite import net


@pytest.fixture(scope="module")
def found() -> tuple[Unit, ...]:
    return units(prepared(onnx_export.export(net(), torch.zeros(1, 1, 28, 28), 20).content))


def named(found: tuple[Unit, ...], kind: str) -> list[str]:
    return [unit.layer for unit in found if unit.kind == kind]


def test_convolutions_are_told_apart_and_an_activation_goes_with_its_layer(found: tuple[Unit, ...]) -> None:
    assert named(found, "Conv") == ["stem"]
    assert named(found, "depthwise Conv") == ["depthwise"]
    assert named(found, "pointwise Conv") == ["excite.reduce", "excite.expand"]
    assert [len(unit.nodes) for unit in found if unit.layer == "excite.reduce"] == [2]
    assert "Relu" not in kinds(found)
    assert {unit.layer for unit in found if unit.name in products(found)} == {
        "stem",
        "depthwise",
        "excite.reduce",
        "excite.expand",
        "linear",
    }


def test_what_has_no_weights_belongs_to_the_layer_before_it(found: tuple[Unit, ...]) -> None:
    assert named(found, "Concat") == ["stem"]
    parts = blocks(found)
    assert set(parts) == {"stem", "depthwise", "excite", "linear"}
    assert {unit.layer for unit in found if unit.name in parts["excite"]} == {"excite.reduce", "excite.expand"}


def test_nodes_that_are_kept_are_no_units() -> None:
    model = prepared(onnx_export.export(net(), torch.zeros(1, 1, 28, 28), 20).content)
    stem = next(layer.node for layer in layers(model) if layer.name == "stem")
    assert stem not in {node for unit in units(model, [stem]) for node in unit.nodes}


def test_a_division_and_its_nodes_stand_for_each_other(found: tuple[Unit, ...]) -> None:
    division = Division(operators="qoperator", fp32=frozenset(kinds(found)["pointwise Conv"]))
    assignment = division.assignment(found)
    assert len(assignment.fp32) == 3
    assert divided(found, assignment) == division
    everything = frozenset(unit.name for unit in found)
    assert Division(operators="qdq", fp32=everything).assignment(found) == Assignment(fp32=("*",))
    assert divided(found, Assignment(fp32=("*",))).fp32 == everything


def test_a_node_that_there_is_not_is_told_with_the_nearest(found: tuple[Unit, ...]) -> None:
    with pytest.raises(StepError) as error:
        divided(found, Assignment(fp32=(f"{found[0].name}x",)))
    assert str(error.value) == (
        f"optimise.found: '{found[0].name}x' names no node that can be in int8\n  try: did you mean {found[0].name!r}?"
    )


def took(name: str, microseconds: float) -> OperatorTime:
    return OperatorTime(name=name, op_type="any", calls=1, mean_ns=1000 * microseconds, share=0)


def test_a_profile_is_told_by_unit_whatever_the_runtime_has_made_of_the_names(found: tuple[Unit, ...]) -> None:
    first, second = found[:2]
    profile = [
        took(f"{first.nodes[0]}_quant_token_12", 10),
        took(f"{first.tensors[-1]}_QuantizeLinear_1", 5),
        took(f"{second.tensors[-1]}_nchwc", 45),
        took("ReorderInput", 6),
    ]
    times = by_unit(profile, found)
    assert {name: round(spent) for name, spent in times.items() if spent} == {first.name: 16_500, second.name: 49_500}
    assert set(by_unit([], found).values()) == {0}


def space(found: tuple[Unit, ...], **slower: float) -> Space:
    """Return a space whose evidence says that these kinds take so many more microseconds in int8."""
    int8 = {unit.name: 50_000 + 1000 * slower.get(unit.kind.replace(" ", "_"), -20.0) for unit in found}
    return Space(
        units=found,
        forms=("qdq", "qoperator"),
        evidence=Evidence(int8_ns=int8, fp32_ns={unit.name: 50_000 for unit in found}),
    )


def test_a_search_starts_with_all_in_int8_what_the_profile_says_and_the_products_alone(
    found: tuple[Unit, ...],
) -> None:
    group = kinds(found)
    proposals = list(starts(space(found, Mul=30)))
    assert [each.what for each in proposals] == [
        "all in int8",
        "all in int8, qoperator",
        "in fp32 what is faster so by the profile",
        "in fp32 what is faster so by the profile, qoperator",
        "the products alone in int8",
    ]
    assert [each.division.fp32 for each in proposals[:3]] == [frozenset(), frozenset(), group["Mul"]]
    assert proposals[4].division.fp32 == space(found).everything - products(found)


def first(proposals: list[Proposal], count: int) -> list[str]:
    return [each.what for each in proposals[:count]]


def test_steps_are_ranked_by_what_the_profile_says_of_them(found: tuple[Unit, ...]) -> None:
    known = space(found, Mul=90, Concat=30, depthwise_Conv=60)
    proposals = list(steps(known, known.int8))
    assert first(proposals, 3) == ["Mul in fp32", "depthwise Conv in fp32", "Concat in fp32"]
    assert "depthwise (depthwise Conv) in fp32" in [each.what for each in proposals]
    assert not [each for each in proposals if each.what.endswith("in int8")]
    assert len({each.what for each in proposals}) == len(proposals)
    forward = [each.what for each in steps(known, known.fp32)]
    assert "all of linear in int8" in forward
    assert not [what for what in forward if what.endswith("in fp32")]


def test_what_moves_less_than_chance_is_not_tried(found: tuple[Unit, ...]) -> None:
    alike = {unit.kind.replace(" ", "_"): 0.01 for unit in found}
    known = space(found, **alike)
    assert list(steps(known, known.int8)) == []
