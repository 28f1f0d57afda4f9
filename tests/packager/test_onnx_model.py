from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from packager import onnx_model
from packager.data import Samples
from packager.export.onnx import INPUT, OUTPUT
from packager.onnx_model import OnnxModel
from packager.quiet import quiet
from runner.errors import StepError
from tests import networks

SHAPE = (networks.CHANNELS, networks.SIZE, networks.SIZE)


@pytest.fixture
def samples() -> Samples:
    """Seventy images, which are more than one batch."""
    return Samples.whole(networks.inputs(70), np.zeros(70, np.int64))


def _load(path: Path, shape: Sequence[int] = SHAPE) -> OnnxModel:
    channels, height, width = shape
    preprocess = replace(networks.PREPROCESS, channels=channels, height=height, width=width)
    return onnx_model.load(path, preprocess, networks.CLASSES)


def _changed(path: Path, change: Callable[[onnx.ModelProto], None]) -> Path:
    """Write the network once more, with a change."""
    model = onnx.load(networks.write_onnx(path))
    change(model)
    onnx.save(model, path)
    return path


def _answers(model: OnnxModel, samples: Samples) -> NDArray[np.float32]:
    return onnx_model.logits(model, samples, networks.PREPROCESS)


def _rename(model: onnx.ModelProto, old: str, new: str) -> None:
    for node in model.graph.node:
        node.input[:] = [new if name == old else name for name in node.input]
        node.output[:] = [new if name == old else name for name in node.output]
    for value in (*model.graph.input, *model.graph.output, *model.graph.initializer):
        value.name = new if value.name == old else value.name


def _fix_batch(model: onnx.ModelProto, size: int) -> None:
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = size


def _flatten_by_reshape(model: onnx.ModelProto, sizes: tuple[int, int]) -> None:
    """Flatten as `view(1, -1)` does, which exports from one image are full of."""
    model.graph.node[2].CopyFrom(helper.make_node("Reshape", ["active", "shape"], ["flat"]))
    model.graph.initializer.append(numpy_helper.from_array(np.array(sizes, np.int64), "shape"))
    _fix_batch(model, sizes[0])


def _widen_by_ones(model: onnx.ModelProto) -> None:
    """Join a channel of ones, which is there for one image, and take it away again."""
    nodes = model.graph.node
    nodes[1].output[0] = "before"
    nodes.insert(2, helper.make_node("Concat", ["before", "ones"], ["wide"], axis=1))
    nodes.insert(3, helper.make_node("Slice", ["wide", "first", "last", "axis"], ["active"]))
    constants = {"ones": np.ones((1, 1, 8, 8), np.float32)}
    constants |= {name: np.array([value], np.int64) for name, value in (("first", 0), ("last", 8), ("axis", 1))}
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in constants.items())
    _fix_batch(model, 1)


def test_a_file_answers_as_the_network_in_it_does(tmp_path: Path, samples: Samples) -> None:
    model = _load(networks.write_onnx(tmp_path / "net.onnx"))

    assert (model.name, model.opset, model.dynamic_batch) == ("net", 18, True)
    answers = _answers(model, samples)
    assert answers.dtype == np.float32
    np.testing.assert_allclose(answers, networks.expected_logits(networks.inputs(70)), atol=1e-4)


def test_input_and_output_get_the_names_that_the_runner_knows(tmp_path: Path, samples: Samples) -> None:
    def rename(model: onnx.ModelProto) -> None:
        _rename(model, "logits", "probabilities:0")
        _rename(model, "input", "serving_default_x:0")
        # Names that are taken within the file.
        _rename(model, "features", "input")
        _rename(model, "flat", "logits")

    model = _load(_changed(tmp_path / "net.onnx", rename))

    graph = onnx.load_model_from_string(model.content).graph
    assert [value.name for value in graph.input] == [INPUT]
    assert [value.name for value in graph.output] == [OUTPUT]
    np.testing.assert_allclose(_answers(model, samples), networks.expected_logits(networks.inputs(70)), atol=1e-4)


def test_input_and_output_may_have_each_others_names(tmp_path: Path, samples: Samples) -> None:
    def swap(model: onnx.ModelProto) -> None:
        for old, new in (("input", "x"), ("logits", "input"), ("x", "logits")):
            _rename(model, old, new)

    model = _load(_changed(tmp_path / "net.onnx", swap))

    np.testing.assert_allclose(_answers(model, samples), networks.expected_logits(networks.inputs(70)), atol=1e-4)


def test_the_same_network_is_the_same_file_whatever_stood_beside_it_in_words(tmp_path: Path) -> None:
    def note(model: onnx.ModelProto) -> None:
        model.doc_string = "made in /home/me"
        model.graph.node[0].doc_string = "net.py:12"

    plain = _load(networks.write_onnx(tmp_path / "net.onnx"))
    noted = _load(_changed(tmp_path / "net.onnx", note))

    assert b"/home/me" not in noted.content
    assert noted.sha256 == plain.sha256


