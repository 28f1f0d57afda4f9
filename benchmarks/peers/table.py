"""The comparison as people read it: a table of ratios, one of all latencies, what failed, and the goals."""

from collections.abc import Iterable, Iterator, Sequence

from benchmarks.peers.judgement import Duel, Goal, Standing, duel, goals, standings
from benchmarks.peers.record import Record
from runner.render import units
from runner.render.page import Listing, Page, Table

TITLE = "edgepack against the fastest of all peers"
EQUAL = "equal"
"""To fp32, bit for bit."""


def page(records: Sequence[Record]) -> Page:
    """Return what follows from the records. Raises ValueError without any."""
    if not records:
        raise ValueError("no page of 0 records")
    batches = sorted({each.batch for each in records})
    return (
        _words(records),
        _goals(goals(records)),
        *(block for batch in batches for block in _batch([each for each in records if each.batch == batch])),
        *_failures(records),
    )


def _words(records: Sequence[Record]) -> str:
    first = records[0]
    rounds = sorted({len(each.rounds) for each in records})
    told = str(rounds[0]) if len(rounds) == 1 else f"{rounds[0]} to {rounds[-1]}"
    return (
        f"{first.device}; {units.counted(first.threads, 'thread')}, 3 x 224 x 224, {told} rounds of fresh processes, "
        "timed in turn while the others stand still. A ratio is edgepack's time by that of the fastest peer whose "
        "answers are the network's, in pairs (Hodges-Lehmann), with its exact signed-rank interval. Weights are "
        "random, with settled batch norms; SNR is that of the answers against fp32 in PyTorch."
    )


def _goals(found: Sequence[Goal]) -> Table:
    words = {True: "reached", False: "missed", None: "not judged: families are missing"}
    rows = tuple((goal.text, goal.found, words[goal.reached]) for goal in found)
    return Table(columns=("goal", "found", "verdict"), rows=rows, left=3)


def _batch(records: Sequence[Record]) -> Iterator[Table]:
    batch = records[0].batch
    rows = tuple(_row(each, duel(each)) for each in records)
    columns = (
        f"batch {batch}",
        "edgepack's choice",
        "fastest peer",
        "edgepack",
        "peer",
        "ratio",
        "interval",
        "SNR",
        "peer's",
    )
    yield Table(columns=columns, rows=rows, left=3)
    names = list(dict.fromkeys(entrant.name for record in records for entrant in record.entrants))
    yield Table(
        columns=(f"batch {batch}, ms (SNR, dB)", *(record.family for record in records)),
        rows=tuple((name, *(_cell(record, name) for record in records)) for name in names),
    )


def _row(record: Record, found: Duel | None) -> tuple[str, ...]:
    if found is None:
        return (record.family, *(units.NONE,) * 8)
    choice, peer, interval = found.choice, found.peer, found.interval
    return (
        record.family,
        choice.entrant.version,
        peer.entrant.name + (f" (faster and wrong: {', '.join(found.wrong)})" if found.wrong else ""),
        _milliseconds(choice),
        _milliseconds(peer),
        f"{found.ratio:.3f}",
        units.NONE if interval is None else f"{interval.low:.3f} to {interval.high:.3f} ({interval.confidence:.1%})",
        _snr(choice),
        _snr(peer),
    )


def _cell(record: Record, name: str) -> str:
    found = next((each for each in standings(record) if each.entrant.name == name), None)
    if found is None or found.median_ns is None:
        return units.NONE
    return f"{_milliseconds(found)} ({_snr(found)})"


def _milliseconds(standing: Standing) -> str:
    return units.NONE if standing.median_ns is None else f"{standing.median_ns / 1e6:.3g}"


def _snr(standing: Standing) -> str:
    if standing.entrant.agreement is None:
        return units.NONE
    return EQUAL if standing.entrant.snr_db is None else f"{standing.entrant.snr_db:.0f}"


def _failures(records: Iterable[Record]) -> Iterator[Listing]:
    lines = [
        f"{record.family}, batch {record.batch}, {name}: {reason}"
        for record in records
        for name, reason in _reasons(record)
    ]
    if lines:
        yield Listing(head="Without a figure:", lines=tuple(lines))


def _reasons(record: Record) -> Iterator[tuple[str, str]]:
    for entrant in record.entrants:
        if entrant.failed:
            yield entrant.name, entrant.failed
    for number, each in enumerate(record.rounds, start=1):
        for name, reason in each.failed.items():
            yield f"{name} in round {number}", reason
