"""How much more it takes to settle a verdict: as an option that there is, for nobody can ask for single processes."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from runner.compare.comparison import LatencyVerdict
from runner.measure.latency import PLANS, Plan
from runner.reason import Reason
from runner.report import Effort

MOST_PROCESSES = max(plan.processes for plan in PLANS.values())
"""Of the most rigorous run."""
ADVICE = "end what else runs on this machine: what scatters less is settled by fewer"


def with_effort(verdict: LatencyVerdict, plans: Mapping[Effort, Plan]) -> LatencyVerdict:
    """Return the verdict with the least effort whose runs have as many processes as would settle it, if one has."""
    needed = verdict.processes_needed
    if needed is None:
        return verdict
    effort = next((effort for effort, plan in plans.items() if plan.processes >= needed), None)
    return replace(verdict, effort=effort)


def beyond_effort(verdict: LatencyVerdict) -> Iterator[Reason]:
    """Yield that no run has as many processes as would settle a verdict, where that is so."""
    if verdict.processes_needed is None or verdict.effort is not None:
        return
    detail = (
        f"about {verdict.processes_needed} processes on each side would settle the latency: "
        f"more than the {MOST_PROCESSES} of --effort rigorous"
    )
    evidence = {"processes": float(verdict.processes_needed)}
    yield Reason(code="few-processes", level="note", detail=detail, evidence=evidence, advice=ADVICE)
