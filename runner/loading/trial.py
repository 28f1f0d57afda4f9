"""Run an artifact in a process of its own first: one that kills its process shall not take the caller's along."""

import sys
from dataclasses import replace
from pathlib import Path

from runner.bundle import INPUTS, Bundle
from runner.errors import MeasurementError, RuntimeUnavailable
from runner.loading.proof import SAMPLES
from runner.manifest import Artifact
from runner.runtimes import Options
from runner.worker.order import Job
from runner.workers import WORKERS


def outlive(bundle: Bundle, artifact: Artifact, file: Path, options: Options) -> None:
    """Let a worker answer a few samples. Raises MeasurementError where it dies of them, and RuntimeUnavailable."""
    if getattr(sys, "frozen", False) or not sys.executable:
        raise _cannot(bundle, "this program is no Python that another could be started with")
    inputs = bundle.locate(INPUTS)
    job = Job(
        file=file.absolute(),
        format=artifact.format,
        options=options,
        inputs=replace(inputs, path=inputs.path.absolute(), shape=(min(SAMPLES, inputs.shape[0]), *inputs.shape[1:])),
        preprocess=bundle.manifest.preprocess,
    )
    try:
        WORKERS.answer(job, lambda *_, **__: None)
    except MeasurementError as error:
        raise MeasurementError(f"tried in a process of its own: {error.what}", advice=error.advice) from None
    except OSError as error:
        raise _cannot(bundle, error.strerror or str(error)) from None


def _cannot(bundle: Bundle, why: str) -> RuntimeUnavailable:
    what = f"no process can be started to try it in: {why}"
    return RuntimeUnavailable(what, advice=f"bench-runner {bundle.path} -o report.json, and prefer='report.json'")
