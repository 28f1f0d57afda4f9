import json
import platform
import subprocess
import sys
import venv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from packager.remote import ssh
from packager.remote.doctor import Diagnosis, Lack, examine, without_python
from packager.remote.doctor.outlook import features_in
from packager.remote.doctor.page import doctor_page
from packager.remote.failures import NoPythonError
from packager.remote.link import Listener
from packager.remote.messages import BoardFacts, Message, NoPython
from runner import codec, device
from runner.render.page import as_text
from tests.packager.remote.boards import PI5, FolderBoard, board_facts
from tests.runner.device.trees import PI4_FEATURES, PI5_FEATURES, arm_cpuinfo, tree

EVERYTHING = {"numpy": "2.4.6", "onnxruntime": "1.31.1", "psutil": "7.2.2"}
SETUP = "pack bench BUNDLE --on pi --setup, which makes an environment of its own; or on the board: "
BY_HAND = "/usr/bin/python3 -m pip install numpy onnxruntime"
PART = {PI4_FEATURES: "0xd08", PI5_FEATURES: "0xd0b"}


@dataclass(kw_only=True)
class ToldBoard(FolderBoard):
    """A board whose runner says what is scripted."""

    says: str = ""
    exit_code: int = 0
    copied: list[str] = field(default_factory=list)

    def put(self, path: Path, name: str, done: Callable[[int], None]) -> bool:
        """Remember what came."""
        self.copied.append(name)
        return False

    def run(self, argv: Sequence[str], listener: Listener, timeout_s: float | None = None) -> int:
        """Say it."""
        self.ran.append(list(argv))
        for line in self.says.splitlines():
            listener.out(line)
        return self.exit_code


def pi(tmp_path: Path, facts: BoardFacts, features: str = PI5_FEATURES, **files: str) -> ToldBoard:
    """Return a Raspberry Pi, as its own files have it."""
    machine: Mapping[str, str] = {
        "proc/cpuinfo": arm_cpuinfo(features, PART[features]),
        "proc/self/status": "Cpus_allowed_list:\t0-3\n",
        "proc/meminfo": "MemTotal:        8245232 kB\n",
        "proc/device-tree/model": "Raspberry Pi 4 Model B\0" if features == PI4_FEATURES else f"{PI5}\0",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "ondemand\n",
        "sys/class/thermal/thermal_zone0/temp": "51250\n",
    }
    root = tree(tmp_path / "root", machine)
    said = codec.write_json({"facts": device.facts(root, facts.machine, {}), "state": device.state(root)}, indent=2)
    return ToldBoard(folder=tmp_path, facts=facts, says=said)


def text(found: Diagnosis) -> str:
    return as_text(doctor_page(found), width=200)


def test_a_pi_5_that_has_all_is_told_what_int8_brings(tmp_path: Path) -> None:
    board = pi(tmp_path, board_facts(packages=EVERYTHING))
    found = examine(board)
    assert (found.missing, found.target) == ((), "arm-qnnpack")
    assert board.copied == ["edgepack-runner.zip"]
    assert board.ran == [["python", "edgepack-runner.zip", "device", "--json"]]
    page = text(found)
    assert page.startswith("pi: Raspberry Pi 5 Model B Rev 1.0 (Cortex-A76), aarch64, 4 CPUs\n")
    for line in (
        "system       Debian GNU/Linux 12 (bookworm), 64-bit programs, glibc 2.36",
        "Python       3.11.2, /usr/bin/python3",
        "packages     numpy 2.4.6, onnxruntime 1.31.1, psutil 7.2.2",
        "disk         20.0 GiB free at /home/pi/.cache/edgepack",
        "memory       7.86 GiB",
        "governor     ondemand",
        "temperature  51.2 °C",
        "Nothing is missing: a bundle can run there.",
        "onnx         onnxruntime  SDOT and UDOT                         not measured on such a CPU",
        "torchscript  torch        QNNPACK on NEON, without dot product  not measured on such a CPU",
        "Pack for it: pack --target arm-qnnpack",
    ):
        assert line in page.splitlines()


