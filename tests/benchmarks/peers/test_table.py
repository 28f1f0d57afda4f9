"""The page of a comparison: goals, ratios, all latencies, and who has no figure."""

from dataclasses import replace

import pytest

from benchmarks.peers.record import Round
from benchmarks.peers.table import page
from runner.render.page import Listing, Table
from tests.benchmarks.peers.test_judgement import record

RECORD = record(
    {"edgepack": [4_000_000] * 5, "torch eager": [5_000_000] * 5, "noisy": [1_000_000] * 5},
    noisy="noisy",
    failed="lost",
)


def test_each_family_has_its_ratio_its_choice_and_what_was_faster_and_wrong() -> None:
    table = page([RECORD])[2]
    assert isinstance(table, Table)
    assert table.rows == (
        (
            "resnet18",
            "edgepack 1.0",
            "torch eager (faster and wrong: noisy)",
            "4",
            "5",
            "0.800",
            "0.800 to 0.800 (93.8%)",
            "30",
            "30",
        ),
    )


def test_every_contender_has_a_row_with_its_latency_and_noise() -> None:
    table = page([RECORD])[3]
    assert isinstance(table, Table)
    assert table.columns == ("batch 1, ms (SNR, dB)", "resnet18")
    assert table.rows == (("edgepack", "4 (30)"), ("torch eager", "5 (30)"), ("noisy", "1 (3)"), ("lost", "—"))


def test_goals_that_need_more_families_are_not_judged() -> None:
    table = page([RECORD])[1]
    assert isinstance(table, Table)
    assert [row[2] for row in table.rows] == ["not judged: families are missing"] * 3


def test_who_failed_is_listed_with_the_reason() -> None:
    died = replace(RECORD, rounds=(*RECORD.rounds, Round(samples_ns={}, failed={"noisy": "died of SIGILL"})))
    assert page([died])[-1] == Listing(
        head="Without a figure:",
        lines=("resnet18, batch 1, lost: it cannot", "resnet18, batch 1, noisy in round 6: died of SIGILL"),
    )


def test_there_is_no_page_of_nothing() -> None:
    with pytest.raises(ValueError, match="no page of 0 records"):
        page([])
