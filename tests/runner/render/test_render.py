"""What a person sees: exact tables, units that suit their column, and a reason for whatever is missing."""

from dataclasses import replace

import pytest

from runner import report
from runner.compare import compare
from runner.compare.comparison import Comparison, Limits, Margins
from runner.reason import Reason
from runner.render import device_page, report_page, units
from runner.render.comparison import comparison_page
from runner.render.page import WIDTH, Listing, Table, as_markdown, as_text
from runner.report import Accuracy, ArtifactReport
from tests import reports

REPORT = """\
net for x86

Example CPU, x86_64, 2 CPUs · 2 threads, batch 1, quick effort, 2026-11-01T12:00:00Z · bundle abababababab, 900 KiB

artifact                   size  ratio     top-1  agreement   latency  ratio     interval
─────────────────────────────────────────────────────────────────────────────────────────
fp32.onnx             200.0 KiB  1.00x  100.00 %   100.00 %  151.0 µs  1.00x  149.0–153.0
int8.onnx              60.0 KiB  0.30x   97.50 %    97.50 %   60.0 µs  0.40x    58.0–62.0
int8.torchscript [1]   90.0 KiB  0.45x         —          —         —      —            —

ratio: to fp32.onnx. agreement: with the fp32 model on the host, over 40 samples. latency: median of 5 process medians
and its 93.8 % interval.

artifact        p95  throughput   import     load   first
─────────────────────────────────────────────────────────
fp32.onnx  157.8 µs     6,623/s  90.0 ms  5.00 ms  453 µs
int8.onnx   62.7 µs    16,667/s  90.0 ms  5.00 ms  180 µs

artifact      right  top-1, interval    loss      SNR  as on host
─────────────────────────────────────────────────────────────────
fp32.onnx  40 of 40   91.19–100.00 %  0.1250        —   identical
int8.onnx  39 of 40    86.84–99.94 %  0.1844  31.5 dB   identical

artifact   peak memory
──────────────────────
fp32.onnx     48.0 MiB
int8.onnx     48.0 MiB

artifact   runtime                  processes  drifted  lag-1  effective n
──────────────────────────────────────────────────────────────────────────
fp32.onnx  onnxruntime 1.31.1, CPU  5, budget   0 of 5  -0.99          101
int8.onnx  onnxruntime 1.31.1, CPU  5, budget   0 of 5  -0.99          101

import, load, first inference: medians of 5 processes. top-1's interval: 95 %, exact (Clopper-Pearson). processes: how
many, and what ended them. drifted: those whose latency moved while it was timed; lag-1: how like its predecessor a
sample is; effective n: what the 101 samples of a process are worth if they were independent. p99 needs 299 samples in
each process.

Fastest with answers that hold: fp32.onnx

Notes
  [1] torch is not installed; try: pip install 'edgepack[torch]'

Valid.
"""  # noqa: RUF001 - a range is written with an en dash

