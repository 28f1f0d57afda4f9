"""Answers paired by sample: flips, tests, intervals, and how many samples it would take."""

from dataclasses import replace

import pytest
from scipy import stats as reference

from runner.compare import compare
from runner.compare.comparison import AnswerFlip, Answers, Distance, Margins
from runner.reason import Reason
from tests import reports
from tests.runner.compare.pairs import NO_LIMITS, device_with, many


def test_answers_are_compared_sample_by_sample() -> None:
    found = compare(reports.host(), device_with((60, 61, 62, 59, 58), wrong=(8, 10, 12)), NO_LIMITS)
    answers = found.artifacts[1].answers
    assert answers is not None
    assert (answers.samples, answers.agreement) == (40, 0.9)
    assert (answers.right_to_wrong, answers.wrong_to_right) == (3, 1)
    assert [flip.sample for flip in answers.flips] == [7, 8, 10, 12]
    assert answers.flips[0] == AnswerFlip(sample=7, label=1, host=2, device=1, host_margin=None, device_margin=None)
    assert answers.accuracy_drop == 0.05


def test_a_flip_carries_its_margins_where_the_device_listed_it() -> None:
    device = device_with((60, 61, 62, 59, 58), wrong=(1, 7))
    part = device.artifacts[1]
    assert part.accuracy is not None
    listed = replace(part.accuracy, identical_to_host=False, max_abs_difference=0.5, flips=(reports.flip(),))
    found = compare(reports.host(), reports.with_artifact(device, replace(part, accuracy=listed)), NO_LIMITS)
    answers = found.artifacts[1].answers
    assert answers is not None
    assert answers.flips == (AnswerFlip(sample=1, label=1, host=1, device=2, host_margin=0.25, device_margin=0.5),)


def answers(b: int, c: int, samples: int, accuracy: float = 0.01) -> Answers:
    """Return what is said of so many samples lost and won."""
    found = compare(*many(b, c, samples), NO_LIMITS, Margins(accuracy=accuracy)).artifacts[0].answers
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("b", "c", "samples", "word", "differs", "needed"),
    [
        (0, 0, 2000, "non-inferior", False, None),
        (12, 8, 2000, "non-inferior", False, None),
        (0, 40, 2000, "non-inferior", True, None),
        (60, 5, 2000, "inferior", True, None),
        (0, 0, 40, "undecided", False, 619),
        (12, 8, 1000, "undecided", False, 1237),
        (30, 20, 1000, "undecided", False, 3092),
        (25, 5, 2000, "undecided", True, None),
    ],
)
def test_accuracy_is_judged_by_the_interval_of_the_paired_difference(
    b: int, c: int, samples: int, word: str, differs: bool, needed: int | None
) -> None:
    found = answers(b, c, samples)
    assert (found.word, found.differs, found.samples_needed) == (word, differs, needed)
    assert found.p_value == pytest.approx(reference.binomtest(b, b + c).pvalue if b + c else 1.0)
    assert found.interval.confidence == 0.9


def test_the_margin_of_accuracy_is_the_users() -> None:
    assert answers(12, 8, 1000).word == "undecided"
    assert answers(12, 8, 1000, accuracy=0.02).word == "non-inferior"
    nothing = answers(12, 8, 1000, accuracy=0.0)
    assert (nothing.word, nothing.samples_needed) == ("undecided", None)


def test_too_few_samples_for_a_word_are_told_with_how_many_it_takes() -> None:
    found = compare(*many(3, 1, 200), NO_LIMITS).artifacts[0]
    assert found.unsettled == (
        Reason(
            code="few-samples",
            level="note",
            detail="200 samples cannot show that top-1 loses less than 1 point: at 2 % flips that takes about 1,237; "
            "and 4 discordant samples never show a difference at p < 0.01, 8 may",
            advice="a larger evaluation set",
        ),
    )


def test_the_distance_of_outputs_is_told_where_one_side_has_the_packing_hosts_own() -> None:
    def distance(host_own: bool, device_own: bool) -> Distance | None:
        sides = []
        for whole, own, apart in ((reports.host(), host_own, 0.25), (reports.board(), device_own, 0.5)):
            part = whole.artifacts[1]
            assert part.accuracy is not None
            record = replace(
                part.accuracy,
                identical_to_host=own,
                max_abs_difference=0.0 if own else apart,
                least_cosine=1.0 if own else 1 - apart,
                kl_nats=0.0 if own else apart / 8,
            )
            sides.append(reports.with_artifact(whole, replace(part, accuracy=record)))
        found = compare(sides[0], sides[1], NO_LIMITS).artifacts[1].answers
        assert found is not None
        return found.distance

    assert [distance(a, b) for a, b in [(True, True), (True, False), (False, True), (False, False)]] == [
        Distance(max_abs=0.0, least_cosine=1.0, kl_nats=0.0),
        Distance(max_abs=0.5, least_cosine=0.5, kl_nats=0.0625),
        Distance(max_abs=0.25, least_cosine=0.75, kl_nats=0.03125),
        None,
    ]
