"""`pack bench` as it is typed: what it prints, how it exits, and what it leaves behind."""

import json
from pathlib import Path

import pytest

from packager.cli import pack
from runner import edge, report_reader
from runner.bundle import Bundle
from tests.packager.remote.near import RUNS, Near

DOWN = "ssh: connect to host down port 22: Connection refused"
TRY_DOWN = "see that it is on, and that `ssh down` works"


def run(*args: str | Path) -> int:
    return edge.run(pack, ["bench", *(str(arg) for arg in args)], program="pack")


@pytest.fixture
def net(bundle: Bundle) -> Path:
    """The bundle's file."""
    return bundle.path


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the command is typed in."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "error: --on: name a board\n  try: --on pi@raspberrypi.local, or --inventory hosts.toml\n"),
        (
            ["--on=-v"],
            "error: --on: '-v' is no address of a board\n  try: HOST, USER@HOST, or a name of your ssh configuration\n",
        ),
        (["--on", "a", "--inventory", "no.toml"], "error: no.toml: cannot be read: No such file or directory\n"),
        (
            ["--on", "a", "--artifact", "fp23.onnx", "--artifact", "other"],
            "error: --artifact: there is no 'fp23.onnx'; did you mean 'fp32.onnx'?\n"
            "there is no 'other'; there are fp32.onnx\n  try: pack inspect {bundle}\n",
        ),
        (
            ["--on", "a", "-o", "/dev/null/out"],
            "error: -o: /dev/null/out: Not a directory\n  try: a folder for the boards' reports\n",
        ),
        (["--on", "a", "--json", "--markdown"], "error: --json and --markdown exclude each other\n"),
    ],
)
def test_what_cannot_be_meant_is_told_before_a_board_is_reached(
    args: list[str], message: str, net: Path, near: Near, here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    near.ssh('touch "$HOME/reached"')
    assert run(net, *args) == 2
    out, err = capfd.readouterr()
    assert (out, err) == ("", message.replace("{bundle}", str(net)))
    assert near.left() == []
    assert list(here.iterdir()) == []


def test_a_report_that_could_not_be_written_is_told_before_a_board_is_reached(
    net: Path, near: Near, here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    near.ssh('touch "$HOME/reached"')
    (here / "pi5.report.json").mkdir()
    assert run(net, "--on", "pi4", "--on", "pi5") == 2
    assert capfd.readouterr().err == "error: pi5.report.json: is a folder: name a file\n  try: another place with -o\n"
    assert near.left() == []


@pytest.mark.parametrize(
    "args", [("--timeout", "600"), ("--retries", "-1"), ("--jobs", "0"), ("--threads", "0"), ("--effort", "none")]
)
def test_options_have_their_ranges(args: tuple[str, str], net: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(net, "--on", "a", *args) == 2
    assert f"Invalid value for '{args[0]}'" in capfd.readouterr().err


def test_a_bundle_that_is_none_is_told_before_a_board_is_reached(near: Near, here: Path) -> None:
    near.ssh('touch "$HOME/reached"')
    (here / "net.edgepack").write_bytes(b"no bundle")
    assert run("net.edgepack", "--on", "a") == 3
    assert run("missing.edgepack", "--on", "a") == 3
    assert near.left() == []


def test_a_board_that_is_off_is_a_row_and_exits_5(net: Path, near: Near, capfd: pytest.CaptureFixture[str]) -> None:
    near.ssh(f'echo "{DOWN}" >&2; exit 255')
    assert run(net, "--on", "down", "--retries", "0") == 5
    out, err = capfd.readouterr()
    assert out == (
        "net for x86 on 1 board\n\nboard  status\n─────────────\ndown   failed\n\n"
        f"Failed\n  down: not reached: {DOWN}\n  down: try: {TRY_DOWN}\n"
    )
    assert err == f"down: connect\ndown: error: not reached: {DOWN}\n"


def test_two_boards_run_a_bundle_and_json_is_one_document(
    net: Path, near: Near, here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    near.ssh(f'if [ "$address" = down ]; then echo "{DOWN}" >&2; exit 255; fi\n{RUNS}')
    (here / "hosts.toml").write_text('[hosts.near]\naddress = "pi@near"\n[hosts.off]\naddress = "down"\n')
    options = ("--inventory", "hosts.toml", "--retries", "0", "--threads", "1", "--batch", "2", "-o", "out")
    assert run(net, *options, "--artifact", "fp32.onnx", "--json") == 5
    out, err = capfd.readouterr()
    first, off = json.loads(out)
    assert (first["name"], first["exit_code"], first["attempts"], first["copied"]) == ("near", 0, 1, True)
    assert (off["name"], off["exit_code"], off["failure"]["advice"]) == ("off", 5, TRY_DOWN)
    found = report_reader.load(here / "out" / "near.report.json")
    assert found.digest == first["report"]["digest"]
    assert (found.settings.threads, found.settings.batch) == (1, 2)
    accuracy = found.artifacts[0].accuracy
    assert accuracy is not None
    assert accuracy.top1 == 1.0
    assert [path.name for path in (here / "out").iterdir()] == ["near.report.json"]
    assert near.left() == []
    lines = err.splitlines()
    assert "near: copy" in lines
    assert f"off: error: not reached: {DOWN}" in lines
    assert "near: report: out/near.report.json" in lines
    assert all(line.startswith(("near: ", "off: ")) for line in lines)