COMPARISON = """\
net for x86: the device beside the host

        measured on                              with                       when                  status
────────────────────────────────────────────────────────────────────────────────────────────────────────
host    Example CPU, x86_64, 2 CPUs              2 threads, batch 1, quick  2026-11-01T12:00:00Z  valid
device  Raspberry Pi 5 Model B, aarch64, 4 CPUs  2 threads, batch 1, quick  2026-11-02T12:00:00Z  valid

artifact            size                top-1             loss  same answers  flips
───────────────────────────────────────────────────────────────────────────────────
fp32.onnx [1]  200.0 KiB  100.00 % → 100.00 %  0.1250 → 0.1250      100.00 %      0
int8.onnx [1]   60.0 KiB    97.50 % → 97.50 %  0.1844 → 0.1844      100.00 %      0

artifact       points        interval  lost  won  p  max-abs    verdict
───────────────────────────────────────────────────────────────────────
fp32.onnx [1]    0.00  -5.54 to +5.54     0    0  1        0  undecided
int8.onnx [1]    0.00  -5.54 to +5.54     0    0  1        0  undecided

artifact       latency, host    device  ratio     interval
──────────────────────────────────────────────────────────
fp32.onnx [1]       151.0 µs  301.0 µs  1.99x  1.95x–2.03x
int8.onnx [1]        60.0 µs  120.0 µs  2.00x  1.90x–2.10x

artifact                 load         first      peak memory
────────────────────────────────────────────────────────────
fp32.onnx [1]  5.00 → 5.00 ms  453 → 903 µs  48.0 → 48.0 MiB
int8.onnx [1]  5.00 → 5.00 ms  180 → 360 µs  48.0 → 48.0 MiB

points: top-1 of the device less the host's, each end of the interval a bound of 95 %; lost, won: samples right on one
side alone, p by McNemar's exact test; max-abs, least cosine, mean KL: between the logits; non-inferior: the whole
interval is above -1.00. ratio: device to host, with its interval of 99 % or more. Different devices: latency is
expected to differ, and no difference is called better or worse.

Notes
  [1] 40 samples cannot show that top-1 loses less than 1 point: at 1 % flips that takes about 619; try: a larger
      evaluation set
  int8.torchscript: not run on the host and device: torch is not installed; try: pip install 'edgepack[torch]'

verdict    artifact          limit                       found
──────────────────────────────────────────────────────────────────────────────────────────────────
violated   fp32.onnx         latency at most +5.00 %     +99.34 %, interval +89.10 % to +109.46 %
held       fp32.onnx         top-1 at most -6.00 points  0.00, interval -5.54 to +5.54
violated   int8.onnx         latency at most +5.00 %     +100.00 %, interval +84.78 % to +116.66 %
held       int8.onnx         top-1 at most -6.00 points  0.00, interval -5.54 to +5.54
undecided  int8.torchscript  latency at most +5.00 %     —
undecided  int8.torchscript  top-1 at most -6.00 points  —

Undecided
  int8.torchscript: not run on the host: torch is not installed; not run on the device: torch is not installed

Missed: 2 held, 2 violated, 2 undecided.
"""  # noqa: RUF001 - a range is written with an en dash

NARROW = 100
"""Of tables, in columns."""


def text(whole: report.Report) -> str:
    """Return a report as text."""
    return as_text(report_page(whole))


def test_a_report_is_a_table_beside_fp32_with_every_reason_below() -> None:
    assert text(reports.host()) == REPORT


def test_a_comparison_shows_both_sides_and_every_verdict() -> None:
    found = compare(reports.host(), reports.board(), Limits(max_slowdown=0.05, max_accuracy_drop=0.06))
    assert as_text(comparison_page(found)) == COMPARISON


def test_markdown_has_the_same_cells_and_the_fastest_in_bold() -> None:
    lines = as_markdown(report_page(reports.host())).splitlines()
    assert lines[0] == "### net for x86"
    assert lines[4].split(" | ")[:3] == ["| artifact            ", "     size", "ratio"]
    assert lines[5].startswith("| :------------------- | --------: | ----: | -------: |")
    assert lines[6].startswith("| **fp32.onnx**        | 200.0 KiB | 1.00x | 100.00 % |")
    assert lines[7].startswith("| int8.onnx            |  60.0 KiB | 0.30x |  97.50 % |")
    assert len({len(line) for line in lines[4:9]}) == 1
    assert "- [1] torch is not installed; try: pip install 'edgepack[torch]'" in lines


def test_markdown_marks_in_names_and_reasons_are_shown_as_they_are() -> None:
    table = Table(columns=("a|b",), rows=(("x*y<z`",),))
    assert as_markdown((table, "1 * 2")) == "| a\\|b      |\n| :-------- |\n| x\\*y\\<z\\` |\n\n1 \\* 2\n"


