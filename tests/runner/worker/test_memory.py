"""The worker's memory by phase: borders that Linux draws, and what is told where it does not."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from runner.worker import memory
from runner.worker.memory import Peaks, resident_bytes, swapped_bytes

MIB = 1 << 20


@dataclass
class FakeProcess:
    """The two files of /proc that a process has of its memory."""

    status: Path
    clear: Path

    def says(self, *, peak_mib: int, resident_mib: int = 10) -> None:
        """Write what the kernel would."""
        lines = (
            "Name:\tpython",
            f"VmHWM:\t{peak_mib * 1024} kB",
            f"VmRSS:\t{resident_mib * 1024} kB",
            "VmSwap:\t 8 kB",
        )
        self.status.write_text("\n".join(lines), encoding="ascii")

    @property
    def cleared(self) -> str:
        """What was written to set the peak back."""
        return self.clear.read_text(encoding="ascii")


@pytest.fixture
def process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeProcess:
    """Put files in the place of this process's own."""
    found = FakeProcess(status=tmp_path / "status", clear=tmp_path / "clear_refs")
    monkeypatch.setattr(memory, "STATUS", found.status)
    monkeypatch.setattr(memory, "CLEAR", found.clear)
    return found


def test_memory_is_read_in_bytes(process: FakeProcess) -> None:
    process.says(peak_mib=30, resident_mib=20)
    assert (resident_bytes(), swapped_bytes()) == (20 * MIB, 8 * 1024)


def test_every_phase_has_a_peak_of_its_own_and_the_largest_is_that_of_all(process: FakeProcess) -> None:
    process.says(peak_mib=30)
    peaks = Peaks()
    assert process.cleared == "5"
    found = []
    for peak_mib in (25, 90, 40):
        process.clear.write_text("", encoding="ascii")
        process.says(peak_mib=peak_mib)
        found.append(peaks.end_phase())
        assert process.cleared == "5"
    process.says(peak_mib=35)
    assert (found, peaks.overall()) == ([25 * MIB, 90 * MIB, 40 * MIB], 90 * MIB)


def test_where_no_border_can_be_drawn_no_phase_has_a_peak_and_the_whole_life_has(process: FakeProcess) -> None:
    process.clear.mkdir()  # whoever writes to it is refused, root too
    process.says(peak_mib=90)
    peaks = Peaks()
    assert (peaks.end_phase(), peaks.end_phase(), peaks.overall()) == (None, None, 90 * MIB)


def test_where_nothing_can_be_read_nothing_is_told(process: FakeProcess) -> None:
    peaks = Peaks()
    assert (peaks.end_phase(), peaks.overall(), resident_bytes(), swapped_bytes()) == (None,) * 4
    process.status.write_text("Name:\tpython\n", encoding="ascii")
    assert (peaks.end_phase(), peaks.overall(), resident_bytes(), swapped_bytes()) == (None,) * 4


def test_what_this_process_took_and_gave_back_is_the_peak_of_that_phase_alone() -> None:
    peaks = Peaks()
    block = np.ones(64 * MIB, np.uint8)
    held = resident_bytes()
    del block
    taken, idle = peaks.end_phase(), peaks.end_phase()
    if taken is None or idle is None:
        pytest.skip("this kernel does not let a process set its peak back")
    assert held is not None
    assert taken > held - 8 * MIB  # the kernel counts in batches, and both are a little late
    assert idle < taken - 32 * MIB
    assert peaks.overall() == taken
