"""Whether a contender can run a case at all: it builds in its own process, and its answers are held against fp32."""

from collections.abc import Callable

import numpy as np

from benchmarks.peers.case import REFERENCE, Case
from benchmarks.peers.contenders import Contender
from benchmarks.peers.conversation import FailedError, Talker
from benchmarks.peers.record import Entrant
from runner.logits import snr_db

ANSWERS = "answers.npy"
Start = Callable[[Contender], Talker]


def enter(contender: Contender, case: Case, start: Start, limit_s: float) -> Entrant:
    """Build, load in a fresh process, answer all samples, and judge the answers. A failure is told, and not raised."""
    try:
        _in_a_process(contender, start, {"do": "build"}, limit_s)
        version, answers = _answers(contender, case, start, limit_s)
    except FailedError as error:
        return Entrant(name=contender.name, failed=str(error))
    reference = case.array(REFERENCE)
    if answers.shape != reference.shape:
        what = f"answered with the shape {answers.shape}, and {reference.shape} was asked for"
        return Entrant(name=contender.name, version=version, failed=what)
    if not np.isfinite(answers).all():
        return Entrant(name=contender.name, version=version, failed="answers that are not finite")
    return Entrant(
        name=contender.name,
        version=version,
        snr_db=snr_db(answers, np.asarray(reference)),
        agreement=float(np.mean(answers.argmax(axis=1) == reference.argmax(axis=1))),
    )


def _in_a_process(contender: Contender, start: Start, request: dict[str, object], limit_s: float) -> None:
    talker = start(contender)
    try:
        talker.ask(request, limit_s)
    finally:
        talker.end()


def _answers(
    contender: Contender, case: Case, start: Start, limit_s: float
) -> "tuple[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]":
    output = case.folder / ANSWERS
    talker = start(contender)
    try:
        version = str(talker.ask({"do": "load"}, limit_s)["version"])
        talker.ask({"do": "answer", "output": str(output)}, limit_s)
    finally:
        talker.end()
    # Where a batch does not divide the samples, those at the end are left out by all.
    return version, np.load(output)
