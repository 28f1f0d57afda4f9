"""A bundle of two artifacts, and workers that do with them what a script says."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runner.bundle import FP32_REFERENCE, Bundle
from runner.manifest import Artifact
from runner.measure import Bench
from tests import bundles, reports
from tests.fakes import FakeWorkers, Script, quiet

SAMPLES, CLASSES = 40, 3
LABELS = np.arange(SAMPLES) % CLASSES
FP32, INT8 = bundles.artifact(), bundles.artifact("int8")


def logits(wrong: int = 0) -> NDArray[np.float32]:
    """Return logits whose answers are right but for the first `wrong` samples."""
    chosen = LABELS.copy()
    chosen[:wrong] = (chosen[:wrong] + 1) % CLASSES
    return np.asarray(np.eye(CLASSES)[chosen] * 4, np.float32)


def bundle(path: Path, *artifacts: Artifact, labels: NDArray[np.int64] = LABELS, content: str = "") -> Bundle:
    """Write a bundle whose host answered every sample rightly; `content` is what makes its files other ones."""
    chosen = artifacts or (FP32, INT8)
    return bundles.write_bundle(
        path,
        {each.name: f"the bytes of {each.name}{content}".encode() for each in chosen},
        chosen,
        logits=dict.fromkeys((FP32_REFERENCE, *(each.name for each in chosen)), logits()),
        labels=labels,
    )


def workers(medians_ns: Mapping[str, tuple[int, ...]]) -> FakeWorkers:
    """Return workers that answer rightly and take so long."""
    return FakeWorkers({name: Script(logits=logits(), medians_ns=each) for name, each in medians_ns.items()})


def bench(fake: FakeWorkers, *, floor: float | None = None) -> Bench:
    """Return a bench in a room where nothing else happens."""
    return Bench(
        workers=fake,
        facts=reports.device,
        state=reports.state,
        instruments=quiet,
        meters=lambda: (),
        save_every_s=0.0,
        floor=lambda *_: floor,
    )
