"""Twenty boards at once, or what is harder on the two that there are: twenty sessions of one `pack bench`."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from runner import report_reader
from runner.bundle import Bundle
from runner.errors import MeasurementError
from tests.device import machines, processes, story, tiny
from tests.device.machines import Board
from tests.device.story import Told

NAMES = tuple(f"board{number:02}" for number in range(20))
LOOK_S = 1.0
# Their CPUs are emulated, by two cores here.
pytestmark = pytest.mark.timeout(1200)


@dataclass
class Memory:
    """What this host's part took at most: `pack` and the ssh below it, the boards left out."""

    program_bytes: int = 0
    ssh_bytes: int = 0
    ssh: int = 0
    ended: threading.Event = field(default_factory=threading.Event)

    def watch(self) -> None:
        """Look again and again, until it has ended."""
        while not self.ended.wait(LOOK_S):
            for program in processes.children(os.getpid()):
                if "bench" in processes.command(program):
                    # Between its start and its own program a process still shows this one's memory.
                    ssh = [it for it in processes.children(program) if processes.command(it)[:1] == ("ssh",)]
                    self.program_bytes = max(self.program_bytes, _size_bytes(program))
                    self.ssh_bytes = max(self.ssh_bytes, sum(map(_size_bytes, ssh)))
                    self.ssh = max(self.ssh, len(ssh))


@dataclass(frozen=True, kw_only=True, slots=True)
class Twenty:
    """What came of them."""

    bundle: Bundle
    told: Told
    reports: Path
    memory: Memory
    left: list[str]


@pytest.fixture(scope="module")
def twenty(
    both: tuple[Board, Board], tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Twenty:
    """Have twenty boards of an inventory measure a bundle, each the half of them on one machine."""
    folder = tmp_path_factory.mktemp("twenty")
    for board in both:
        board.has("numpy", "onnxruntime")
    bundle = tiny.write(folder)
    inventory, config = folder / "hosts.toml", machines.write_config(folder / "config", both)
    tables = (f'[hosts.{name}]\naddress = "{both[place % 2].name}"\n' for place, name in enumerate(NAMES))
    inventory.write_text("\n".join(tables))
    options = ("--inventory", inventory, "--ssh-config", config, "--threads", 1, "-o", folder / "reports", "--json")
    began_s = time.monotonic()
    with watched() as memory:
        told = story.command("pack", "bench", bundle.path, *options)
    took_s = time.monotonic() - began_s
    sizes = f"{memory.program_bytes >> 20} MiB in pack, {memory.ssh_bytes >> 20} MiB in {memory.ssh} ssh"
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        figures = f"{len(NAMES)} sessions at once took {took_s:.0f} s and, on this host, at most {sizes}"
        request.config.get_terminal_writer().line(f"\n{figures}")
    left = [line for board in both for line in story.left_behind(board)]
    return Twenty(bundle=bundle, told=told, reports=folder / "reports", memory=memory, left=left)


@contextmanager
def watched() -> Iterator[Memory]:
    """Look at the memory of what runs below these tests meanwhile."""
    memory = Memory()
    looking = threading.Thread(target=memory.watch)
    looking.start()
    try:
        yield memory
    finally:
        memory.ended.set()
        looking.join()


def _size_bytes(number: int) -> int:
    """Return what a process has for itself, and its share of what others use too."""
    try:
        lines = Path(f"/proc/{number}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:")), 0)


def test_all_of_them_report_at_the_first_attempt(twenty: Twenty) -> None:
    # Not valid, since the machines are emulated, and complete all the same.
    assert twenty.told.code == MeasurementError.exit_code, twenty.told.err
    found = twenty.told.results
    assert tuple(found) == NAMES
    assert [(it.failure, it.attempts, it.copied) for it in found.values()] == [(None, 1, True)] * len(NAMES)
    for name in NAMES:
        kept = report_reader.load(twenty.reports / f"{name}.report.json")
        assert kept == found[name].report
        assert (kept.bundle_id, kept.complete) == (twenty.bundle.id, True)


def test_each_report_is_of_the_board_that_was_asked(twenty: Twenty) -> None:
    cpus = [it.report.device.cpu for it in twenty.told.results.values() if it.report]
    assert cpus == ["Cortex-A76", "Cortex-A72"] * (len(NAMES) // 2)


def test_they_were_all_there_at_once(twenty: Twenty) -> None:
    assert twenty.memory.ssh == len(NAMES)


def test_the_host_needs_little_for_each(twenty: Twenty) -> None:
    assert 0 < twenty.memory.ssh_bytes < len(NAMES) * (8 << 20)
    assert 0 < twenty.memory.program_bytes < 512 << 20


def test_nothing_is_left_of_them(twenty: Twenty) -> None:
    assert twenty.left == []
