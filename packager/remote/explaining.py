"""Where a board's answers are not the host's: both run the artifact once more, and every layer is held side by side."""

import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from packager import explain
from packager.explain import Divergence
from packager.remote import running
from packager.remote.agent.place import TEMPORARY
from packager.remote.link import Board
from runner.bundle import Bundle
from runner.errors import StepError
from runner.measure import tensors
from runner.progress import Progress
from runner.report import Report

TENSORS = f"{TEMPORARY}/tensors.npz"
ONE_AT_A_TIME = threading.Lock()
"""Several boards may ask at once, and what the host has to do for each takes its cores and its libraries' settings."""


def divergences(
    board: Board, python: str, source: tuple[Bundle, str], report: Report, progress: Progress
) -> Iterator[Divergence]:
    """Yield, for each artifact of a report that answers otherwise than on the host, how its layers differ there.

    `source` is the bundle, and its name on the board. Raises EdgepackError.
    """
    bundle, there = source
    for artifact in report.artifacts:
        sample = explain.worst_sample(artifact.accuracy) if artifact.accuracy else None
        if sample is None:
            continue
        progress.say(
            f"{artifact.name}: layer by layer, with sample {sample}, whose logits are furthest from the host's"
        )
        with tempfile.TemporaryDirectory(prefix="edgepack-") as folder:
            try:
                with ONE_AT_A_TIME:
                    probe = explain.probe(bundle, artifact.name, sample, Path(folder))
                    ours = explain.host_tensors(bundle, probe, sample)
            except StepError as error:
                progress.say(f"{artifact.name}: {error.what}")
                continue
            # Not beside the bundle, where it would be kept with it.
            brought = f"{TEMPORARY}/{probe.path.name}"
            board.put(probe.path, brought)
        words = ("tensors", there, "--artifact", artifact.name, "--probe", brought, "--sample", str(sample))
        ended = running.run(board, [python, there, *words, "-o", TENSORS], progress, None)
        if ended.exit_code:
            raise ended.error(board.name)
        theirs = tensors.read(board.get(TENSORS), f"{board.name}: {artifact.name}")
        yield explain.first_divergence(probe, sample, ours, theirs)
