"""Where the time of an artifact goes: its dearest operators."""

from collections.abc import Iterator

from runner.operators import OperatorTime
from runner.render import units
from runner.render.page import Block, Table
from runner.render.units import NONE, Scale
from runner.report import ArtifactReport, Report

SHOWN = 10
LONGEST_NAME = 44


def operator_blocks(report: Report) -> Iterator[Block]:
    """Yield a table of the ten dearest operators of each artifact that was profiled."""
    profiled = [artifact for artifact in report.artifacts if artifact.operators]
    for artifact in profiled:
        yield _dearest(artifact)
    if profiled:
        yield (
            "Operators were profiled in a pass of their own, which makes each of them longer: their shares say more "
            "than their times."
        )


def _dearest(artifact: ArtifactReport) -> Table:
    shown, others = artifact.operators[:SHOWN], artifact.operators[SHOWN:]
    times = units.time_scale([operator.mean_ns for operator in shown])
    rows = [_row(operator, times) for operator in shown]
    if others:
        rest = sum(operator.mean_ns for operator in others), sum(operator.share for operator in others)
        rows.append((f"{len(others)} others", NONE, NONE, times.show(rest[0]), units.percent(rest[1], 1)))
    columns = (f"{artifact.name}: dearest operators", "type", "calls", "time", "share")
    return Table(columns=columns, rows=tuple(rows), left=2)


def _row(operator: OperatorTime, times: Scale) -> tuple[str, ...]:
    name = operator.name if len(operator.name) <= LONGEST_NAME else f"…{operator.name[1 - LONGEST_NAME :]}"
    share = units.percent(operator.share, 1)
    return name, operator.op_type, f"{operator.calls:g}", times.show(operator.mean_ns), share
