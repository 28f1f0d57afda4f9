"""Two bundles that took turns: the second beside the first, on one machine, and no noise between sessions."""

from dataclasses import replace

from runner import report
from runner.compare import compare
from runner.compare.comparison import Comparison, Limits
from runner.measure import latency
from runner.measure.latency import Timings
from runner.render.comparison import comparison_page
from runner.render.page import as_markdown, as_text
from runner.report import Latency, Report, Scenario
from tests import reports


def turn(medians_us: tuple[int, ...]) -> Latency:
    """Return what processes of these medians measured, one in every round."""
    processes = tuple(replace(reports.process(1000 * each), turn=number) for number, each in enumerate(medians_us))
    found = latency.latency(Timings(scenario=Scenario(threads=2), processes=processes, stopped="budget"))
    assert found is not None
    return found


def side(medians_us: tuple[int, ...], wrong: tuple[int, ...] = (7,), interleaved: str = "one") -> Report:
    """Return the report of one of two bundles that took turns."""
    part = reports.artifact("int8.onnx", size=60 * reports.KIB, medians_us=(60,), wrong=wrong)
    artifacts = (replace(part, latency=turn(medians_us)), reports.host().artifacts[2])
    return report.seal(replace(reports.host(), artifacts=artifacts, interleaved=interleaved))


FIRST = (60, 61, 62, 59, 58, 60, 61, 60)
SLOWER = tuple(each + 6 for each in FIRST)


def page(found: Comparison) -> str:
    """Return a comparison as text, its lines joined."""
    return " ".join(as_text(comparison_page(found)).split())


def test_reports_that_took_turns_are_the_first_and_the_second() -> None:
    found = compare(side(FIRST), side(SLOWER, wrong=(1, 7)), Limits(max_slowdown=0.05, max_accuracy_drop=0.5))
    assert found.interleaved
    text = as_text(comparison_page(found))
    assert text.startswith("net for x86: the second beside the first, processes in turn\n")
    rows = [line.split("  ")[0] for line in text.splitlines()[4:6]]
    assert rows == ["first", "second"]
    assert "artifact       latency, first   second  ratio     interval  verdict" in text
    for word in ("host", "device", "noise floor", "selftest"):
        assert word not in text, word


def test_the_legend_says_that_processes_took_turns_and_names_the_margin_alone() -> None:
    text = page(compare(side(FIRST), side(SLOWER), Limits()))
    assert (
        "ratio: second to first, with its interval of 99 % or more. Processes of the two took turns, so that what "
        "disturbed the machine disturbed both: a change of latency counts where its whole interval is beyond the "
        "margin of 2 %. detectable: what would be found in 80 % of such measurements."
    ) in text
    assert "points: top-1 of the second less the first's" in text


def test_flips_of_one_file_are_told_of_the_first_and_the_second() -> None:
    found = compare(side(FIRST, wrong=()), side(FIRST, wrong=(7,)), Limits())
    assert "int8.onnx: sample 7, label 1: 1 in the first, 2 in the second" in page(found)


def test_what_was_not_run_is_missing_in_both() -> None:
    assert "int8.torchscript: not run in the first and second: torch is not installed" in page(
        compare(side(FIRST), side(FIRST), Limits())
    )


def test_what_is_withheld_is_told_of_the_first_and_the_second() -> None:
    whole = side(FIRST)
    part = replace(whole.artifacts[0], latency=None, reasons=(reports.NOT_INSTALLED,))
    found = compare(whole, reports.with_artifact(whole, part), Limits(max_latency_ns=1e6))
    assert "[1] no latency from the second: torch is not installed" in page(found)
    assert "int8.torchscript: no latency from the second: torch is not installed" in page(found)


def test_too_few_rounds_are_told_as_rounds() -> None:
    found = compare(side(FIRST[:5]), side(SLOWER[:6]), Limits())
    assert "no interval of the latency ratio: 5 rounds in which both ran cannot give one of 99 %" in page(found)


def test_sides_that_share_no_round_have_no_ratio_and_a_reason() -> None:
    first, second = side(FIRST[:2]), side(SLOWER[:2])
    part = second.artifacts[0]
    assert part.latency is not None
    later = tuple(replace(process, turn=process.turn + 2) for process in part.latency.processes)
    apart = reports.with_artifact(second, replace(part, latency=replace(part.latency, processes=later)))
    found = compare(first, apart, Limits())
    assert found.artifacts[0].latency is None
    assert "no interval of the latency ratio: 0 rounds in which both ran cannot give one of 99 %" in page(found)


def test_a_slowdown_in_turn_is_judged_without_a_floor_between_sessions() -> None:
    found = compare(side(FIRST), side(SLOWER), Limits(max_slowdown=0.1))
    (verdict,) = [each for each in found.verdicts if each.artifact == "int8.onnx"]
    assert verdict.judgement == "undecided"
    assert verdict.interval is not None
    assert "noise floor" not in verdict.interval.method
    assert verdict.detail == "the interval lies on both sides of the limit: measure with more effort"


def test_reports_of_two_sessions_are_host_and_device_again() -> None:
    found = compare(side(FIRST), side(FIRST, interleaved="another"), Limits())
    assert not found.interleaved
    assert as_markdown(comparison_page(found)).startswith("### net for x86: the device beside the host\n")
