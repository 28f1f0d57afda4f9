from dataclasses import replace
from pathlib import Path

import pytest

import targets
from runner import device
from runner.device import cpu
from runner.device.forecast import Forecast, forecast
from runner.facts import DeviceFacts
from runner.manifest import Artifact, Engine, Format, Precision
from tests.runner.device.trees import PI4_FEATURES, PI5_FEATURES, X86_AVX2, X86_VNNI, arm_cpuinfo, tree, x86_cpuinfo


def artifact(
    format: Format = "onnx",  # noqa: A002 - the field's name
    precision: Precision = "int8",
    engine: Engine | None = None,
) -> Artifact:
    name = f"{precision}.{format}"
    return Artifact(name=name, path=name, precision=precision, format=format, engine=engine, made_with={})


def x86(root: Path, flags: str) -> DeviceFacts:
    return device.facts(tree(root, {"proc/cpuinfo": x86_cpuinfo(flags)}), "x86_64", environment={})


def arm(root: Path, features: str, part: str) -> DeviceFacts:
    return device.facts(tree(root, {"proc/cpuinfo": arm_cpuinfo(features, part)}), "aarch64", environment={})


def codes(found: Forecast) -> list[str]:
    return [f"{reason.code} {reason.level}" for reason in found.reasons]


@pytest.mark.parametrize(
    ("subject", "target", "kernel", "speedup"),
    [
        (artifact(), "x86", "AVX512-VNNI", (0.4, 3.3)),
        (artifact("torchscript", engine="x86"), "x86", "AVX512-VNNI", (2.3, 7.5)),
        (artifact("torchscript", engine="onednn"), "x86", "AVX512-VNNI", (2.6, 8.0)),
        (artifact("torchscript", engine="fbgemm"), "x86-avx2", "AVX512-VNNI", (1.6, 5.5)),
        (artifact("executorch"), "x86", "AVX512-VNNI", (0.9, 2.3)),
        (artifact("executorch"), "arm-qnnpack", "AVX512-VNNI", (0.9, 2.3)),
        (artifact(precision="int8-weights"), "x86", "AVX512-VNNI", None),
        (artifact(precision="fp32"), "x86", None, None),
        (artifact(precision="int4-weights"), "x86", None, None),
        (replace(artifact(), device="cuda"), "x86", None, None),
    ],
)
def test_with_vnni_int8_is_right_and_its_speed_was_measured(
    tmp_path: Path, subject: Artifact, target: str, kernel: str | None, speedup: tuple[float, float] | None
) -> None:
    found = forecast(subject, x86(tmp_path, X86_VNNI), targets.load(target))
    assert found.kernel == kernel
    assert (found.speedup and (found.speedup.low, found.speedup.high)) == speedup
    assert found.reasons == ()


def test_executorch_without_the_dot_product_may_die_and_with_it_does_not(tmp_path: Path) -> None:
    found = [
        forecast(artifact("executorch"), arm(tmp_path / part, features, part), targets.load("arm-qnnpack"))
        for features, part in ((PI4_FEATURES, "0xd08"), (PI5_FEATURES, "0xd0b"))
    ]
    assert [codes(each) for each in found] == [["int8-no-dot-product note", "int8-illegal-instruction caveat"], []]


def test_xnnpack_saturates_on_no_x86_machine(tmp_path: Path) -> None:
    found = forecast(artifact("executorch"), x86(tmp_path, X86_AVX2), targets.load("x86"))
    assert (found.kernel, found.speedup, found.reasons) == ("AVX2", None, ())


def test_signed_activations_are_slow_on_x86(tmp_path: Path) -> None:
    found = forecast(artifact(), x86(tmp_path, X86_VNNI), targets.load("arm-qnnpack"))
    assert codes(found) == ["int8-slower note"]
    assert found.reasons[0].detail == (
        "int8 may not be faster than fp32 here (AVX512-VNNI): 0.7 to 1 times its speed, measured with ResNet-18 and "
        "MobileNetV2 on AVX512-VNNI"
    )


@pytest.mark.parametrize("flags", [X86_AVX2, X86_VNNI, "fpu sse4_2"])
def test_qnnpack_on_x86_is_right_and_slow(tmp_path: Path, flags: str) -> None:
    subject = artifact("torchscript", engine="qnnpack")
    found = forecast(subject, x86(tmp_path, flags), targets.load("arm-qnnpack"))
    assert found.kernel == "QNNPACK on x86: right answers, and slow"
    assert found.speedup is not None
    assert (found.speedup.low, found.speedup.high) == (0.3, 0.6)
    assert codes(found) == ["engine-elsewhere note", "int8-slower note"]


