"""A model that exists only as an ONNX file: it is run, quantized and packed, and never trained."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from packager import onnx_file
from packager.data import Samples
from packager.export.onnx import INPUT, OUTPUT, stripped
from runner.errors import StepError
from runner.manifest import Preprocess
from runner.runtimes.onnx import UNREADABLE

BATCH = "batch"
AT_ONCE = 64
"""Images in a batch where any number will do."""
TOLERANCE = 1e-4
"""Of the largest answer: what float32 may differ by where kernels add in another order."""
NOTHING_LOGGED = 4

Logits = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True)
class OnnxModel:
    """A file with one input `input`, float32 N x C x H x W, and one output `logits`, N x classes."""

    content: bytes
    name: str
    opset: int
    dynamic_batch: bool
    """False where it takes one image at a time."""
    sha256: str

    def no_module(self) -> StepError:
        """Return what to raise where a network of PyTorch is needed."""
        return StepError(
            "the model exists only as an ONNX file, and this needs a network of PyTorch",
            where=self.name,
            advice="the network's own code: --model net.py:Net --weights FILE",
        )


def load(path: Path, preprocess: Preprocess, classes: int) -> OnnxModel:
    """Read a file, refuse what cannot take these images, and even out the rest. Raises StepError."""
    model = onnx_file.read(path)
    taken, given = onnx_file.ends(model, path)
    _check_input(taken, preprocess, path)
    batch = onnx_file.dimensions(taken)[0]
    images = _random_images(preprocess)
    expected = _alone(model, images, batch if isinstance(batch, int) else 1, path)
    _check_answers(expected, classes, path)
    model = onnx_file.upgraded(model, path)
    onnx_file.tidy(model, {taken.name: INPUT, given.name: OUTPUT})
    for reshaped, size in ((False, BATCH), (True, BATCH), (False, 1)):
        tried = onnx_file.for_any_batch(model) if reshaped else model
        onnx_file.set_dimensions(tried, (size, *images.shape[1:]), (size, classes))
        if _answers_are(expected, tried, images, at_once=size == BATCH):
            return _finished(tried, path.stem, dynamic_batch=size == BATCH)
    raise _neither_many_nor_one(batch, path)


def logits(model: OnnxModel, samples: Samples, preprocess: Preprocess) -> Logits:
    """Return what the model answers to `samples`: N x classes."""
    session = _session(model.content)
    at_once = AT_ONCE if model.dynamic_batch else 1
    return np.concatenate(
        [
            _run(session, preprocess.apply(samples.take(slice(first, first + at_once))))
            for first in range(0, len(samples), at_once)
        ]
    )


def _finished(model: onnx.ModelProto, name: str, *, dynamic_batch: bool) -> OnnxModel:
    content = stripped(onnx.shape_inference.infer_shapes(model))
    return OnnxModel(
        content=content,
        name=name,
        opset=onnx_file.opset(model),
        dynamic_batch=dynamic_batch,
        sha256=hashlib.sha256(content).hexdigest(),
    )


def _check_input(value: onnx.ValueInfoProto, preprocess: Preprocess, path: Path) -> None:
    kind = value.type.tensor_type.elem_type
    if kind != onnx.TensorProto.FLOAT:
        found = onnx.TensorProto.DataType.Name(kind).lower()
        advice = "export it with an input of float32: images are scaled and normalised before the network sees them"
        raise StepError(f"takes images as {found}, and gets them as float32", where=str(path), advice=advice)
    sizes = onnx_file.dimensions(value)
    if len(sizes) != 4:
        found = " x ".join(map(str, sizes)) or "a single number"
        advice = "a network that takes N x C x H x W, and flattens them itself where it needs to"
        raise StepError(f"takes {found}, and not images of four dimensions", where=str(path), advice=advice)
    wanted = preprocess.channels, preprocess.height, preprocess.width
    differing = [place for place, size in enumerate(sizes[1:]) if isinstance(size, int) and size != wanted[place]]
    if differing:
        raise _other_images(sizes[1:], wanted, path)


def _other_images(sizes: tuple[int | str, ...], wanted: tuple[int, int, int], path: Path) -> StepError:
    channels, height, width = sizes
    what = f"takes images of {' x '.join(map(str, sizes))}, and these are {' x '.join(map(str, wanted))}"
    if isinstance(channels, int) and channels != wanted[0]:
        if width == wanted[0]:
            what = f"takes images with the channels last ({' x '.join(map(str, sizes))})"
            advice = "export it with the channels first: N x C x H x W; tf2onnx has --inputs-as-nchw for it"
        else:
            advice = f"images of {channels} channels, or a model for {wanted[0]}"
    elif height == width or isinstance(height, str) or isinstance(width, str):
        advice = f"--image-size {height if isinstance(height, int) else width}"
    else:
        advice = f"images of {height} x {width} pixels; --image-size makes square ones"
    return StepError(what, where=str(path), advice=advice)


def _random_images(preprocess: Preprocess) -> NDArray[np.float32]:
    """Return two images that a network cannot take for one another."""
    shape = (2, preprocess.channels, preprocess.height, preprocess.width)
    return np.random.default_rng(0).standard_normal(shape, np.float32)


def _alone(model: onnx.ModelProto, images: NDArray[np.float32], batch: int, path: Path) -> Logits:
    """Return what the file as it came answers to each image, in batches of copies. Raises StepError."""
    try:
        session = _session(model.SerializeToString())
    except UNREADABLE as error:
        if foreign := onnx_file.foreign_operators(model):
            what = f"has operators that ONNX Runtime does not know: {', '.join(foreign)}"
            advice = "export it with ONNX's own operators alone"
            raise StepError(what, where=str(path), advice=advice) from None
        what = f"ONNX Runtime {onnxruntime.__version__} cannot run it: {_said(error)}"
        raise StepError(what, where=str(path), advice="a newer onnxruntime, or a lower opset") from None
    try:
        answers = [_run(session, np.repeat(image[None], batch, axis=0)) for image in images]
    except UNREADABLE as error:
        what = f"cannot take images of {' x '.join(map(str, images.shape[1:]))}: {_said(error)}"
        advice = "the image size that it was made for, such as --image-size 224, or another model"
        raise StepError(what, where=str(path), advice=advice) from None
    for answer in answers:
        if answer.ndim != 2 or len(answer) != batch:
            what = f"returns {' x '.join(map(str, answer.shape))} values for a batch of {batch}"
            raise StepError(what, where=str(path), advice="a classifier that returns N x classes logits")
    return np.stack([answer[0] for answer in answers])


def _check_answers(answers: Logits, classes: int, path: Path) -> None:
    if answers.dtype != np.float32:
        raise StepError(
            f"returns {answers.dtype}, not logits in float32",
            where=str(path),
            advice="end it with the logits, without the arg max",
        )
    if answers.shape[1] != classes:
        what = f"returns {answers.shape[1]} values per image, and the data have {classes} classes"
        raise StepError(what, where=str(path), advice="the data that it was trained for: --data")
    if not np.isfinite(answers).all():
        raise StepError("answers with what is no number, or infinite", where=str(path), advice=onnx_file.EXPORT_AGAIN)


def _answers_are(expected: Logits, model: onnx.ModelProto, images: NDArray[np.float32], *, at_once: bool) -> bool:
    """Say whether the model answers each image as expected, alone, and among others if `at_once`."""
    batches = [images[:1], images[1:], *([images] if at_once else [])]
    wanted = [expected[:1], expected[1:], expected]
    try:
        session = _session(model.SerializeToString())
        found = [_run(session, batch) for batch in batches]
    except UNREADABLE:
        return False
    limit = TOLERANCE * float(np.abs(expected).max())
    return all(
        answer.shape == want.shape and np.allclose(answer, want, rtol=0, atol=limit)
        for answer, want in zip(found, wanted, strict=False)
    )


def _neither_many_nor_one(batch: int | str, path: Path) -> StepError:
    if isinstance(batch, int) and batch != 1:
        what = f"takes {batch} images at once, no more and no fewer"
        return StepError(what, where=str(path), advice="export it with a dynamic batch, or a batch of one")
    what = "does not answer an image the same way twice, or not once it is written in the opset that int8 needs"
    return StepError(
        what,
        where=str(path),
        advice=f"export it in eval mode, with opset {onnx_file.LOWEST_OPSET} or higher",
    )


def _session(content: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = NOTHING_LOGGED
    # Threads that wait without sleeping take the time of whatever else the machine does.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def _run(session: onnxruntime.InferenceSession, batch: NDArray[np.float32]) -> Logits:
    answers: Logits = session.run(None, {session.get_inputs()[0].name: batch})[0]
    return answers


def _said(error: Exception) -> str:
    """Return what ONNX Runtime said, without its numbers and names of errors."""
    return re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", onnx_file.said(error))
