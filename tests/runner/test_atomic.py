"""Files that are whole or not there."""

import subprocess
import sys
from pathlib import Path

import pytest

from runner import atomic
from runner.errors import EdgepackError, UsageError

ROOT = Path(__file__).parent.parent.parent


def test_what_is_written_replaces_what_was_there_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text("old")
    atomic.write(path, "new µ")
    assert path.read_text(encoding="utf-8") == "new µ"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_the_old_file_and_no_half_one(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text("old")
    # A limit on the size of files is the same to the program as a full disk: the system refuses the write.
    program = (
        "import resource, sys, pathlib; resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "from runner import atomic, errors\n"
        "try: atomic.write(pathlib.Path(sys.argv[1]), 'x' * 5000)\n"
        "except errors.EdgepackError as error: sys.exit(str(error))\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", program, str(path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert found.stderr == (
        f"{path}: cannot be written: File too large\n  try: free some space, or another place with -o\n"
    )
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_goes_away_is_told(tmp_path: Path) -> None:
    with pytest.raises(EdgepackError, match=r"gone/report\.json: cannot be written: No such file or directory"):
        atomic.write(tmp_path / "gone" / "report.json", "x")


def test_a_place_that_cannot_be_written_is_refused_before_the_work(tmp_path: Path) -> None:
    atomic.check_destination(tmp_path / "report.json")
    with pytest.raises(UsageError, match=r"is a folder: name a file\n  try: another place with -o$"):
        atomic.check_destination(tmp_path)
    with pytest.raises(UsageError, match=r"report\.json: cannot be written: there is no folder .*/gone\n"):
        atomic.check_destination(tmp_path / "gone" / "report.json")


def test_a_device_is_not_replaced_by_a_file() -> None:
    with pytest.raises(
        UsageError, match=r"^/dev/null: is a device or a pipe: name a file\n  try: another place with -o$"
    ):
        atomic.check_destination(Path("/dev/null"))


def test_a_folder_that_takes_no_files_is_told() -> None:
    # Not even root may make files there.
    with pytest.raises(EdgepackError, match=r"^/proc/report\.json: cannot be written: "):
        atomic.write(Path("/proc/report.json"), "x")
