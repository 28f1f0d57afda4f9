"""How much of their right answers artifacts may lose and still be chosen."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from torch import nn

from packager import prepared, recipe
from packager.artifacts import Built
from packager.check import Logits
from packager.choosing import holding
from packager.data import Splits
from packager.making import Made
from packager.network import Network
from packager.origin import Origin
from packager.prepared import Prepared
from runner.manifest import Precision
from runner.measure.answers import Answers
from runner.report import RuntimeFacts
from tests import bundles, contexts

RUNTIME = RuntimeFacts(name="onnx", version="1", provider="CPU", device="cpu", engine=None, threads=1)


@pytest.fixture
def shared(trained: nn.Module, few_splits: Splits, tmp_path: Path) -> Prepared:
    """The network that learned a hundred images."""
    bench = contexts.bench(few_splits, tmp_path)
    return prepared.prepare(Origin(name="net", trained=Network(model=trained, key="net"), bench=bench), tmp_path)


def worse(shared: Prepared, points: int) -> Logits:
    """Return the network's answers, of which so many of a hundred that were right are wrong."""
    labels, logits = shared.evaluation.questions.labels, shared.branches[0].reference.copy()
    assert len(labels) == 100
    right = np.flatnonzero(logits.argmax(axis=1) == labels)[:points]
    logits[right, labels[right]] = -1e3
    return logits


def made(precision: Precision, logits: Logits) -> Made:
    """Return an artifact that has given these answers."""
    built = Built(artifact=bundles.artifact(precision), file=Path("none"), cached=False)
    return Made(built=built, given=Answers(logits=logits, runtime=RUNTIME), record=None)


def refused(
    shared: Prepared, precision: Precision, points: int, *, max_drop: float | None, pruning: int = 0
) -> dict[str, str]:
    """Return what is said of an artifact that lost so many points, of a network that lost some by pruning."""
    budget = None if max_drop is None else recipe.Budget(max_drop=max_drop)
    bench = replace(shared.bench, recipe=replace(shared.bench.recipe, budget=budget))
    branch = replace(shared.branches[0], reference=worse(shared, pruning))
    return holding.refused([made(precision, worse(shared, points))], replace(shared, bench=bench, branches=(branch,)))


@pytest.mark.parametrize(
    ("max_drop", "most"),
    [(None, "1 point"), (0.5, "0.5 points"), (1.99, "1.99 points")],
    ids=["none", "stricter", "looser"],
)
def test_integers_may_lose_what_the_budget_says_and_a_point_without_one(
    shared: Prepared, max_drop: float | None, most: str
) -> None:
    assert refused(shared, "int8", 2, max_drop=max_drop) == {
        "int8.onnx": f"2.00 points of top-1 lost, at most {most} may be"
    }
    assert refused(shared, "int8", 0, max_drop=max_drop) == {}


def test_a_looser_budget_lets_more_be_lost_than_a_point_and_a_stricter_one_less(shared: Prepared) -> None:
    assert refused(shared, "int8", 2, max_drop=2.0) == {}
    assert refused(shared, "int8-weights", 3, max_drop=3.0) == {}
    assert refused(shared, "int8", 1, max_drop=None) == {}
    assert refused(shared, "int8", 1, max_drop=0.9) != {}


def test_half_precision_has_no_budget(shared: Prepared) -> None:
    assert refused(shared, "fp16", 1, max_drop=0.5) == {}
    assert refused(shared, "fp16", 2, max_drop=5.0) == {
        "fp16.onnx": "2.00 points of top-1 lost, at most 1 point may be"
    }


def test_a_budget_counts_what_pruning_has_cost_and_without_one_integers_are_held_against_the_pruned_network(
    shared: Prepared,
) -> None:
    assert refused(shared, "int8", 4, max_drop=None, pruning=3) == {}
    assert refused(shared, "int8", 4, max_drop=2.0, pruning=3) == {
        "int8.onnx": "4.00 points of top-1 lost, at most 2 points may be"
    }
