"""A round: fresh processes of all, one after the other in an order of its own, and nobody runs beside who is timed."""

import itertools
from dataclasses import replace

import pytest

from benchmarks.peers.contenders import Contender
from benchmarks.peers.rounds import Plan, run_round
from tests.benchmarks.peers.talkers import Script, Talker

NAMES = ("a", "b", "c")
CONTENDERS = tuple(Contender(name=name, environment="torch", module=name) for name in NAMES)
PLAN = Plan(passes=3, timed_s=0.3)


class Stage:
    """Starts scripted contenders, and keeps what happened."""

    def __init__(self, **scripts: Script) -> None:
        self.scripts = scripts
        self.told: list[str] = []

    def start(self, contender: Contender) -> Talker:
        self.told.append(f"{contender.name} start")
        return Talker(name=contender.name, script=self.scripts.get(contender.name, Script()), told=self.told)


def blocks(told: list[str]) -> list[str]:
    """Return who was timed, in turn, the warm-ups after loading left out."""
    return [line.split()[0] for before, line in itertools.pairwise(told) if "resume" in before]


def test_every_contender_is_timed_once_in_every_pass_and_all_blocks_are_kept() -> None:
    stage = Stage(a=Script(call_ns=10), b=Script(call_ns=20), c=Script(call_ns=30))
    found = run_round(CONTENDERS, stage.start, PLAN, 0)
    assert found.samples_ns == {"a": (10, 12) * 3, "b": (20, 22) * 3, "c": (30, 32) * 3}
    assert found.failed == {}
    turns = blocks(stage.told)
    assert [sorted(turns[at : at + 3]) for at in (0, 3, 6)] == [list(NAMES)] * 3


def test_the_order_is_another_in_another_round_and_the_same_again_for_the_same() -> None:
    orders = []
    for number in (0, 1, 2, 0):
        stage = Stage()
        run_round(CONTENDERS, stage.start, PLAN, number)
        orders.append(blocks(stage.told))
    assert orders[0] == orders[3]
    assert len({tuple(order) for order in orders}) == 3


def test_all_but_the_one_that_is_timed_stand_still() -> None:
    stage = Stage()
    run_round(CONTENDERS, stage.start, PLAN, 0)
    running: set[str] = set()
    for line in stage.told:
        name, what = line.split()
        if what in ("start", "resume"):
            running.add(name)
        if what == "time":
            assert running == {name}
        if what in ("pause", "end"):
            running.discard(name)
    assert running == set()


def test_with_one_pass_one_process_lives_at_a_time() -> None:
    stage = Stage()
    run_round(CONTENDERS, stage.start, replace(PLAN, passes=1), 0)
    living = 0
    for line in stage.told:
        living += line.endswith("start") - line.endswith("end")
        assert living <= 1
    assert len(blocks(stage.told)) == 3


@pytest.mark.parametrize("request_name", ["load", "time"])
def test_who_fails_is_told_with_the_reason_and_the_others_go_on(request_name: str) -> None:
    stage = Stage(b=Script(fails_to=request_name))
    found = run_round(CONTENDERS, stage.start, PLAN, 0)
    assert found.failed == {"b": f"cannot {request_name} within 900 s"}
    assert sorted(found.samples_ns) == ["a", "c"]
    assert sum(line == "b end" for line in stage.told) == 1