def test_a_pi_4_is_told_that_int8_may_bring_nothing(tmp_path: Path) -> None:
    page = text(examine(pi(tmp_path, board_facts(packages=EVERYTHING), PI4_FEATURES)))
    assert page.startswith("pi: Raspberry Pi 4 Model B (Cortex-A72), aarch64, 4 CPUs\n")
    assert "onnxruntime: this CPU has no dot product (such as the Cortex-A72 of a Raspberry Pi 4)" in page
    assert "torch: of torch, 2.9.1 is the newest on PyPI that is for the CPU alone" in page


def test_a_fresh_board_is_told_the_commands(tmp_path: Path) -> None:
    found = examine(pi(tmp_path, board_facts()))
    assert found.missing == (Lack(what="numpy and onnxruntime are not installed there", advice=f"{SETUP}{BY_HAND}"),)
    assert f"Missing before a bundle can run there:\n  {found.missing[0].what}\n  try: {SETUP}{BY_HAND}\n" in text(
        found
    )


def test_a_board_without_numpy_keeps_the_runtime_that_it_has(tmp_path: Path) -> None:
    (lack,) = examine(pi(tmp_path, board_facts(packages={"torch": "2.9.1"}))).missing
    assert lack.what == "numpy is not installed there"
    assert lack.advice.endswith("/usr/bin/python3 -m pip install numpy")


def test_debian_is_told_the_packages_that_it_needs_first(tmp_path: Path) -> None:
    facts = board_facts(has_pip=False, has_ensurepip=False, externally_managed=True)
    (lack,) = examine(pi(tmp_path, facts)).missing
    assert lack.advice == (
        f"{SETUP}sudo apt install python3-venv && /usr/bin/python3 -m venv ~/.edgepack && "
        "~/.edgepack/bin/pip install numpy onnxruntime, and from then on ~/.edgepack/bin/python"
    )


@pytest.mark.parametrize("machine", ["armv7l", "aarch64"])
def test_a_32_bit_system_is_told_what_works_and_what_does_not(tmp_path: Path, machine: str) -> None:
    found = examine(pi(tmp_path, board_facts(machine=machine, bits=32)))
    (lack,) = found.missing
    assert lack.what == (
        "numpy and onnxruntime are not installed there, and onnxruntime has no wheels for a 32-bit system "
        f"({machine}, Python of 32 bits)"
    )
    assert lack.advice == (
        "a 64-bit system, which a Raspberry Pi 3 or later can run; "
        "`verify`, `compare` and `device` work here all the same"
    )
    assert (found.target, found.int8) == (None, ())
    page = text(found)
    assert "32-bit programs" in page
    assert "int8: no runtime is known to run there." in page


def test_a_torch_that_dies_on_a_pi_4_is_no_runtime(tmp_path: Path) -> None:
    facts = board_facts(packages={"numpy": "2.4.6", "torch": "2.10.0"})
    (lack,) = examine(pi(tmp_path, facts, PI4_FEATURES)).missing
    assert lack.what == "torch 2.10.0 has instructions that this CPU lacks, and dies (seen on a Raspberry Pi 4)"
    assert lack.advice == (
        "/usr/bin/python3 -m pip install torch==2.9.1; or another runtime: /usr/bin/python3 -m pip install onnxruntime"
    )
    assert examine(pi(tmp_path / "pi5", facts)).missing == ()


def test_a_board_that_is_full_lacks_space(tmp_path: Path) -> None:
    (lack,) = examine(pi(tmp_path, board_facts(packages=EVERYTHING, free_bytes=100 << 20))).missing
    assert lack.what == "100 MiB are free at /home/pi/.cache/edgepack, and a run needs 128 MiB or more"


