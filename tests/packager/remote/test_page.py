"""What came of several boards, as one table."""

from dataclasses import replace

from packager.remote.page import fleet_page
from packager.remote.result import BoardResult
from runner import report
from runner.compare import compare
from runner.compare.comparison import Margins
from runner.reason import Reason
from runner.render.page import Table
from tests import reports
from tests.runner.compare import pairs

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
