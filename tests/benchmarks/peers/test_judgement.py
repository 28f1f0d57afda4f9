"""Ratios, the fastest peer that counts, and the goals: exact values of made-up records."""

import math
from collections.abc import Sequence

import pytest

from benchmarks.peers.contenders import FAMILIES
from benchmarks.peers.judgement import duel, geometric_mean, goals, standings
from benchmarks.peers.record import Entrant, Record, Round


def entrant(name: str, snr_db: float | None = 30.0) -> Entrant:
    return Entrant(name=name, version=f"{name} 1.0", snr_db=snr_db, agreement=1.0)


def record(
    medians: dict[str, Sequence[int]], *, family: str = "resnet18", batch: int = 1, noisy: str = "", failed: str = ""
) -> Record:
    """Return a record whose processes have these medians, round by round."""
    count = len(next(iter(medians.values())))
    entrants = tuple(entrant(name, 3.0 if name == noisy else 30.0) for name in medians)
    broken = (Entrant(name=failed, failed="it cannot"),) if failed else ()
    rounds = tuple(
        Round(samples_ns={name: (own[i] - 1, own[i], own[i] + 7) for name, own in medians.items()}, failed={})
        for i in range(count)
    )
    return Record(family=family, batch=batch, threads=2, device="a CPU", entrants=entrants + broken, rounds=rounds)


def whole(ratio_percent: int, batch: int, families: Sequence[str] = FAMILIES) -> list[Record]:
    return [
        record({"edgepack": [ratio_percent] * 5, "torch eager": [100] * 5}, family=family, batch=batch)
        for family in families
    ]


def test_the_ratio_is_that_of_the_rounds_pairs_with_its_exact_interval() -> None:
    found = duel(
        record({"edgepack": [90, 180, 91, 89, 92], "slow": [500] * 5, "torch eager": [100, 200, 100, 100, 100]})
    )
    assert found is not None
    assert found.peer.entrant.name == "torch eager"
    assert found.ratio == pytest.approx(0.9, abs=0.005)
    assert found.interval is not None
    assert found.interval.low == pytest.approx(0.89)
    assert found.interval.high == pytest.approx(0.92)
    assert found.interval.confidence == pytest.approx(1 - 2 / 2**5)


def test_too_few_rounds_give_a_ratio_and_no_interval() -> None:
    found = duel(record({"edgepack": [50, 50], "torch eager": [100, 100]}))
    assert found is not None
    assert found.ratio == pytest.approx(0.5)
    assert found.interval is None


def test_a_faster_peer_with_wrong_answers_is_named_and_not_counted() -> None:
    found = duel(record({"edgepack": [90] * 5, "torch eager": [100] * 5, "broken": [10] * 5}, noisy="broken"))
    assert found is not None
    assert found.peer.entrant.name == "torch eager"
    assert found.wrong == ("broken",)


def test_there_is_no_ratio_where_edgepack_answers_wrongly_or_has_no_figure() -> None:
    assert duel(record({"edgepack": [10] * 5, "torch eager": [100] * 5}, noisy="edgepack")) is None
    assert duel(record({"torch eager": [100] * 5}, failed="edgepack")) is None


def test_only_rounds_that_both_have_make_pairs() -> None:
    full = record({"edgepack": [90, 80], "torch eager": [100, 100]})
    lost = Round(samples_ns={"torch eager": (400,)}, failed={"edgepack": "died of SIGKILL"})
    found = duel(
        Record(
            **{f: getattr(full, f) for f in ("family", "batch", "threads", "device", "entrants")},
            rounds=(*full.rounds, lost),
        )
    )
    assert found is not None
    assert found.ratio == pytest.approx(math.sqrt(math.sqrt(0.9 * 0.8) ** 2))


def test_the_fastest_stands_first_and_who_failed_last() -> None:
    found = standings(record({"edgepack": [50] * 3, "torch eager": [40] * 3}, failed="lost"))
    assert [(each.entrant.name, each.median_ns) for each in found] == [
        ("torch eager", 40),
        ("edgepack", 50),
        ("lost", None),
    ]


def test_the_geometric_mean_of_two_and_a_half_is_one() -> None:
    assert geometric_mean([2.0, 0.5]) == pytest.approx(1.0)
    with pytest.raises(ValueError, match="no mean of 0 ratios"):
        geometric_mean([])


def test_all_goals_are_reached_where_every_ratio_is_small() -> None:
    found = goals([*whole(90, 1), *whole(100, 32)])
    assert [goal.reached for goal in found] == [True, True, True]
    assert [goal.found for goal in found] == [
        "largest 0.900; 14 of 14 families within",
        "0.900 over 14 families",
        "14 of 14 families",
    ]


def test_one_slow_family_misses_the_first_goal_alone_and_is_named() -> None:
    slow = record({"edgepack": [104] * 5, "torch eager": [100] * 5}, family=FAMILIES[-1])
    each, mean, _ = goals([*whole(90, 1, FAMILIES[:-1]), slow])
    assert each.reached is False
    assert each.found == f"largest 1.040; 13 of 14 families within; beyond: {FAMILIES[-1]} 1.04"
    assert mean.reached is True


def test_a_family_without_a_ratio_misses_both_goals_of_latency() -> None:
    lost = record({"torch eager": [100] * 5}, family=FAMILIES[-1], failed="edgepack")
    each, mean, _ = goals([*whole(90, 1, FAMILIES[:-1]), lost])
    assert (each.reached, mean.reached) == (False, False)
    assert each.found.endswith(f"beyond: {FAMILIES[-1]}: no ratio")


def test_some_families_alone_decide_nothing_that_the_others_could_change() -> None:
    assert [goal.reached for goal in goals(whole(90, 1, FAMILIES[:3]))] == [None, None, None]
    assert goals(whole(110, 1, FAMILIES[:3]))[0].reached is False
    assert goals(whole(90, 32, FAMILIES[:10]))[2].reached is True


def test_throughput_that_is_as_good_within_the_interval_is_told_and_not_counted() -> None:
    near = [
        record({"edgepack": [99, 101, 102, 103, 104], "torch eager": [100] * 5}, family=family, batch=32)
        for family in FAMILIES
    ]
    found = goals(near)[2]
    assert found.reached is False
    assert found.found == "0 of 14 families, 14 more where the interval allows it"
