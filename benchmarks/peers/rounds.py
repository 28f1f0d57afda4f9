"""One round: fresh processes of all contenders, loaded one after the other, then timed in turn, in blocks.

While one is timed the others stand still (SIGSTOP): their thread pools spin for a while after a call, and would take
the CPU from it. Each pass has an order of its own, so that drift, and what the one before has left in the caches, meet
all alike.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.peers.contenders import Contender
from benchmarks.peers.conversation import FailedError, Talker
from benchmarks.peers.record import Round

Start = Callable[[Contender], Talker]


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """For how long to measure, and in how many parts."""

    rounds: int = 5
    passes: int = 4
    """Blocks of each contender in a round. With one, only one process lives at a time, which spares memory."""
    timed_s: float = 1.0
    """Of each contender in a round, all its blocks together."""
    warmup_s: float = 0.5
    """After loading."""
    again_s: float = 0.05
    """Before each block, to fill the caches that others have emptied."""
    limit_s: float = 900.0
    """For building, loading or answering; a block gets as much beyond its length."""
    seed: int = 0


def run_round(contenders: Sequence[Contender], start: Start, plan: Plan, number: int) -> Round:
    """Measure one round."""
    chance = random.Random(f"{plan.seed} {number}")
    order = chance.sample(contenders, len(contenders))
    groups = [order] if plan.passes > 1 else [[each] for each in order]
    samples_ns, failed = dict[str, tuple[int, ...]](), dict[str, str]()
    for group in groups:
        _run_group(group, start, plan, chance, failed, samples_ns)
    return Round(samples_ns={name: taken for name, taken in samples_ns.items() if name not in failed}, failed=failed)


def _run_group(
    group: Sequence[Contender],
    start: Start,
    plan: Plan,
    chance: random.Random,
    failed: dict[str, str],
    samples_ns: dict[str, tuple[int, ...]],
) -> None:
    ready: dict[str, Talker] = {}
    try:
        for contender in group:
            talker = ready[contender.name] = start(contender)
            try:
                talker.ask({"do": "load"}, plan.limit_s)
                talker.ask(_block(0.0, plan.warmup_s), plan.limit_s)
                talker.pause()
            except FailedError as error:
                failed[contender.name] = str(error)
        for _ in range(plan.passes):
            left = [name for name in ready if name not in failed]
            for name in chance.sample(left, len(left)):
                try:
                    samples_ns[name] = samples_ns.get(name, ()) + _timed(ready[name], plan)
                except FailedError as error:
                    failed[name] = str(error)
    finally:
        for talker in ready.values():
            talker.end()


def _timed(talker: Talker, plan: Plan) -> tuple[int, ...]:
    """Return the calls of one block."""
    talker.resume()
    answer = talker.ask(_block(plan.again_s, plan.timed_s / plan.passes), plan.limit_s + plan.timed_s)
    talker.pause()
    found = answer["samples_ns"]
    assert isinstance(found, list)
    return tuple(found)


def _block(warmup_s: float, timed_s: float) -> dict[str, object]:
    return {"do": "time", "warmup_s": warmup_s, "timed_s": timed_s}
