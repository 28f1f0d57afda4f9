"""The energy of an artifact: a pass of its own, between the borders of the timed window."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from runner.arrays import ArrayLocation
from runner.device.energy import Energy
from runner.errors import MeasurementError
from runner.measure import run
from runner.measure.energy import TIMED_S, energy
from runner.measure.rounds import Course
from runner.report import EnergyUse, Scenario, Settings
from runner.runtimes import Options
from runner.worker.order import Job, Timing
from runner.workers import WORKERS, Timed, ignore_window
from tests import networks
from tests.fakes import FakeWorkers, Script
from tests.runner.measure.scripted import bench, bundle, workers

SAMPLES = 40
SETTINGS = Settings(threads=1)
LOGITS = np.zeros((SAMPLES, 3), np.float32)


@dataclass
class FakeMeter:
    """Says what it is told to, and remembers when it was asked."""

    joules: float | None = 2.0
    mute: str = ""
    asked: list[str] = field(default_factory=list)
    name: str = "fake"
    scope: str = "all of it"

    def obstacle(self) -> str:
        """Say whether there is anything to be read."""
        self.asked.append("obstacle")
        return self.mute

    def start(self) -> None:
        """Begin a window."""
        self.asked.append("start")

    def stop(self) -> Energy:
        """End it."""
        self.asked.append("stop")
        reason = "" if self.joules is not None else "only root may read it"
        return Energy(meter=self.name, scope=self.scope, duration_ns=10**10, joules=self.joules, reason=reason)


def _course(folder: Path, batch: int = 1) -> Course:
    inputs = networks.inputs(SAMPLES)
    path = folder / "inputs.bin"
    path.write_bytes(inputs.tobytes())
    job = Job(
        file=networks.write_onnx(folder / "net.onnx"),
        format="onnx",
        options=Options(threads=1),
        inputs=ArrayLocation(path=path, offset=0, shape=inputs.shape, dtype="|u1"),
        preprocess=networks.PREPROCESS,
        batch=batch,
    )
    return Course(name="net", job=job, scenario=Scenario(threads=1, batch=batch), answers=LOGITS)


def test_the_joules_of_a_window_are_told_with_what_was_done_in_it(tmp_path: Path) -> None:
    workers = FakeWorkers({"net.onnx": Script(logits=LOGITS, samples=101)})
    meter, unread = FakeMeter(), FakeMeter(joules=None)
    found = energy(_course(tmp_path, batch=4), (meter, unread), workers)
    assert found[0] == EnergyUse(meter="fake", scope="all of it", duration_ns=10**10, inferences=404, joules=2.0)
    assert found[0].joules_per_inference == 2.0 / 404
    assert (found[1].joules_per_inference, found[1].reason) == (None, "only root may read it")
    assert meter.asked == unread.asked == ["start", "stop"]
    assert [timing.timed_s for _, timing in workers.timed] == [TIMED_S]


FOR_ROOT = "the counter is for root alone"


def session_with(folder: Path, fake: FakeWorkers, *meters: FakeMeter) -> list[tuple[EnergyUse, ...]]:
    """Measure a bundle of two artifacts, and return the energy of each."""
    found = replace(bench(fake), meters=lambda: meters)
    return [artifact.energy for artifact in run(bundle(folder / "net.edgepack"), SETTINGS, bench=found).artifacts]


def test_a_meter_that_is_mute_says_so_once_and_no_worker_runs_for_it(tmp_path: Path) -> None:
    meter, fake = FakeMeter(mute=FOR_ROOT), workers({"fp32.onnx": (200_000,), "int8.onnx": (90_000,)})
    first, second = session_with(tmp_path, fake, meter)
    assert first == (
        EnergyUse(meter="fake", scope="all of it", duration_ns=0, inferences=0, joules=None, reason=FOR_ROOT),
    )
    assert (second, meter.asked) == ((), ["obstacle"])
    assert TIMED_S not in {timing.timed_s for _, timing in fake.timed}


def test_meters_that_answer_measure_every_artifact_beside_one_that_is_mute(tmp_path: Path) -> None:
    mute, meter = FakeMeter(mute=FOR_ROOT, name="mute"), FakeMeter()
    fake = workers({"fp32.onnx": (200_000,), "int8.onnx": (90_000,)})
    energies = session_with(tmp_path, fake, mute, meter)
    assert [[(use.meter, use.joules) for use in each] for each in energies] == [
        [("fake", 2.0), ("mute", None)],
        [("fake", 2.0)],
    ]
    assert (mute.asked, meter.asked) == (["obstacle"], ["obstacle", "start", "stop", "start", "stop"])
    assert [timing.timed_s for _, timing in fake.timed].count(TIMED_S) == 2


def test_a_worker_that_dies_has_no_energy(tmp_path: Path) -> None:
    workers = FakeWorkers({"net.onnx": Script(logits=LOGITS, dies={0: MeasurementError("it died")})})
    assert energy(_course(tmp_path), (FakeMeter(),), workers) == ()


def test_a_worker_that_dies_in_the_window_leaves_no_meter_running(tmp_path: Path) -> None:
    class Dies(FakeWorkers):
        def time(self, job: Job, timing: Timing, window: Callable[[bool], None] = ignore_window) -> Timed:
            """Begin, and come to no end."""
            window(True)
            raise MeasurementError("it died")

    meter = FakeMeter()
    assert energy(_course(tmp_path), (meter,), Dies({})) == ()
    assert meter.asked == ["start", "stop"]


def test_a_real_worker_tells_the_borders_of_its_timed_window(tmp_path: Path) -> None:
    told: list[bool] = []
    WORKERS.time(_course(tmp_path).job, Timing(warmup_s=0, timed_s=0, seed=0), told.append)
    assert told == [True, False]
