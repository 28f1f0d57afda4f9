import pytest

from packager.remote.doctor.outlook import features_in, outlooks, target_for, trouble
from runner.device.forecast import ONNX_VNNI
from tests.runner.device.trees import PI4_FEATURES, PI5_FEATURES, X86_AVX2, X86_VNNI

PI5 = features_in("aarch64", PI5_FEATURES)
PI4 = features_in("aarch64", PI4_FEATURES)


def test_a_pi_5_has_the_dot_product_and_a_pi_4_has_not() -> None:
    onnx, torchscript = outlooks("aarch64", PI5)
    assert (onnx.format, onnx.package, onnx.kernel) == ("onnx", "onnxruntime", "SDOT and UDOT")
    assert onnx.speedup is None
    assert onnx.reasons == ()
    assert torchscript.kernel == "QNNPACK on NEON, without dot product"
    onnx, torchscript = outlooks("aarch64", PI4)
    assert onnx.kernel == "none (NEON without dot product: int8 may gain nothing)"
    assert [reason.code for reason in onnx.reasons] == ["int8-no-dot-product"]
    assert [reason.code for reason in torchscript.reasons] == ["torch-for-arm"]


def test_a_pc_has_the_speedups_that_were_measured() -> None:
    onnx, torchscript = outlooks("x86_64", features_in("x86_64", X86_VNNI))
    assert (onnx.kernel, onnx.speedup) == ("AVX512-VNNI", ONNX_VNNI)
    assert torchscript.speedup
    assert torchscript.speedup.evidence == "MobileNetV2 and ResNet-18 on AVX512-VNNI"


@pytest.mark.parametrize(
    ("machine", "listed", "name"),
    [
        ("aarch64", PI4_FEATURES, "arm-qnnpack"),
        ("x86_64", X86_VNNI, "x86"),
        ("x86_64", X86_AVX2, "x86-avx2"),
        ("riscv64", "", None),
    ],
)
def test_each_machine_has_the_target_of_its_kind(machine: str, listed: str, name: str | None) -> None:
    found = target_for(machine, features_in(machine, listed))
    assert (found.name if found else None) == name
    assert bool(outlooks(machine, features_in(machine, listed))) == (name is not None)


@pytest.mark.parametrize(
    ("version", "features", "says"),
    [
        ("2.9.1", PI4, ""),
        ("2.10.0", PI4, "torch 2.10.0 has instructions that this CPU lacks, and dies (seen on a Raspberry Pi 4)"),
        ("2.10.0", PI5, ""),
        ("2.13.0", PI5, "torch 2.13.0 from PyPI is made for CUDA on ARM, and cannot be imported without its libraries"),
        ("2.13.0+cpu", PI5, ""),
        ("unknown", PI5, ""),
    ],
)
def test_builds_of_torch_that_do_not_run_on_arm_are_known(version: str, features: tuple[str, ...], says: str) -> None:
    assert trouble("torch", version, "aarch64", features) == says
    assert trouble("torch", version, "x86_64", features) == ""
    assert trouble("onnxruntime", version, "aarch64", features) == ""