def test_the_widest_table_fits_its_width() -> None:
    accuracy = reports.accuracy((7,))
    noisy = tuple(
        Reason(code=code, level="caveat", detail="not steady in 3 of 5 processes; " * 6) for code in ("a", "b")
    )
    wide = replace(
        reports.artifact("int8.torchscript", size=46_900_000, medians_us=(15_612,) * 5),
        accuracy=replace(accuracy, top5=0.8908, losses=accuracy.losses),
        reasons=(noisy[0], replace(noisy[1], detail="another")),
    )
    fp32 = replace(
        reports.artifact("fp32.onnx", size=187_000_000, medians_us=(77_801,) * 5),
        accuracy=replace(accuracy, top5=0.8908),
    )
    lines = text(replace(reports.host(), artifacts=(fp32, wide), fastest=None)).splitlines()
    tables = [line for line in lines if line.startswith(("─", "artifact", "fp32.onnx", "int8."))]
    assert max(map(len, tables)) <= NARROW
    assert max(map(len, lines)) <= WIDTH
    assert lines[6].endswith("  77.80 ms  1.00x  77.80–77.80")  # noqa: RUF001 - a range is written with an en dash
    assert "int8.torchscript [1, 2]   44.7 MiB" in lines[7]
    assert any(line.startswith("      ") and "not steady" in line for line in lines)


def test_a_reason_that_two_artifacts_share_is_told_once() -> None:
    parts = tuple(
        reports.artifact(name, size=100, reasons=(reports.NOT_INSTALLED,))
        for name in ("fp32.torchscript", "int8.torchscript")
    )
    shown = text(replace(reports.host(), artifacts=parts, fastest=None))
    assert shown.count("torch is not installed") == 1
    assert "fp32.torchscript [1]" in shown
    assert "int8.torchscript [1]" in shown
    assert "Fastest: none. No artifact has both a latency and answers that hold." in shown


def test_without_an_fp32_artifact_there_are_no_ratios() -> None:
    whole = reports.host()
    shown = text(replace(whole, artifacts=whole.artifacts[1:2], fastest="int8.onnx"))
    assert "ratio" not in shown
    assert "Fastest with answers that hold: int8.onnx\n" in shown


def test_a_p95_that_too_few_samples_support_is_missing_with_its_reason() -> None:
    short = replace(reports.process(60_000), samples_ns=(60_000,) * 58)
    whole = reports.host()
    part = whole.artifacts[1]
    assert part.latency is not None
    shown = text(
        reports.with_artifact(whole, replace(part, latency=replace(part.latency, processes=(short,) * 5, p95_ns=None)))
    )
    assert "int8.onnx [1]" in shown
    assert "[1] p95 needs 59 samples in each process" in shown


@pytest.mark.parametrize(
    ("reasons", "complete", "last"),
    [
        (
            (Reason(code="virtual", level="caveat", detail="a virtual machine"),),
            True,
            "Valid, with caveats: see the notes.",
        ),
        ((Reason(code="emulated", level="invalid", detail="emulated"),), True, "Not valid: see the notes."),
        ((), False, "Interrupted before it was done. Valid."),
    ],
)
def test_the_last_line_says_what_the_figures_are_worth(reasons: tuple[Reason, ...], complete: bool, last: str) -> None:
    shown = text(replace(reports.host(), reasons=reasons, complete=complete))
    assert shown.splitlines()[-1] == last
    for reason in reasons:
        assert f"  {reason.level}: {reason.detail}\n" in shown


def test_a_host_report_says_how_long_its_steps_took() -> None:
    assert "Packed in 2.5 s before it was measured; longest: train 2.5 s.\n" in text(reports.complete())
    assert "1 flip" in text(reports.complete())


def test_titles_and_the_fastest_row_are_emphasised() -> None:
    shown = as_text(report_page(reports.host()), lambda line: f"<{line}>")
    emphasised = [line for line in shown.splitlines() if line.startswith("<")]
    assert [line.split()[0] for line in emphasised] == ["<net", "<fp32.onnx"]