def test_every_operator_has_a_name_of_its_own(tmp_path: Path) -> None:
    def name(model: onnx.ModelProto) -> None:
        model.graph.node[0].name = "Flatten_1"

    model = _load(_changed(tmp_path / "net.onnx", name))

    graph = onnx.load_model_from_string(model.content).graph
    assert [node.name for node in graph.node] == ["Flatten_1", "Relu_1", "Flatten_2", "Gemm_1"]


@pytest.mark.parametrize("size", [1, 4])
def test_a_fixed_batch_is_made_dynamic_where_the_network_allows_it(tmp_path: Path, samples: Samples, size: int) -> None:
    model = _load(_changed(tmp_path / "net.onnx", lambda model: _fix_batch(model, size)))

    assert model.dynamic_batch
    np.testing.assert_allclose(_answers(model, samples), networks.expected_logits(networks.inputs(70)), atol=1e-4)


@pytest.mark.parametrize("sizes", [(1, 512), (1, -1)])
def test_reshapes_that_were_written_for_one_image_take_many(
    tmp_path: Path, samples: Samples, sizes: tuple[int, int]
) -> None:
    model = _load(_changed(tmp_path / "net.onnx", lambda model: _flatten_by_reshape(model, sizes)))

    assert model.dynamic_batch
    np.testing.assert_allclose(_answers(model, samples), networks.expected_logits(networks.inputs(70)), atol=1e-4)


def test_a_network_that_can_only_take_one_image_stays_with_one(tmp_path: Path, samples: Samples) -> None:
    model = _load(_changed(tmp_path / "net.onnx", _widen_by_ones))

    assert not model.dynamic_batch
    graph = onnx.load_model_from_string(model.content).graph
    assert [dim.dim_value for dim in graph.input[0].type.tensor_type.shape.dim] == [1, *SHAPE]
    np.testing.assert_allclose(_answers(model, samples), networks.expected_logits(networks.inputs(70)), atol=1e-4)


def test_a_network_that_mixes_the_images_of_a_batch_gets_one_at_a_time(tmp_path: Path) -> None:
    def mix(model: onnx.ModelProto) -> None:
        # Runs with any batch, and answers each image by what the batch has on average.
        nodes = model.graph.node
        nodes[3].output[0] = "own"
        mean = helper.make_node("ReduceMean", ["own", "axis"], ["mean"], keepdims=1)
        nodes.extend([mean, helper.make_node("Add", ["own", "mean"], ["logits"])])
        model.graph.initializer.append(numpy_helper.from_array(np.array([0], np.int64), "axis"))

    assert not _load(_changed(tmp_path / "net.onnx", mix)).dynamic_batch


def test_a_network_for_four_images_at_once_and_no_others_is_refused(tmp_path: Path) -> None:
    path = _changed(tmp_path / "net.onnx", lambda model: _flatten_by_reshape(model, (4, 512)))

    with pytest.raises(StepError) as caught:
        _load(path)

    assert str(caught.value) == (
        f"{path}: takes 4 images at once, no more and no fewer\n"
        "  try: export it with a dynamic batch, or a batch of one"
    )


def test_an_old_opset_is_raised_to_what_int8_needs(tmp_path: Path, samples: Samples) -> None:
    model = _load(networks.write_onnx(tmp_path / "net.onnx", opset=9))

    assert model.opset == 13
    np.testing.assert_allclose(_answers(model, samples), networks.expected_logits(networks.inputs(70)), atol=1e-4)


def test_weights_may_be_inputs_as_older_files_have_them(tmp_path: Path) -> None:
    def add_inputs(model: onnx.ModelProto) -> None:
        model.ir_version = 3
        for tensor in model.graph.initializer:
            value = helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
            model.graph.input.append(value)

    model = _load(_changed(tmp_path / "net.onnx", add_inputs))

    assert [value.name for value in onnx.load_model_from_string(model.content).graph.input] == [INPUT]


def test_weights_beside_the_file_are_taken_into_it(tmp_path: Path, samples: Samples) -> None:
    path = tmp_path / "net.onnx"
    whole = onnx.load(networks.write_onnx(path))
    onnx.save(whole, path, save_as_external_data=True, location="net.data", size_threshold=0)

    model = _load(path)
    (tmp_path / "net.data").rename(tmp_path / "moved.data")

    np.testing.assert_allclose(_answers(model, samples), networks.expected_logits(networks.inputs(70)), atol=1e-4)
    with pytest.raises(StepError) as caught:
        _load(path)
    assert str(caught.value) == (
        f"{path}: has its weights in net.data, which is not beside it\n"
        f"  try: put it into {tmp_path}, or export the model with its weights in one file"
    )


