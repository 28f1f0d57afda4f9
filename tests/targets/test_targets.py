"""The catalogue of targets, and files of the user's own: read strictly, and never what no machine could be."""

import dataclasses
import tomllib
from pathlib import Path

import pytest

import targets
from runner.errors import UsageError
from runner.manifest import Candidate, SessionSettings, Target

ADVICE = "\n  try: start from one that `pack targets` lists"
OWN = """
name = "my-board"
description = "the board on my desk"
machine = "aarch64"
engine = "qnnpack"
artifacts = [{ precision = "fp32", format = "onnx" }, { precision = "int8", format = "torchscript" }]
"""


def loaded(folder: Path, text: str | bytes) -> Target:
    """Load a target from a file of the user's."""
    path = folder / "own.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return targets.load(str(path))


def refusal(folder: Path, text: str) -> str:
    """Return why a target is refused."""
    with pytest.raises(UsageError) as caught:
        loaded(folder, text)
    return str(caught.value).replace(f"{folder}/", "")


def test_the_catalogue_has_four_targets() -> None:
    assert targets.names() == ("arm-qnnpack", "cuda", "x86", "x86-avx2")
    assert [targets.load(name).name for name in targets.names()] == ["arm-qnnpack", "cuda", "x86", "x86-avx2"]


@pytest.mark.parametrize(
    ("name", "machine", "device", "engine", "types", "artifacts"),
    [
        (
            "x86",
            "x86_64",
            "cpu",
            "x86",
            ("uint8", "int8", True),
            ["fp32.onnx", "int8.onnx", "fp32.torchscript", "int8.torchscript"],
        ),
        (
            "x86-avx2",
            "x86_64",
            "cpu",
            "fbgemm",
            ("uint8", "int8", True),
            ["fp32.onnx", "int8.onnx", "fp32.torchscript", "int8.torchscript"],
        ),
        (
            "arm-qnnpack",
            "aarch64",
            "cpu",
            "qnnpack",
            ("int8", "int8", True),
            ["fp32.onnx", "int8.onnx", "int8.torchscript"],
        ),
        (
            "cuda",
            "x86_64",
            "cuda",
            None,
            ("uint8", "int8", True),
            ["fp32.onnx", "fp16.onnx", "fp32.torchscript", "fp16.torchscript"],
        ),
    ],
)
def test_each_target_is_what_its_runtimes_are_fast_with(
    name: str, machine: str, device: str, engine: str | None, types: tuple[str, str, bool], artifacts: list[str]
) -> None:
    found = targets.load(name)
    assert (found.machine, found.device, found.engine) == (machine, device, engine)
    assert (found.activation_type, found.weight_type, found.per_channel) == types
    assert [candidate.name for candidate in found.artifacts] == artifacts
    assert found.description


def test_each_target_is_a_file_of_its_name() -> None:
    for path in targets.CATALOGUE.glob("*.toml"):
        assert tomllib.loads(path.read_text(encoding="utf-8"))["name"] == path.stem


def test_a_target_of_the_users_own_is_read_from_its_file(tmp_path: Path) -> None:
    assert loaded(tmp_path, OWN) == Target(
        name="my-board",
        description="the board on my desk",
        machine="aarch64",
        device="cpu",
        engine="qnnpack",
        activation_type="uint8",
        weight_type="int8",
        per_channel=True,
        artifacts=(Candidate(precision="fp32", format="onnx"), Candidate(precision="int8", format="torchscript")),
    )


