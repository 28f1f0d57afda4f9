"""LiteRT files (`.tflite`), by litert-torch: no TensorFlow, but MLIR, which speaks to the terminal behind Python."""

import copy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from packager import installed
from packager.export import Exported
from packager.failing_layer import ADVICE, failing_layer
from packager.quiet import silence
from runner.errors import StepError, first_line

TOLERANCE = 1e-4
"""How far, of the largest answer, two samples together may be from one after the other: sums have other orders."""


def convert(module: nn.Module, example: Tensor) -> bytes:
    """Return the network as a file whose tensors still have the names of its layers.

    Takes N x C x H x W and returns logits, both float32. Raises StepError naming the layer that cannot be converted.
    """
    installed.hold("litert", "litert_torch")
    # Not the caller's own: the converter traces it.
    network = copy.deepcopy(module).eval()
    with silence(), torch.no_grad():
        try:
            import litert_torch  # noqa: PLC0415 - heavy

            from packager.export.litert_graph import improved  # noqa: PLC0415 - as above

            litert_torch.config.show_progress = False
            return improved(litert_torch.convert(network, (example,)).model_content())
        except Exception as error:
            layer = failing_layer(module, lambda each: torch.export.export(each, (example,)))
            what = f"litert-torch cannot convert the network, in {layer}: {first_line(error)}"
            raise StepError(what, advice=f"{ADVICE}; or leave the LiteRT artifacts out") from error


def finished(content: bytes, example: Tensor) -> Exported:
    """Return a converted file as it is shipped, and whether it takes two samples as it takes one."""
    from packager.export.litert_graph import without_names  # noqa: PLC0415 - heavy

    small = without_names(content)
    return Exported(content=small, dynamic_batch=_takes_two(small, example.numpy()))


def _takes_two(content: bytes, example: NDArray[np.float32]) -> bool:
    """Tell by trying: a file is laid out for one sample, and only some can be laid out anew."""
    pair = np.concatenate([example, np.ascontiguousarray(example[..., ::-1])])
    single = np.concatenate([_answers(content, pair[:1]), _answers(content, pair[1:])])
    try:
        both = _answers(content, pair)
    except (RuntimeError, ValueError):
        return False
    return both.shape == single.shape and bool(np.abs(both - single).max() <= TOLERANCE * np.abs(single).max())


def _answers(content: bytes, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    from ai_edge_litert.interpreter import Interpreter  # noqa: PLC0415 - the host need not have it

    with silence():
        interpreter = Interpreter(model_content=content, num_threads=1)
        taken, given = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
        interpreter.resize_tensor_input(taken, inputs.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(taken, inputs)
        interpreter.invoke()
        answers: NDArray[np.float32] = interpreter.get_tensor(given)
    return answers
