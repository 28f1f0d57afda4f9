"""The straight line of one case: its record is taken up where it was left, entrants are tried, rounds are added."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.peers import record
from benchmarks.peers.case import Case
from benchmarks.peers.contenders import Contender
from benchmarks.peers.conversation import Talker
from benchmarks.peers.entry import enter
from benchmarks.peers.record import Record
from benchmarks.peers.rounds import Plan, run_round
from runner.errors import UsageError


@dataclass(frozen=True, kw_only=True, slots=True)
class Bench:
    """What a case is measured with."""

    case_of: Callable[[Contender], Case]
    """The case as one contender gets it, with a folder of its own."""
    start_on: Callable[[Contender, Case], Talker]
    keep: Callable[[Record], None]
    """Gets each state of the record."""
    say: Callable[[str], None]


def resumed(folder: Path, blank: Record) -> Record:
    """Return the record that lies there, or the blank one. Raises UsageError for one that was measured otherwise."""
    file = record.path(folder, blank.family, blank.batch)
    found = record.read(file)
    if found is None:
        return blank
    if (found.threads, found.device) != (blank.threads, blank.device):
        what = f"was measured with {found.threads} threads on {found.device}, and this run is another"
        raise UsageError(what, where=str(file), advice="another folder with -o")
    return found


def compare(start_at: Record, contenders: Sequence[Contender], plan: Plan, bench: Bench) -> Record:
    """Return the record with every contender tried and as many rounds as the plan has."""

    def start(contender: Contender) -> Talker:
        return bench.start_on(contender, bench.case_of(contender))

    found = start_at
    case = f"{found.family}, batch {found.batch}"
    for contender in contenders:
        if all(each.name != contender.name for each in found.entrants):
            entrant = enter(contender, bench.case_of(contender), start, plan.limit_s)
            found = replace(found, entrants=(*found.entrants, entrant))
            bench.keep(found)
            bench.say(f"{case}, {entrant.name}: {entrant.failed or entrant.version}")
    usable = {each.name for each in found.entrants if not each.failed}
    able = [each for each in contenders if each.name in usable]
    for number in range(len(found.rounds), plan.rounds):
        found = replace(found, rounds=(*found.rounds, run_round(able, start, plan, number)))
        bench.keep(found)
        bench.say(f"{case}: round {number + 1} of {plan.rounds}")
    return found