@pytest.mark.parametrize(("says", "code"), [("", 1), ("no JSON", 0), ('{"facts": 1}', 0)])
def test_what_the_agent_knows_is_shown_where_the_runner_says_nothing(tmp_path: Path, says: str, code: int) -> None:
    board = ToldBoard(folder=tmp_path, facts=board_facts(packages=EVERYTHING), says=says, exit_code=code)
    found = examine(board)
    assert (found.device, found.missing, found.target) == (None, (), None)
    assert text(found).startswith("pi: aarch64\n")
    assert "runner      did not say what the machine is" in text(found)


def test_a_board_with_an_old_python_is_told_what_its_shell_knows() -> None:
    said = NoPython(
        found="3.9.2",
        machine="aarch64",
        bits="64",
        system="Debian GNU/Linux 11 (bullseye)",
        board="Raspberry Pi 4 Model B",
        features=PI4_FEATURES,
    )
    found = without_python(NoPythonError(said, "pi"), "pi")
    assert found.missing == (
        Lack(
            what="its Python is 3.9.2, and Python 3.11 or newer is needed (aarch64, 64 bits)",
            advice="a newer system (Raspberry Pi OS 12, Debian 12, Ubuntu 24.04), or without root: "
            "uv python install 3.12; `python = ...` in an inventory",
        ),
    )
    page = text(found)
    assert page.startswith("pi: Raspberry Pi 4 Model B, aarch64\n")
    assert "system  Debian GNU/Linux 11 (bullseye), 64-bit programs" in page
    assert "this CPU has no dot product" in page
    assert "Pack for it: pack --target arm-qnnpack" in page


def test_a_shell_without_a_python_tells_what_it_knows() -> None:
    words = ["sh", "-c", ssh.FIND.strip(), "edgepack", "/nowhere/python3", ssh.BOOT]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    said = codec.read_json(Message, done.stdout).no_python
    assert said
    assert (said.found, said.machine, said.bits) == ("", platform.machine(), "64")
    assert said.system == platform.freedesktop_os_release()["PRETTY_NAME"]
    assert features_in(said.machine, said.features) == device.facts().features


def test_a_32_bit_board_without_python_is_told_both() -> None:
    found = without_python(NoPythonError(NoPython(found="", machine="armv7l", bits="32"), "pi"), "pi")
    (lack,) = found.missing
    assert lack.what == "it has no Python, and Python 3.11 or newer is needed (armv7l, 32 bits)"
    assert lack.advice == (
        "sudo apt install python3; `python = ...` in an inventory; "
        "for a runtime a 64-bit system, which a Raspberry Pi 3 or later can run"
    )
    assert found.int8 == ()
    assert "Python  none" in text(found)


def test_a_diagnosis_is_a_document_too(tmp_path: Path) -> None:
    found = examine(pi(tmp_path, board_facts()))
    data = json.loads(codec.write_json(found))
    assert data["missing"][0]["what"] == "numpy and onnxruntime are not installed there"
    assert data["device"]["facts"]["cpu"] == "Cortex-A76"
    assert codec.structure(Diagnosis, data) == found


def test_the_runner_goes_to_a_board_and_needs_no_numpy_there(tmp_path: Path) -> None:
    venv.create(tmp_path / "bare", symlinks=True)
    python = tmp_path / "bare" / "bin" / "python"
    assert subprocess.run([python, "-c", "import numpy"], capture_output=True, check=False).returncode == 1
    facts = board_facts(machine=platform.machine(), python=platform.python_version(), executable=str(python))
    folder = tmp_path / "session"
    folder.mkdir()
    found = examine(FolderBoard(folder=folder, facts=facts, python=str(python)))
    assert found.device
    assert found.device.facts == replace(device.facts(), runtimes=found.device.facts.runtimes)
    assert {runtime.version for runtime in found.device.facts.runtimes} == {None}
    assert found.int8


def test_start_up_is_light() -> None:
    program = "import sys; from packager.remote import cli; print(sorted(m for m in sys.modules if '.' not in m))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not {"numpy", "torch", "packaging", "cattrs"} & set(json.loads(done.stdout.replace("'", '"')))