def test_weights_beside_the_file_that_are_cut_short_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    whole = onnx.load(networks.write_onnx(path))
    onnx.save(whole, path, save_as_external_data=True, location="net.data", size_threshold=0)
    (tmp_path / "net.data").write_bytes((tmp_path / "net.data").read_bytes()[:300])

    with pytest.raises(StepError, match=r"^.*net\.onnx: .*(cannot be read|no valid ONNX file): "):
        _load(path)


def test_sizes_that_the_file_leaves_open_become_those_of_the_images(tmp_path: Path) -> None:
    def leave_open(model: onnx.ModelProto) -> None:
        for dim, name in zip(model.graph.input[0].type.tensor_type.shape.dim[1:], "chw", strict=True):
            dim.dim_param = name

    model = _load(_changed(tmp_path / "net.onnx", leave_open))

    value = onnx.load_model_from_string(model.content).graph.input[0]
    assert [dim.dim_value or dim.dim_param for dim in value.type.tensor_type.shape.dim] == ["batch", *SHAPE]


@pytest.mark.parametrize(
    ("shape", "images", "message"),
    [
        (
            (1, 224, 224),
            (1, 32, 32),
            "takes images of 1 x 224 x 224, and these are 1 x 32 x 32\n  try: --image-size 224",
        ),
        (
            (3, 8, 8),
            (1, 8, 8),
            "takes images of 3 x 8 x 8, and these are 1 x 8 x 8\n  try: images of 3 channels, or a model for 1",
        ),
        (
            (1, 8, 12),
            (1, 8, 8),
            "takes images of 1 x 8 x 12, and these are 1 x 8 x 8\n"
            "  try: images of 8 x 12 pixels; --image-size makes square ones",
        ),
        (
            (8, 8, 1),
            (1, 8, 8),
            "takes images with the channels last (8 x 8 x 1)\n"
            "  try: export it with the channels first: N x C x H x W; tf2onnx has --inputs-as-nchw for it",
        ),
    ],
)
def test_images_of_another_shape_are_refused_with_the_one_it_wants(
    tmp_path: Path, shape: tuple[int, ...], images: tuple[int, ...], message: str
) -> None:
    path = networks.write_onnx(tmp_path / "net.onnx", shape=shape)

    with pytest.raises(StepError) as caught:
        _load(path, images)

    assert str(caught.value) == f"{path}: {message}"


def test_a_size_that_shows_only_when_it_runs_is_told_too(tmp_path: Path) -> None:
    def leave_open(model: onnx.ModelProto) -> None:
        for dim, name in zip(model.graph.input[0].type.tensor_type.shape.dim[1:], "chw", strict=True):
            dim.dim_param = name

    path = _changed(tmp_path / "net.onnx", leave_open)

    with pytest.raises(StepError, match=r"net\.onnx: cannot take images of 1 x 16 x 16: .*Gemm") as caught:
        _load(path, (1, 16, 16))
    assert caught.value.advice == "the image size that it was made for, such as --image-size 224, or another model"


def test_another_number_of_classes_is_refused(tmp_path: Path) -> None:
    path = networks.write_onnx(tmp_path / "net.onnx", classes=1000)

    with pytest.raises(StepError) as caught:
        _load(path)

    assert str(caught.value) == (
        f"{path}: returns 1000 values per image, and the data have 3 classes\n"
        "  try: the data that it was trained for: --data"
    )


def _second_output(model: onnx.ModelProto) -> None:
    model.graph.output.append(helper.make_tensor_value_info("flat", TensorProto.FLOAT, ["batch", 512]))


def _second_input(model: onnx.ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["batch", 3]))


def _output_features(model: onnx.ModelProto) -> None:
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("active", TensorProto.FLOAT, ["batch", 8, 8, 8]))


def _output_the_best_class(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("ArgMax", ["logits"], ["class"], axis=1))
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("class", TensorProto.INT64, ["batch", 1]))


def _add_a_custom_operator(model: onnx.ModelProto) -> None:
    model.graph.node[1].CopyFrom(helper.make_node("Swirl", ["features"], ["active"], domain="my.company"))
    model.opset_import.append(helper.make_opsetid("my.company", 1))


def _quantize_its_features(model: onnx.ModelProto) -> None:
    nodes = model.graph.node
    nodes[1].output[0] = "before"
    quantize = helper.make_node("QuantizeLinear", ["before", "scale"], ["integers"])
    dequantize = helper.make_node("DequantizeLinear", ["integers", "scale"], ["active"])
    nodes.insert(2, quantize)
    nodes.insert(3, dequantize)
    model.graph.initializer.append(numpy_helper.from_array(np.array(0.1, np.float32), "scale"))


