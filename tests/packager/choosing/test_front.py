"""The Pareto front, and which few of it are kept."""

import pytest

from packager.choosing.front import Figures, Rank, ranked


def figures(name: str, cost_us: float, size_kb: float, top1: float = 0.9) -> Figures:
    """Return the figures of an artifact."""
    return Figures(name=name, size_bytes=int(1000 * size_kb), top1=top1, cost_ns=1000 * cost_us)


REFERENCE = figures("fp32.onnx", 100, 400)
FAST = figures("int8.openvino", 20, 110)
SMALL = figures("int8.litert", 40, 90)
RIGHT = figures("fp32.openvino", 80, 400, 0.92)
BETWEEN = figures("int8-qoperator.onnx", 30, 100)


def kept(found: dict[str, Rank]) -> list[str]:
    """Return the names of those that are kept, in alphabetical order."""
    return sorted(name for name, rank in found.items() if rank.kept)


def test_the_fastest_the_smallest_and_the_most_accurate_are_kept_first() -> None:
    found = ranked((REFERENCE, BETWEEN, RIGHT, SMALL, FAST), 3, free="fp32.onnx")
    assert kept(found) == ["fp32.onnx", "fp32.openvino", "int8.litert", "int8.openvino"]
    assert {name: rank.why for name, rank in found.items()} == {
        "fp32.onnx": "the reference",
        "int8.openvino": "the fastest",
        "int8.litert": "the smallest",
        "fp32.openvino": "the most accurate",
        "int8-qoperator.onnx": "the next fastest that nothing is better than, beyond the 3 that are kept",
    }


def test_more_are_kept_in_the_order_of_their_speed_and_fewer_from_the_front() -> None:
    all_of_them = (REFERENCE, BETWEEN, RIGHT, SMALL, FAST)
    assert kept(ranked(all_of_them, 4, free="fp32.onnx")) == sorted(each.name for each in all_of_them)
    assert kept(ranked(all_of_them, 1, free="fp32.onnx")) == ["fp32.onnx", "int8.openvino"]


def test_what_another_is_as_good_as_in_everything_is_not_kept_however_many_may_be() -> None:
    slow = figures("int8.torchscript", 25, 115)
    found = ranked((REFERENCE, FAST, slow), 9, free="fp32.onnx")
    assert found["int8.torchscript"] == Rank(
        kept=False, why="int8.openvino is as fast, as small and as right, or better"
    )


@pytest.mark.parametrize(
    ("other", "stays"),
    [
        (figures("other.onnx", 20.3, 111), False),
        (figures("other.onnx", 19.8, 111), False),
        (figures("other.onnx", 20.3, 105), True),
        (figures("other.onnx", 20.3, 111, 0.9009), False),
        (figures("other.onnx", 20.3, 111, 0.902), True),
    ],
    ids=["slower by noise", "faster by noise", "smaller", "righter by nothing", "righter"],
)
def test_differences_of_nothing_do_not_count(other: Figures, stays: bool) -> None:
    found = ranked((REFERENCE, FAST, other), 9, free="fp32.onnx")
    survivors = set(kept(found)) - {"fp32.onnx"}
    assert survivors == ({"int8.openvino", "other.onnx"} if stays else {min(FAST, other, key=_cost).name})


def _cost(each: Figures) -> float:
    return each.cost_ns


def test_a_reference_that_is_best_is_told_so_and_takes_no_place_of_others() -> None:
    best = figures("fp32.onnx", 10, 50)
    found = ranked((best, FAST), 1, free="fp32.onnx")
    assert found["fp32.onnx"] == Rank(kept=True, why="the fastest and the smallest and the most accurate")
    assert not found["int8.openvino"].kept


def test_where_nothing_was_measured_nothing_is_ranked() -> None:
    assert ranked((), 3, free="fp32.onnx") == {}
