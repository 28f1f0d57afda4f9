"""The bundle's choice against the fastest of all peers, side by side in one run.

    python -m benchmarks.peers [-o out/peers] [--families resnet18,swin_t] [--batch 1,32] [--rounds 5] [--seconds 1]
                               [--threads 2] [--contenders edgepack_choice,torch_eager] [--candidates all]
                               [--python PYTHON | --python NAME=PYTHON] [--results docs/results.md]

Each peer runs in an environment of its own, which is made under the folder of -o once; --python names one that exists
(torch, onnxruntime, openvino, executorch; without a name it is for all). What is measured is written at once, one file
for each family and batch: the same command goes on where it was stopped, and one with more --rounds adds rounds.
Remove a family's file to measure it anew, and its folder to pack it anew.
"""

import argparse
import functools
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers import conversation, record, subject, table
from benchmarks.peers.case import NETWORK, Case
from benchmarks.peers.compare import Bench, compare, resumed
from benchmarks.peers.contenders import EDGEPACK, FAMILIES, PEERS, Contender, Environment
from benchmarks.peers.environments import Environments, given
from benchmarks.peers.record import Record
from benchmarks.peers.rounds import Plan
from packager import results
from runner import device
from runner.errors import EdgepackError, UsageError, nearest
from runner.render import device_line
from runner.render.page import as_text

BATCHES = (1, 32)


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """What was asked for."""

    folder: Path
    families: tuple[str, ...]
    batches: tuple[int, ...]
    contenders: tuple[Contender, ...]
    threads: int
    candidates: str | None
    plan: Plan
    environments: Environments


def main() -> None:
    """Measure, and print what follows."""
    try:
        chosen = _arguments()
        run = _resolved(chosen)
        if chosen.results:
            results.check(chosen.results)
        records = measured(run)
        print(as_text(table.page(records)))
        if chosen.results:
            results.put(chosen.results, table.TITLE, table.page(records))
    except EdgepackError as error:
        sys.exit(str(error))


def measured(run: Run) -> list[Record]:
    """Measure all that is asked for and not yet there, and return every record of the run."""
    names = {each.environment for each in run.contenders}
    pythons = {name: run.environments.python(name) for name in sorted(names)}
    machine = device_line(device.facts())
    records = []
    for family in run.families:
        own = run.folder / family
        subject.prepare(family, own, candidates=run.candidates, threads=run.threads)
        for batch in run.batches:
            blank = Record(family=family, batch=batch, threads=run.threads, device=machine, entrants=())
            records.append(
                compare(
                    resumed(run.folder, blank),
                    run.contenders,
                    run.plan,
                    bench(run.folder, functools.partial(case_of, own, batch, run.threads), pythons),
                )
            )
    return records


def bench(folder: Path, case: Callable[[Contender], Case], pythons: Mapping[Environment, str]) -> Bench:
    """Return what a case is measured with: real processes, and records in a folder."""
    return Bench(
        case_of=case,
        start_on=lambda contender, own: conversation.start(contender, own, pythons[contender.environment]),
        keep=lambda found: record.write(found, folder),
        say=lambda words: print(words, file=sys.stderr, flush=True),
    )


def case_of(own: Path, batch: int, threads: int, contender: Contender) -> Case:
    """Return a subject's case for one contender."""
    told = json.loads((own / NETWORK).read_text(encoding="utf-8"))
    channels, height, width = told["shape"]
    return Case(
        model=told["model"],
        shape=(channels, height, width),
        classes=told["classes"],
        batch=batch,
        threads=threads,
        subject=own.absolute(),
        folder=own.absolute() / f"batch{batch}" / contender.module,
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=Path("out/peers"))
    parser.add_argument("--families", default=",".join(FAMILIES))
    parser.add_argument("--batch", default=",".join(map(str, BATCHES)))
    parser.add_argument("--contenders", default=",".join(each.module for each in (EDGEPACK, *PEERS)))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--passes", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--limit", type=float, default=900.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--candidates", default="all")
    parser.add_argument("--python", action="append", default=[])
    parser.add_argument("--results", type=Path, default=None)
    return parser.parse_args()


def _resolved(chosen: argparse.Namespace) -> Run:
    chosen.output.mkdir(parents=True, exist_ok=True)
    everyone = {each.module: each for each in (EDGEPACK, *PEERS)}
    return Run(
        folder=chosen.output,
        families=tuple(_known(name, FAMILIES, "--families") for name in chosen.families.split(",")),
        batches=tuple(int(word) for word in chosen.batch.split(",")),
        contenders=tuple(
            everyone[_known(name, tuple(everyone), "--contenders")] for name in chosen.contenders.split(",")
        ),
        threads=chosen.threads,
        candidates=chosen.candidates,
        plan=Plan(rounds=chosen.rounds, passes=chosen.passes, timed_s=chosen.seconds, limit_s=chosen.limit),
        environments=Environments(folder=chosen.output / "environments", given=given(chosen.python)),
    )


def _known(name: str, names: Sequence[str], option: str) -> str:
    if name not in names:
        raise UsageError(
            f"there is no {name!r}", where=option, advice=nearest(name, names) or f"one of {', '.join(names)}"
        )
    return name


if __name__ == "__main__":
    main()