def test_flips_are_listed_with_their_margins() -> None:
    host, device = reports.host(), reports.host()
    part = device.artifacts[1]
    answers: Accuracy = replace(
        reports.accuracy((1, *range(7, 20))), identical_to_host=False, max_abs_difference=0.5, flips=(reports.flip(),)
    )
    found = compare(host, reports.with_artifact(device, replace(part, accuracy=answers)), Limits())
    lines = as_text(comparison_page(found)).splitlines()
    head = lines.index("Flips")
    assert lines[head + 1] == "  int8.onnx: sample 1, label 1: 1 on the host by 0.25, 2 on the device by 0.5"
    assert lines[head + 2] == "  int8.onnx: sample 8, label 2: 2 on the host, 0 on the device"
    assert lines[head + 11] == "  int8.onnx: and 3 more, all in the output of --json"
    assert lines[-1] == "No limit was stated."


def flat(found: Comparison) -> str:
    """Return a comparison as text, its lines joined."""
    return " ".join(as_text(comparison_page(found)).split())


def test_devices_of_one_kind_get_a_verdict_in_the_table() -> None:
    shown = as_text(comparison_page(compare(reports.host(), reports.host(), Limits(), Margins(latency=0.05))))
    rows = [line.split("x  ")[-1].split("  ") for line in shown.splitlines() if "x  " in line]
    assert [[cell.strip() for cell in row if cell] for row in rows] == [
        ["equivalent", "+8.73 %", "—"],
        ["inconclusive", "+14.64 %", "--effort rigorous"],
    ]
    assert "a change of latency counts where its whole interval is beyond 5 %, the margin." in " ".join(shown.split())


def test_where_the_noise_floor_counts_its_source_is_told() -> None:
    measured = report.seal(replace(reports.host(), noise_floor=0.04))
    assert "beyond 4 %, the noise floor measured there." in flat(compare(reports.host(), measured, Limits()))
    shown = flat(compare(reports.host(), reports.host(), Limits()))
    assert "beyond 3 %, the noise floor that such machines may have." in shown
    assert (
        "[1] a difference of latency may hide in the noise floor of 3 %, which is above the margin of 2 %; "
        "try: bench-runner selftest, which measures the floor, or bench-runner ab, which needs none"
    ) in shown


def test_files_that_differ_show_both_sizes_and_no_list_of_flips() -> None:
    host = report.seal(replace(reports.host(), inputs_sha256="1" * 64))
    other = reports.artifact("int8.onnx", size=50 * reports.KIB, medians_us=(60, 61, 62, 59, 58), wrong=(1, 7))
    device = report.seal(replace(reports.with_artifact(host, other), bundle_id="cd" * 32))
    shown = flat(compare(host, device, Limits()))
    assert "60.0 → 50.0 KiB" in shown
    assert "two bundles: net abababababab on the host, net cdcdcdcdcdcd on the device" in shown
    assert "Flips" not in shown


def test_a_budget_is_shown_in_the_unit_of_the_latency() -> None:
    found = compare(reports.host(), reports.board(), Limits(max_latency_ns=121_000))
    lines = as_text(comparison_page(found)).splitlines()
    assert ("violated   fp32.onnx         latency at most 121.0 µs  301.0 µs, interval 298.0 µs to 303.0 µs") in lines
    assert lines[-1] == "Missed: 1 violated, 2 undecided."


def test_limits_of_which_some_are_undecided_are_not_called_passed() -> None:
    found = compare(reports.host(), reports.host(), Limits(max_slowdown=0.2))
    assert (
        as_text(comparison_page(found)).splitlines()[-1]
        == "Undecided: 2 held, 1 undecided. With --strict this would be exit code 1."
    )
    assert not found.violated


