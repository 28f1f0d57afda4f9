"""The networks of a recipe, made again from what the cache has of them, and what is built of them."""

import os
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from packager import artifacts, branches, journal, network, origin
from packager.apart import HERE, Failed, Order, Start
from packager.builders import BuildContext
from packager.cache import Cache
from packager.journal import Journal
from packager.network import Network, Workbench
from runner.edge import DEBUG
from runner.errors import EdgepackError, StepError, innermost
from runner.progress import Progress, Silent

ANOTHER = "it comes out otherwise each time, as one does whose random weights follow from no seed"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Bench:
    """What artifacts are built on: the networks of one recipe, by their keys."""

    work: Workbench
    networks: Mapping[str, Network]


def bench(start: Start, progress: Progress) -> Bench | None:
    """Make the networks of a recipe again; None, and a word on it, where they cannot be."""
    try:
        return _remade(start, progress)
    except Exception as error:  # noqa: BLE001 - the user's code may raise anything, at the second time too
        progress.say(f"{HERE}: the network cannot be made again: {_failed(innermost(error, StepError)).what}")
        return None


def build(order: Order, on: Bench) -> Failed | None:
    """Build an artifact into the cache, and return how it failed if it did."""
    try:
        context = BuildContext(
            name=order.variant,
            network=on.networks[order.network],
            teacher=on.networks[order.teacher],
            quantize=order.quantize,
            bench=replace(on.work, recipe=order.recipe),
        )
        artifacts.build(order.candidate, context, order.target)
    except Exception as error:  # noqa: BLE001 - converters may raise anything
        if os.environ.get(DEBUG):
            traceback.print_exc()
        return _failed(error)
    return None


def _remade(start: Start, progress: Progress) -> Bench:
    # Nothing is trained a second time: what is not there is refused.
    loaded, work = origin.opened(start.recipe, Cache(folder=Path(start.cache), complete=True), Silent())
    trained = network.trained(loaded, work)
    found = {each.key: each for each in (trained, *branches.networks(trained, work).values())}
    if not found.keys() >= set(start.networks):
        raise StepError(ANOTHER)
    work = replace(work, cache=Cache(folder=Path(start.cache)), progress=progress, journal=Journal(progress))
    return Bench(work=work, networks=found)


def _failed(error: Exception) -> Failed:
    if isinstance(error, EdgepackError):
        return Failed(what=error.what, where=error.where, advice=error.advice)
    return Failed(what=journal.unexpected(error), where="", advice=journal.SHOWN)
