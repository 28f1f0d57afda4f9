"""The one table of several boards, word for word."""

from dataclasses import replace

from packager.explain import Divergence, Layer, LayerDifference
from packager.remote.page import fleet_page
from packager.remote.result import BoardResult, Failure
from runner import report
from runner.compare import compare
from runner.compare.comparison import Limits, Margins
from runner.reason import Reason
from runner.render.page import Table, as_markdown, as_text
from runner.report import Report
from tests import reports
from tests.runner.compare import pairs

LIMITS = Limits(max_slowdown=1.5)
OFF = BoardResult(
    name="off",
    attempts=3,
    duration_s=1.0,
    failure=Failure(what="not reached: refused", advice="see that it is on", exit_code=5),
    exit_code=5,
)
WHOLE = """\
net for x86 on 3 boards

board  artifact               latency  x host     top-1  points  flips     logits   status
──────────────────────────────────────────────────────────────────────────────────────────
host   fp32.onnx             151.0 µs       —  100.00 %       —      —          —        —
host   int8.onnx              60.0 µs       —   97.50 %       —      —          —        —
host   int8.torchscript             —       —         —       —      —          —        —
pi5    fp32.onnx [1]         301.0 µs   1.99x  100.00 %    0.00      0  identical    valid
pi5    int8.onnx [1]         120.0 µs   2.00x   97.50 %    0.00      0  identical    valid
pi5    int8.torchscript [2]         —       —         —       —      —          —  not run
pi4    fp32.onnx [3]         604.0 µs   4.00x   97.50 %   -2.50      1  identical    valid
pi4    int8.onnx [1]         120.0 µs   2.00x   97.50 %    0.00      0  identical    valid
pi4    int8.torchscript [2]         —       —         —       —      —          —  not run
off    —                            —       —         —       —      —          —   failed

Failed
  off: not reached: refused (3 attempts)
  off: try: see that it is on

Flips
  pi4: fp32.onnx: sample 3, label 0: 0 on the host, 1 on the device

First layer that diverges
  pi4: none: every logit of every artifact that ran is the host's own

Notes
  [1] 40 samples cannot show that top-1 loses less than 1 point: at 1 % flips that takes about 619; try: a larger
      evaluation set
  [2] torch is not installed; try: pip install 'edgepack[torch]'
  [3] 40 samples cannot show that top-1 loses less than 1 point: at 2.5 % flips that takes about 1,546; and 1 discordant
      samples never show a difference at p < 0.01, 8 may; try: a larger evaluation set

"""
WITHOUT_HOST = """\
net for x86 on 2 boards

board  artifact              latency     top-1     logits   status
──────────────────────────────────────────────────────────────────
pi5    fp32.onnx              301 µs  100.00 %  identical    valid
pi5    int8.onnx              120 µs   97.50 %  identical    valid
pi5    int8.torchscript [1]        —         —          —  not run
off    —                           —         —          —   failed

Failed
  off: not reached: refused (3 attempts)
  off: try: see that it is on

Notes
  [1] torch is not installed; try: pip install 'edgepack[torch]'
"""


def done(name: str, found: Report, limits: Limits = LIMITS) -> BoardResult:
    return BoardResult(
        name=name, attempts=1, duration_s=1.0, report=found, comparison=compare(reports.host(), found, limits)
    )


def wrong_and_slow() -> Report:
    medians = (600, 606, 604, 598, 611)
    part = reports.artifact("fp32.onnx", size=200 * reports.KIB, medians_us=medians, wrong=(3,))
    return reports.with_artifact(reports.board(), part)


def test_the_table_has_the_host_first_and_every_board_after_it() -> None:
    four = replace(done("pi4", wrong_and_slow()), divergences=())
    page = as_text(fleet_page([done("pi5", reports.board()), four, OFF], reports.host(), "net for x86"))
    assert page[: len(WHOLE)] == WHOLE
    head, _, *verdicts = page[len(WHOLE) :].splitlines()
    assert head.split() == ["verdict", "board", "artifact", "limit", "found"]
    rows = [line.split() for line in verdicts]
    assert [row[:3] for row in rows] == [
        ["held", "pi5", "fp32.onnx"],
        ["held", "pi5", "int8.onnx"],
        ["undecided", "pi5", "int8.torchscript"],
        ["violated", "pi4", "fp32.onnx"],
        ["held", "pi4", "int8.onnx"],
        ["undecided", "pi4", "int8.torchscript"],
    ]


def test_without_a_host_report_nothing_is_held_against_anything() -> None:
    five = replace(done("pi5", reports.board()), comparison=None)
    assert as_text(fleet_page([five, OFF], None, "net for x86")) == WITHOUT_HOST


def test_where_nobody_came_back_the_failures_are_the_page() -> None:
    once = replace(OFF, attempts=1, failure=Failure(what="x", advice="", exit_code=5))
    assert as_text(fleet_page([once], None, "net")) == (
        "net on 1 board\n\nboard  status\n─────────────\noff    failed\n\nFailed\n  off: x\n"
    )


def test_the_page_is_one_of_markdown_too() -> None:
    text = as_markdown(fleet_page([done("pi5", reports.board()), OFF], reports.host(), "net for x86"))
    assert text.startswith("### net for x86 on 2 boards\n\n| board | artifact ")
    assert "| pi5   | fp32.onnx [1]        | 301.0 µs |  1.99x |" in text


def difference(name: str, differing: int) -> LayerDifference:
    return LayerDifference(
        layer=Layer(name=name, operator="QLinearConv"),
        values=64,
        differing=differing,
        integer=True,
        largest=float(differing > 0),
        relative=0.01,
        diverges=differing > 0,
    )


def test_the_first_layer_that_diverges_is_named_for_each_board_and_artifact() -> None:
    found = Divergence(
        artifact="int8.onnx",
        sample=3,
        layers=(difference("conv1", 0), difference("conv2", 2)),
        logits=difference("logits", 1),
        tolerance=1e-5,
        host_disturbed=0.0,
        device_disturbed=0.0,
    )
    five = replace(done("pi5", reports.board()), divergences=(found,))
    page = " ".join(as_text(fleet_page([five], reports.host(), "net for x86")).split())
    told = "layer 1 is identical; the first that diverges is conv2 (QLinearConv): 2 of 64 values differ by 1 step."
    assert f"First layer that diverges pi5: int8.onnx: {told}" in page
    assert "pi5: int8.onnx, sample 3: the host and the device, layer by layer" in page


TWO_SECONDS = (2_000_000,) * 5
"""In microseconds, where the host took a few."""


def latencies(*reasons: Reason) -> list[tuple[str, str]]:
    """Return board and latency of each row for int8.onnx, of a host and a slow board with these reasons."""
    host, board = reports.host(), report.seal(replace(pairs.device_with(TWO_SECONDS), reasons=reasons))
    judged = compare(host, board, pairs.NO_LIMITS, Margins())
    result = BoardResult(name="pi", attempts=1, duration_s=0.0, report=board, comparison=judged)
    (table,) = (block for block in fleet_page([result], host, "net") if isinstance(block, Table))
    return [(row[0], row[2]) for row in table.rows if row[1].startswith("int8.onnx")]


def test_one_unit_serves_all_latencies_that_are_shown() -> None:
    assert latencies() == [("host", "0.060 ms"), ("pi", "2000.000 ms")]


def test_a_latency_that_is_withheld_has_no_say_in_the_unit() -> None:
    assert latencies(pairs.EMULATED) == [("host", "60.0 µs"), ("pi", "—")]