def test_sentences_are_broken_at_the_width_of_the_terminal() -> None:
    page = ("one two three four five", Listing(head="Notes", lines=("one two three four five",)))
    assert as_text(page, width=16) == "one two three\nfour five\n\nNotes\n  one two three\n      four five\n"


def test_a_caveat_of_one_side_is_told_with_its_side() -> None:
    caveat = Reason(code="virtual", level="caveat", detail="a virtual machine")
    device = report.seal(replace(reports.board(), reasons=(caveat,)))
    assert "  device: caveat: a virtual machine\n" in as_text(
        comparison_page(compare(reports.host(), device, Limits()))
    )


def test_a_machine_is_shown_with_what_it_can_run() -> None:
    lines = as_text(device_page(reports.device(), reports.state())).splitlines()
    assert lines[0] == "Example CPU, x86_64, 2 CPUs"
    assert "memory       8.00 GiB" in lines
    assert "temperature  —" in lines
    assert lines[-2:] == [
        "onnx         onnxruntime 1.31.1   AVX-512 VNNI",
        "torchscript  torch not installed  unknown",
    ]


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([45_120.0, 1_203_000.0], ["45.12 µs", "1203.00 µs"]),
        ([5_612_000.0, None], ["5.61 ms", "—"]),
        ([500.0], ["500 ns"]),
        ([4_000.0, 90_000_000.0], ["0.004 ms", "90.000 ms"]),
        ([2e9], ["2.000 s"]),
        ([], []),
    ],
)
def test_a_column_of_times_has_one_unit(values: list[float | None], shown: list[str]) -> None:
    scale = units.time_scale(values, resolution=0.002)
    assert [scale.show(value) for value in values] == shown


def test_sizes_ratios_and_shares_are_shown_in_their_units() -> None:
    assert units.size_scale([80 * 1024]).show(80 * 1024) == "80.0 KiB"
    assert units.size_scale([11_700_000]).show(11_700_000) == "11.2 MiB"
    assert units.size_scale([512]).show(512) == "512 B"
    assert (units.times(0.42), units.times(0.042), units.times(None)) == ("0.42x", "0.042x", "—")
    assert (units.percent(0.9135), units.percent(None)) == ("91.35 %", "—")
    assert (units.points(-0.0112), units.points(0.00001), units.points(0.01)) == ("-1.12", "0.00", "+1.00")
    assert (units.rate(6622.5), units.rate(12.34), units.rate(1.234)) == ("6,622/s", "12.3/s", "1.23/s")


def alike(name: str, medians_us: tuple[int, ...], size: int) -> ArtifactReport:
    """Return an artifact that answers as fp32.onnx does, and takes so long."""
    return reports.artifact(name, size=size * reports.KIB, medians_us=medians_us)


def test_what_is_not_told_apart_from_the_fastest_is_named_beside_it() -> None:
    parts = (
        alike("fp32.onnx", (150, 152, 151, 149, 153), 200),
        alike("int8.onnx", (60, 61, 62, 59, 58), 60),
        alike("pruned-int8.onnx", (62, 63, 64, 65, 66), 50),
        alike("fp16.onnx", (63, 64, 65, 66, 67), 100),
    )
    whole = replace(reports.host(), artifacts=parts, fastest="int8.onnx")
    assert (
        "Fastest with answers that hold: int8.onnx, 0.40x the latency of fp32.onnx; not told apart from it, for the "
        "intervals overlap: pruned-int8.onnx Valid."
    ) in " ".join(text(whole).split())
    apart = replace(whole, artifacts=(*parts[:2], parts[3]))
    assert "Fastest with answers that hold: int8.onnx, 0.40x the latency of fp32.onnx\n" in text(apart)


def test_of_a_run_that_is_void_no_artifact_is_called_the_fastest() -> None:
    throttled = Reason(code="throttled", level="invalid", detail="heat slows it down")
    shown = text(replace(reports.host(), reasons=(throttled,), fastest=None))
    assert "Fastest: none. No time of this run is valid.\n" in shown
