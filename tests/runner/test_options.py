"""What a worker is told of an artifact: by its target, and by the machine that it runs on."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from runner.arrays import ArrayLocation
from runner.manifest import Affinity, SessionSettings
from runner.measure.answers import Subject, make_job
from runner.options import made_with, make_options
from runner.report import Scenario
from runner.runtimes import Options
from runner.worker.order import Order, decode, encode
from tests import bundles, networks

CPUS = sorted(os.sched_getaffinity(0))
INPUTS = ArrayLocation(path=Path("inputs.npy"), offset=0, shape=(4, 1, 8, 8), dtype="|u1")


def on_two_cores(monkeypatch: pytest.MonkeyPatch, affinity: Affinity | None, *, streams: int = 1) -> Options:
    """Return the options of two threads on a machine whose physical cores have these CPUs."""
    monkeypatch.setattr("runner.device.topology.physical_cores", lambda threads: (0, 2, 4)[:threads])
    target = replace(bundles.TARGET, session=SessionSettings(affinity=affinity))
    subject = Subject(artifact=bundles.artifact(), file=Path("net.onnx"), target=target)
    job = make_job(subject, INPUTS, networks.PREPROCESS, Scenario(batch=1, threads=2, streams=streams))
    order = Order(job=job, timing=None, output=Path("out.npy"), parent=1)
    assert decode(encode(order)).job.options == job.options
    return job.options


def test_a_targets_wish_for_physical_cores_becomes_those_of_the_machine_beside_that_of_the_caller(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert on_two_cores(monkeypatch, "physical-cores").affinity == (2,)
    assert on_two_cores(monkeypatch, None).affinity == ()


def test_several_sessions_at_once_do_not_put_their_threads_on_the_same_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    assert on_two_cores(monkeypatch, "physical-cores", streams=2).affinity == ()


def test_more_threads_than_this_machine_has_cores_are_left_to_the_system() -> None:
    target = replace(bundles.TARGET, session=SessionSettings(affinity="physical-cores"))
    assert make_options(bundles.artifact(), target, len(CPUS) + 1).affinity == ()
    assert make_options(bundles.artifact(), target, 1).affinity == ()


def test_the_version_that_an_artifact_was_made_with_is_that_of_its_runtime() -> None:
    both = {"torch": "2.1", "onnxruntime-gpu": "1.30.0"}
    assert made_with(replace(bundles.artifact(), made_with=both)) == "1.30.0"
    assert made_with(replace(bundles.artifact("int8", "torchscript"), made_with=both)) == "2.1"
    assert made_with(bundles.artifact()) is None
