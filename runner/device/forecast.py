"""What to expect of an artifact on this CPU, said before anything is measured: its integer kernel, speed, and traps."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from runner.device.cpu import ARM_NONE, QNNPACK_ON_X86, SATURATING, X86_NONE, kernel
from runner.facts import DeviceFacts
from runner.manifest import Artifact, Engine, Format, Target
from runner.reason import Reason

X86 = "x86_64"
ARM = "aarch64"
ENGINES: Mapping[str, tuple[Engine, ...]] = MappingProxyType(
    {X86: ("x86", "onednn", "fbgemm"), ARM: ("qnnpack", "onednn")}
)
"""Which quantization engines of PyTorch are meant for which machine."""
PRECISE: Mapping[Format, str] = MappingProxyType(
    {
        "onnx": "ONNX Runtime runs in its precise mode (session.x64quantprecision)",
        "openvino": "OpenVINO rounds to integers and computes with floats",
    }
)
"""What a runtime does on x86 in the place of an ARM CPU."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Speedup:
    """How many times as fast as fp32 in the same runtime: below 1 is slower."""

    low: float
    high: float
    evidence: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Forecast:
    """What to expect of one artifact here."""

    kernel: str | None
    """What the integer arithmetic will use; None where an artifact has none, or a GPU does it."""
    speedup: Speedup | None
    """None where nobody has measured it."""
    reasons: tuple[Reason, ...]


# Medians at batch 1, 3 x 224 x 224, 2 threads, on an x86-64 machine with AVX-512 VNNI, November 2026; torch 2.15,
# onnxruntime 1.31.1. fp32 / int8 in ms, each by the same runtime; where a model was timed more than once the ends of
# both ranges were divided crosswise.
#
# ONNX Runtime, U8S8 per channel, QDQ and QOperator: resnet18 13.34 / 6.94, 6.03; resnet50 37.53 / 11.88, 11.42;
# mobilenet_v2 3.99 / 2.3, 2.63; mobilenet_v3_large 10.06 / 8.58, 7.12; mnasnet0_5 2.23 / 2.55, 2.18;
# shufflenet_v2_x0_5 1.28 / 3.2, 1.75; squeezenet1_1 2.58 / 2.29, 2.02; regnet_y_400mf 15.02 / 12.83, 8.49;
# googlenet 13.6 / 5.63, 5.63; densenet121 29.54 / 31.0, 32.9; efficientnet_v2_s 39.01 / 23.29, 26.56;
# convnext_tiny 48.57 / 31.98, 34.3; swin_t 81.62 / 70.85, 88.47; alexnet 14.28 / 4.67, 5.72.
ONNX_VNNI = Speedup(
    low=0.4,
    high=3.3,
    evidence="14 networks on AVX512-VNNI: 1.5 to 3.3 for plain convolutions (ResNet, MobileNetV2, GoogLeNet, AlexNet), "
    "0.4 to 1.8 where small layers take turns (ShuffleNet, MNASNet, MobileNetV3, RegNet, DenseNet, Swin)",
)
# ONNX Runtime, S8S8: resnet18 15.6-17.0 / 17-23; mobilenet_v2 5.6 / 5.5.
ONNX_S8S8 = Speedup(low=0.7, high=1.0, evidence="ResNet-18 and MobileNetV2 on AVX512-VNNI")
# TorchScript, fp32 frozen and optimised: resnet18 31-36, mobilenet_v2 8.3. int8 by engine:
# x86 4.8-6.8, 3.6; onednn 4.5-8.4, 3.2; fbgemm 6.5-11, 5.2; qnnpack on x86 61-90, 30.
TORCHSCRIPT_VNNI: Mapping[Engine, Speedup] = MappingProxyType(
    {
        "x86": Speedup(low=2.3, high=7.5, evidence="MobileNetV2 and ResNet-18 on AVX512-VNNI"),
        "onednn": Speedup(low=2.6, high=8.0, evidence="MobileNetV2 and ResNet-18 on AVX512-VNNI"),
        "fbgemm": Speedup(low=1.6, high=5.5, evidence="MobileNetV2 and ResNet-18 on AVX512-VNNI"),
    }
)
# OpenVINO with integers by NNCF: resnet18 14.5-19.82 / 4.0-4.25; resnet50 30.9 / 11.45;
# mobilenet_v2 3.9-5.65 / 2.5-4.05;
# mobilenet_v3_large 4.59 / 4.7; mnasnet0_5 2.01 / 2.19; shufflenet_v2_x0_5 1.59 / 2.17; squeezenet1_1 2.93 / 1.7;
# regnet_y_400mf 6.36 / 5.41; googlenet 14.17 / 4.74; densenet121 35.47 / 11.33; efficientnet_v2_s 42.71 / 31.74;
# convnext_tiny 48.9 / 24.53; swin_t 62.91 / 28.69; alexnet 15.67 / 5.73.
OPENVINO_VNNI = Speedup(
    low=0.7,
    high=5.0,
    evidence="14 networks on AVX512-VNNI: 1.7 to 5.0 for plain convolutions, DenseNet and Swin, 0.7 to 2.3 where small "
    "layers take turns (ShuffleNet, MNASNet, MobileNets, RegNet, EfficientNetV2)",
)
# ExecuTorch, XNNPACK: resnet18 17.2 / 7.5, mobilenet_v2 4.5 / 4.8.
EXECUTORCH_VNNI = Speedup(low=0.9, high=2.3, evidence="MobileNetV2 and ResNet-18 on AVX512-VNNI")
QNNPACK_X86 = Speedup(low=0.3, high=0.6, evidence="MobileNetV2 and ResNet-18 on an x86 machine")


