"""Steps of a schedule: what is gone before each and after it."""

import pytest

from packager import recipe
from packager.prune import Stage
from packager.prune.schedule import stages


def amounts(plan: recipe.Prune) -> list[float]:
    """Return what is gone after each step."""
    return [stage.amount for stage in stages(plan)]


@pytest.mark.parametrize("steps", [1, 5])
def test_one_shot_is_one_step_whatever_their_number(steps: int) -> None:
    plan = recipe.Prune(amount=0.3, schedule="one-shot", steps=steps)

    assert stages(plan) == (Stage(before=0.0, amount=0.3),)


def test_a_linear_schedule_takes_as_much_at_each_step() -> None:
    assert amounts(recipe.Prune(amount=0.8, schedule="linear", steps=4)) == pytest.approx([0.2, 0.4, 0.6, 0.8])


def test_a_cubic_schedule_takes_most_at_first() -> None:
    """Zhu and Gupta 2017, equation 1, with an initial sparsity of zero."""
    gone = amounts(recipe.Prune(amount=0.8, schedule="cubic", steps=4))

    assert gone == pytest.approx([0.8 * (1 - 0.75**3), 0.8 * (1 - 0.5**3), 0.8 * (1 - 0.25**3), 0.8])
    assert gone == pytest.approx([0.4625, 0.7, 0.7875, 0.8])


@pytest.mark.parametrize("schedule", ["linear", "cubic"])
def test_each_step_begins_where_the_last_ended_and_the_last_ends_exactly(schedule: recipe.PruneSchedule) -> None:
    steps = stages(recipe.Prune(amount=0.7, schedule=schedule, steps=3))

    assert [step.before for step in steps] == [0.0, steps[0].amount, steps[1].amount]
    assert steps[-1].amount == 0.7


def test_two_of_four_has_one_amount_and_one_step() -> None:
    plan = recipe.Prune(method="2:4", amount=0.9, schedule="linear", steps=5)

    assert stages(plan) == (Stage(before=0.0, amount=0.5),)