def test_a_name_of_the_catalogue_is_not_looked_for_among_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x86").write_text(OWN, encoding="utf-8")
    assert targets.load("x86").machine == "x86_64"
    (tmp_path / "x86.toml").write_text(OWN, encoding="utf-8")
    assert targets.load("x86.toml").name == "my-board"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("x68", "did you mean 'x86'?"),
        ("arm-qnpack", "did you mean 'arm-qnnpack'?"),
        ("CUDA", "there are arm-qnnpack, cuda, x86, x86-avx2, or a .toml file of your own"),
        ("", "there are arm-qnnpack, cuda, x86, x86-avx2, or a .toml file of your own"),
        ("../targets/x86", "there are arm-qnnpack, cuda, x86, x86-avx2, or a .toml file of your own"),
    ],
)
def test_an_unknown_target_is_told_with_the_nearest(name: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        targets.load(name)
    assert str(caught.value) == f"--target: there is no target {name!r}; {hint}\n  try: pack targets"


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        targets.load(str(tmp_path / "no.toml"))
    assert str(caught.value) == f"{tmp_path / 'no.toml'}: cannot be read: No such file or directory"
    with pytest.raises(UsageError) as caught:
        loaded(tmp_path, b"\xff\xfe")
    assert str(caught.value) == f"{tmp_path / 'own.toml'}: is not a text file"


def test_every_wrong_key_is_told_with_its_path(tmp_path: Path) -> None:
    text = """
        name = "rpi4"
        machine = "arm64"
        engine = "qnpack"
        per_chanel = true
        weight_type = 8
        artifacts = [{ precision = "int4", format = "onnx" }, { precision = "fp32" }, "int8.onnx"]
    """
    found = refusal(tmp_path, text)
    assert found.startswith("own.toml: ")
    assert found.endswith(ADVICE)
    assert set(found.removeprefix("own.toml: ").removesuffix(ADVICE).splitlines()) == {
        "description: missing",
        "machine: expected one of 'x86_64', 'aarch64', got 'arm64'; did you mean 'aarch64'?",
        "engine: expected one of 'x86', 'onednn', 'fbgemm', 'qnnpack', got 'qnpack'; did you mean 'qnnpack'?",
        "per_chanel: unknown key; did you mean 'per_channel'?",
        "weight_type: expected one of 'int8', 'uint8', got 8",
        "artifacts[0].precision: expected one of 'fp32', 'fp16', 'bf16', 'int8', 'int8-weights', 'int4-weights', "
        "got 'int4'; did you mean 'int8'?",
        "artifacts[1].format: missing",
        "artifacts[2]: expected a table of keys, got 'int8.onnx'",
    }


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('"my-board"', '""', "name: '' cannot be part of a file's name"),
        ('"my-board"', '"../evil"', "name: '../evil' cannot be part of a file's name"),
        ('"my-board"', '".hidden"', "name: '.hidden' cannot be part of a file's name"),
        ('"my-board"', '"C:board"', "name: 'C:board' cannot be part of a file's name"),
        ('"my-board"', '"two\\nlines"', "name: 'two\\nlines' cannot be part of a file's name"),
        (
            'precision = "fp32"',
            'precision = "fp16"',
            "artifacts: fp32 onnx is missing, and the others are compared with it",
        ),
        (
            'engine = "qnnpack"',
            "",
            "engine: missing, and int8 torchscript is made for one: 'x86', 'onednn', 'fbgemm' or 'qnnpack'",
        ),
        ('"qnnpack"', '"x86"', "engine: 'x86' does not exist on aarch64; use 'qnnpack'"),
        ('"qnnpack"', '"fbgemm"', "engine: 'fbgemm' does not exist on aarch64; use 'qnnpack'"),
        (
            '"aarch64"',
            '"x86_64"\ndevice = "cuda"',
            "artifacts: int8 has no fast kernels on CUDA in these formats; use fp16",
        ),
    ],
)
def test_what_no_machine_could_be_is_refused(old: str, new: str, problem: str, tmp_path: Path) -> None:
    assert old in OWN
    assert refusal(tmp_path, OWN.replace(old, new)) == f"own.toml: {problem}"


def test_an_artifact_that_is_listed_twice_is_refused(tmp_path: Path) -> None:
    twice = OWN.replace("artifacts = [", 'artifacts = [{ precision = "fp32", format = "onnx" }, ')
    assert refusal(tmp_path, twice) == "own.toml: artifacts: one is listed twice"


def test_signed_activations_are_refused_where_they_are_slow(tmp_path: Path) -> None:
    text = """
        name = "server"
        description = "S8S8 on x86"
        machine = "x86_64"
        activation_type = "int8"
        artifacts = [{ precision = "fp32", format = "onnx" }, { precision = "int8", format = "onnx" }]
    """
    assert refusal(tmp_path, text) == (
        "own.toml: activation_type: 'int8' is slow on x86, where only uint8 activations have fast kernels; use 'uint8'"
    )
    # Nothing is made with it where there is no int8 onnx.
    without = text.replace('{ precision = "int8", format = "onnx" }', '{ precision = "fp32", format = "torchscript" }')
    assert loaded(tmp_path, without).activation_type == "int8"


def test_every_contradiction_is_told_at_once(tmp_path: Path) -> None:
    text = OWN.replace('"my-board"', '"a/b"').replace('"qnnpack"', '"x86"').replace('"fp32"', '"fp16"')
    assert refusal(tmp_path, text) == (
        "own.toml: name: 'a/b' cannot be part of a file's name\n"
        "artifacts: fp32 onnx is missing, and the others are compared with it\n"
        "engine: 'x86' does not exist on aarch64; use 'qnnpack'"
    )


def test_a_target_without_artifacts_is_refused(tmp_path: Path) -> None:
    text = 'name = "none"\ndescription = ""\nmachine = "aarch64"\nartifacts = []\n'
    assert refusal(tmp_path, text) == "own.toml: artifacts: fp32 onnx is missing, and the others are compared with it"


def test_a_target_does_not_change() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        targets.load("x86").engine = "qnnpack"  # type: ignore[misc]  # that is what is tried


def test_how_sessions_wait_and_where_their_threads_stay_is_the_targets_to_say(tmp_path: Path) -> None:
    own = loaded(tmp_path, f'{OWN}\n[session]\nspinning = false\naffinity = "physical-cores"\n')
    assert own.session == SessionSettings(spinning=False, affinity="physical-cores")
    assert all(targets.load(name).session == SessionSettings() for name in targets.names())
    assert "session.affinity: expected one of 'physical-cores', got 'cores'" in refusal(
        tmp_path, f'{OWN}\n[session]\naffinity = "cores"\n'
    )