def forecast(artifact: Artifact, facts: DeviceFacts, target: Target) -> Forecast:
    """Say what to expect of an artifact, made for a target, on a machine."""
    # Four-bit weights are widened to floats before anything is computed with them.
    if artifact.precision not in ("int8", "int8-weights") or artifact.device != "cpu":
        return Forecast(kernel=None, speedup=None, reasons=())
    used = kernel(artifact.format, facts.machine, facts.features, artifact.engine)
    expected = _speedup(artifact, target, used, facts.machine)
    reasons = (
        *_engine_reasons(artifact, facts.machine),
        *_speed_reasons(expected, used, facts.machine),
        *_signed_reasons(artifact, target, used),
        *_saturation_reasons(artifact, target, used),
        *_crash_reasons(artifact, used),
    )
    return Forecast(kernel=used, speedup=expected, reasons=reasons)


def _speedup(artifact: Artifact, target: Target, used: str, machine: str) -> Speedup | None:
    if used == QNNPACK_ON_X86:
        return QNNPACK_X86
    # With weights alone in int8, and without VNNI, nothing was measured; and on ARM nothing that was not emulated.
    if artifact.precision != "int8" or machine != X86 or used in SATURATING:
        return None
    if artifact.format == "onnx":
        return ONNX_S8S8 if _signed(artifact, target) else ONNX_VNNI
    if artifact.format == "openvino":
        return OPENVINO_VNNI
    if artifact.format == "executorch":
        return EXECUTORCH_VNNI if used == "AVX512-VNNI" else None
    return TORCHSCRIPT_VNNI.get(artifact.engine) if artifact.engine else None


def _engine_reasons(artifact: Artifact, machine: str) -> Iterator[Reason]:
    if artifact.format != "torchscript":
        return
    if artifact.engine is None:
        yield Reason(
            code="engine-unknown",
            level="caveat",
            detail="its manifest does not say for which quantization engine it was made, the file cannot, and the "
            "default of this machine may be another: slow, wrong, or an error",
            advice="pack it again",
        )
    elif machine in ENGINES and artifact.engine not in ENGINES[machine]:
        yield Reason(
            code="engine-elsewhere",
            level="note",
            detail=f"made for the engine {artifact.engine}, which is not meant for {machine}: its answers count here, "
            "its speed does not",
            advice="measure speed on the target, or pack for a target of this machine",
        )


def _speed_reasons(expected: Speedup | None, used: str, machine: str) -> Iterator[Reason]:
    if expected and expected.high <= 1:
        yield Reason(
            code="int8-slower",
            level="note",
            detail=f"int8 may not be faster than fp32 here ({used}): {expected.low:g} to {expected.high:g} times its "
            f"speed, measured with {expected.evidence}",
            advice="an artifact for a target of this machine" if machine == X86 else "",
        )
    elif used == ARM_NONE:
        yield Reason(
            code="int8-no-dot-product",
            level="note",
            detail="this CPU has no dot product (such as the Cortex-A72 of a Raspberry Pi 4): int8 may gain nothing",
            advice="compare with the fp32 artifact; int8 is still a quarter of its size",
        )
    elif used == X86_NONE:
        yield Reason(
            code="int8-no-kernel",
            level="note",
            detail="this CPU has neither VNNI nor AVX2: int8 may be slower than fp32",
            advice="compare with the fp32 artifact",
        )


def _signed_reasons(artifact: Artifact, target: Target, used: str) -> Iterator[Reason]:
    """Yield that signed activations are slow on x86: measured with VNNI, and without it nothing makes them faster."""
    if used in SATURATING and artifact.format == "onnx" and _signed(artifact, target):
        yield Reason(
            code="int8-slower",
            level="note",
            detail="int8 with signed activations (S8S8) may not be faster than fp32 here: with VNNI, which this CPU "
            f"lacks, it was {ONNX_S8S8.low:g} to {ONNX_S8S8.high:g} times as fast ({ONNX_S8S8.evidence})",
            advice="an artifact for a target of this machine",
        )


def _signed(artifact: Artifact, target: Target) -> bool:
    return artifact.precision == "int8" and target.activation_type == "int8"


def _saturation_reasons(artifact: Artifact, target: Target, used: str) -> Iterator[Reason]:
    if used not in SATURATING:
        return
    if artifact.format in PRECISE and target.machine == ARM:
        yield Reason(
            code="int8-exact",
            level="note",
            detail=f"this CPU stands in for an ARM one and its own int8 arithmetic may saturate ({used}): "
            f"{PRECISE[artifact.format]}, which is slower",
            advice="measure speed on the target",
        )
    # PyTorch's dynamic layers take one bit less by themselves.
    elif not target.reduce_range and (artifact.format, artifact.precision) != ("torchscript", "int8-weights"):
        yield Reason(
            code="int8-saturates",
            level="caveat",
            detail=f"int8 answers may be plain wrong here: {used}, and the artifact uses all eight bits",
            advice="pack for the target x86-avx2, which takes one bit less",
        )


def _crash_reasons(artifact: Artifact, used: str) -> Iterator[Reason]:
    """Yield that XNNPACK's kernel for the dot product is taken without one, as seen on an emulated Cortex-A72."""
    if artifact.format == "executorch" and artifact.precision == "int8" and used == ARM_NONE:
        yield Reason(
            code="int8-illegal-instruction",
            level="caveat",
            detail="executorch 1.0.1 takes the dot product for int8, which this CPU lacks, and may die of an illegal "
            "instruction",
            advice="the fp32 artifact, or int8 for another runtime",
        )
