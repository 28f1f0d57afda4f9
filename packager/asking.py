"""The runner is asked: it executes an artifact on images, in a process of its own, as it will on the device."""

from dataclasses import replace

from packager.artifacts import Built
from packager.evaluation import Questions
from runner import device
from runner.errors import MeasurementError, RuntimeUnavailable, StepError
from runner.manifest import Target
from runner.measure.answers import Answers, Subject, answers
from runner.progress import Progress
from runner.report import Settings


def subject(built: Built, target: Target) -> Subject:
    """Return an artifact as the runner takes it; where there is no GPU, a CPU stands in for it."""
    stand_in = built.artifact.device == "cuda" and not device.facts().cuda
    return Subject(artifact=built.artifact, file=built.file, target=target, stand_in=stand_in)


def ask(subject: Subject, questions: Questions, settings: Settings, progress: Progress) -> Answers:
    """Return what an artifact answers to the images, on the CPU where no runtime here can use the GPU.

    Raises StepError where it cannot be run.
    """
    name = subject.artifact.name
    with progress.task(f"{name}: answers", len(questions.labels)) as advance:
        try:
            return answers(subject, questions.locate(), questions.preprocess, settings.scenario, advance)
        except (MeasurementError, RuntimeUnavailable) as error:
            advice = error.advice or "a target without this artifact"
            if subject.artifact.device == "cpu" or subject.stand_in or isinstance(error, MeasurementError):
                raise StepError(f"{name} cannot be run: {error.what}", advice=advice) from error
            progress.say(f"{name}: {error.what}: this machine's CPU answers in its place; try: {advice}")
    return ask(replace(subject, stand_in=True), questions, settings, progress)