def _let_weights_be_infinite(model: onnx.ModelProto) -> None:
    bias = next(tensor for tensor in model.graph.initializer if tensor.name == "bias")
    bias.CopyFrom(numpy_helper.from_array(np.full(3, np.inf, np.float32), "bias"))


@pytest.mark.parametrize(
    ("change", "what", "advice"),
    [
        (_second_output, "has 2 outputs: logits, flat", "export it with one output: the logits, N x classes"),
        (_second_input, "has 2 inputs: input, mask", "export it with one input: the images"),
        (
            _output_features,
            "returns 1 x 8 x 8 x 8 values for a batch of 1",
            "a classifier that returns N x classes logits",
        ),
        (
            _output_the_best_class,
            "returns int64, not logits in float32",
            "end it with the logits, without the arg max",
        ),
        (
            _add_a_custom_operator,
            "has operators that ONNX Runtime does not know: my.company::Swirl",
            "export it with ONNX's own operators alone",
        ),
        (
            _quantize_its_features,
            "is quantized already, by DequantizeLinear, QuantizeLinear",
            "the file in fp32 that it was made from",
        ),
        (_let_weights_be_infinite, "answers with what is no number, or infinite", "export it again"),
    ],
)
def test_what_is_no_classifier_in_fp32_is_refused(
    tmp_path: Path, change: Callable[[onnx.ModelProto], None], what: str, advice: str
) -> None:
    path = _changed(tmp_path / "net.onnx", change)

    with pytest.raises(StepError) as caught:
        _load(path)

    assert str(caught.value) == f"{path}: {what}\n  try: {advice}"


def test_half_precision_is_refused_as_an_input_and_as_weights(tmp_path: Path) -> None:
    def half_weights(model: onnx.ModelProto) -> None:
        bias = next(tensor for tensor in model.graph.initializer if tensor.name == "bias")
        bias.CopyFrom(numpy_helper.from_array(np.zeros(3, np.float16), "half"))
        model.graph.node.insert(0, helper.make_node("Cast", ["half"], ["bias"], to=TensorProto.FLOAT))

    with pytest.raises(StepError, match="has weights in half precision\n  try: the file in fp32"):
        _load(_changed(tmp_path / "net.onnx", half_weights))
    with pytest.raises(StepError, match=r"takes images as double, and gets them as float32\n  try: export it with"):
        _load(networks.write_onnx(tmp_path / "net.onnx", kind=TensorProto.DOUBLE))


@pytest.mark.parametrize("content", [b"", b"not a network", b"PK\x03\x04 an archive", bytes(range(256))])
def test_what_is_no_onnx_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(content)

    with pytest.raises(StepError, match=r"net\.onnx: is damaged or no ONNX file"):
        _load(path)


def test_a_file_that_is_cut_short_is_refused_wherever_that_is(tmp_path: Path) -> None:
    path = networks.write_onnx(tmp_path / "net.onnx")
    whole = path.read_bytes()

    for end in range(0, len(whole), 97):
        path.write_bytes(whole[:end])
        with pytest.raises(StepError, match=r"net\.onnx: is damaged or no (valid )?ONNX file"):
            _load(path)


def test_what_has_no_network_of_pytorch_says_so(tmp_path: Path) -> None:
    model = _load(networks.write_onnx(tmp_path / "net.onnx"))

    assert str(model.no_module()) == (
        "net: the model exists only as an ONNX file, and this needs a network of PyTorch\n"
        "  try: the network's own code: --model net.py:Net --weights FILE"
    )


def test_what_is_loaded_can_be_quantized(tmp_path: Path, samples: Samples) -> None:
    from onnxruntime.quantization import CalibrationDataReader, quantize_static  # noqa: PLC0415 - heavy

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime ships no types
        def __init__(self) -> None:
            self.batches = iter([networks.PREPROCESS.apply(networks.inputs(40))])

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            batch = next(self.batches, None)
            return None if batch is None else {INPUT: batch}

    model = _load(networks.write_onnx(tmp_path / "net.onnx", opset=9))
    fp32, int8 = tmp_path / "fp32.onnx", tmp_path / "int8.onnx"
    fp32.write_bytes(model.content)
    with quiet():
        quantize_static(fp32, int8, Reader(), per_channel=True)

    session = onnxruntime.InferenceSession(int8, providers=["CPUExecutionProvider"])
    answers = session.run([OUTPUT], {INPUT: networks.PREPROCESS.apply(networks.inputs(70))})[0]
    expected = _answers(model, samples)
    noise = np.square(answers - expected).sum()
    assert 0 < noise < np.square(expected).sum() / 1000
