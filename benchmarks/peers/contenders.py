"""Who is measured, and in which environment each lives."""

from dataclasses import dataclass
from typing import Literal

Environment = Literal["edgepack", "torch", "onnxruntime", "openvino", "executorch"]
"""`edgepack` is the environment of this very program; each of the others has a file in `requirements/`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Contender:
    """One way to run a network."""

    name: str
    environment: Environment
    module: str
    """Of `benchmarks.peers.runtimes`."""
    int8: bool = False


EDGEPACK = Contender(name="edgepack", environment="edgepack", module="edgepack_choice")
PEERS = (
    Contender(name="torch eager", environment="torch", module="torch_eager"),
    Contender(name="torch.compile", environment="torch", module="torch_compile"),
    Contender(name="TorchScript fp32", environment="torch", module="torchscript_fp32"),
    Contender(name="TorchScript FX int8", environment="torch", module="torchscript_int8", int8=True),
    Contender(name="torchao int8", environment="torch", module="torchao_int8", int8=True),
    Contender(name="torchao int8, AOTInductor", environment="torch", module="torchao_package", int8=True),
    Contender(name="ONNX Runtime fp32", environment="onnxruntime", module="onnxruntime_fp32"),
    Contender(name="ONNX Runtime int8", environment="onnxruntime", module="onnxruntime_int8", int8=True),
    Contender(name="OpenVINO fp32", environment="openvino", module="openvino_fp32"),
    Contender(name="OpenVINO + NNCF int8", environment="openvino", module="openvino_int8", int8=True),
    Contender(name="ExecuTorch fp32", environment="executorch", module="executorch_fp32"),
    Contender(name="ExecuTorch int8", environment="executorch", module="executorch_int8", int8=True),
)
FAMILIES = (
    "resnet18",
    "resnet50",
    "mobilenet_v2",
    "mobilenet_v3_large",
    "mnasnet0_5",
    "shufflenet_v2_x0_5",
    "squeezenet1_1",
    "regnet_y_400mf",
    "googlenet",
    "densenet121",
    "efficientnet_v2_s",
    "convnext_tiny",
    "swin_t",
    "alexnet",
)