@pytest.mark.parametrize(
    "subject", [artifact(), artifact("torchscript", engine="x86"), artifact("onnx", "int8-weights")]
)
def test_without_vnni_all_eight_bits_saturate(tmp_path: Path, subject: Artifact) -> None:
    found = forecast(subject, x86(tmp_path, X86_AVX2), targets.load("x86"))
    assert (found.kernel, found.speedup) == ("AVX2 (may saturate)", None)
    assert codes(found) == ["int8-saturates caveat"]
    assert found.reasons[0].advice == "pack for the target x86-avx2, which takes one bit less"


@pytest.mark.parametrize(
    ("subject", "target"),
    [
        (artifact(), "x86-avx2"),
        (artifact("torchscript", engine="fbgemm"), "x86-avx2"),
        (artifact("torchscript", "int8-weights", "x86"), "x86"),
    ],
)
def test_with_one_bit_less_nothing_saturates(tmp_path: Path, subject: Artifact, target: str) -> None:
    found = forecast(subject, x86(tmp_path, X86_AVX2), targets.load(target))
    assert (found.speedup, found.reasons) == (None, ())


def test_an_x86_cpu_in_place_of_an_arm_one_is_right_and_slower(tmp_path: Path) -> None:
    found = forecast(artifact(), x86(tmp_path, X86_AVX2), targets.load("arm-qnnpack"))
    assert (found.speedup, codes(found)) == (None, ["int8-slower note", "int8-exact note"])
    assert "session.x64quantprecision" in found.reasons[1].detail


@pytest.mark.parametrize("flags", [X86_AVX2, "fpu avx512bw avx2", "fpu sse4_2"])
def test_signed_activations_are_slow_on_x86_without_vnni_too(tmp_path: Path, flags: str) -> None:
    signed = replace(targets.load("x86"), activation_type="int8")
    found = forecast(artifact(), x86(tmp_path, flags), signed)
    slower = next(reason for reason in found.reasons if reason.code == "int8-slower")
    assert (found.speedup, slower.level) == (None, "note")
    assert slower.detail == (
        "int8 with signed activations (S8S8) may not be faster than fp32 here: with VNNI, which this CPU lacks, it was "
        "0.7 to 1 times as fast (ResNet-18 and MobileNetV2 on AVX512-VNNI)"
    )
    weights = forecast(artifact(precision="int8-weights"), x86(tmp_path, flags), signed)
    assert "int8-slower note" not in codes(weights)
    unsigned = forecast(artifact(), x86(tmp_path, flags), targets.load("x86"))
    assert "int8-slower note" not in codes(unsigned)


def test_with_sse_alone_int8_may_be_slow_and_wrong(tmp_path: Path) -> None:
    found = forecast(artifact(), x86(tmp_path, "fpu sse4_2"), targets.load("x86"))
    assert codes(found) == ["int8-no-kernel note", "int8-saturates caveat"]


def test_arm_without_the_dot_product_may_gain_nothing(tmp_path: Path) -> None:
    found = forecast(artifact(), arm(tmp_path, PI4_FEATURES, "0xd08"), targets.load("arm-qnnpack"))
    assert found.kernel == "none (NEON without dot product: int8 may gain nothing)"
    assert codes(found) == ["int8-no-dot-product note"]


def test_arm_with_the_dot_product_has_nothing_to_warn_of_and_no_speed_that_was_measured(tmp_path: Path) -> None:
    found = forecast(artifact(), arm(tmp_path, PI5_FEATURES, "0xd0b"), targets.load("arm-qnnpack"))
    assert (found.kernel, found.speedup, found.reasons) == ("SDOT and UDOT", None, ())
    qnnpack = forecast(
        artifact("torchscript", engine="qnnpack"), arm(tmp_path, PI5_FEATURES, "0xd0b"), targets.load("arm-qnnpack")
    )
    assert (qnnpack.kernel, qnnpack.reasons) == ("QNNPACK on NEON, without dot product", ())


def test_an_engine_of_x86_is_out_of_place_on_arm(tmp_path: Path) -> None:
    facts = arm(tmp_path, PI5_FEATURES, "0xd0b")
    found = forecast(artifact("torchscript", engine="fbgemm"), facts, targets.load("x86"))
    assert (found.kernel, codes(found)) == ("that of the engine fbgemm, unknown here", ["engine-elsewhere note"])
    assert found.reasons[0].detail.startswith("made for the engine fbgemm, which is not meant for aarch64")


def test_a_torchscript_file_without_an_engine_may_be_run_by_another(tmp_path: Path) -> None:
    found = forecast(artifact("torchscript"), x86(tmp_path, X86_VNNI), targets.load("x86"))
    assert (found.speedup, codes(found)) == (None, ["engine-unknown caveat"])


def test_the_kernel_of_the_facts_and_of_the_forecast_is_the_same_on_this_machine() -> None:
    facts = device.facts()
    found = forecast(artifact(), facts, targets.load("x86"))
    assert found.kernel == next(runtime.kernel for runtime in facts.runtimes if runtime.format == "onnx")
    assert found.kernel == cpu.kernel("onnx", facts.machine, facts.features)
