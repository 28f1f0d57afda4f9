"""The line to a board: how it begins, what it says where it cannot, and how silence is met."""

import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from packager.remote import failures, line, link
from packager.remote.link import Listener
from runner.errors import EdgepackError, RuntimeUnavailable
from tests.packager.remote.near import PATIENCE, RUNS, Near, connected, runs, to, until

KEY = (
    "its host key is not the one that is known here, or none is known: nothing was sent",
    "ssh pi@board once by hand, which shows the key; after a new installation: ssh-keygen -R HOST before",
)
LET_IN = "a key that it accepts: ssh-copy-id pi@board; passwords are never asked for here"
IS_ON = "see that it is on, and that `ssh pi@board` works"
WORKS = "see that `ssh pi@board` works"
NAMED = "its address, or its name in your ssh configuration or the inventory"


@pytest.mark.parametrize(
    ("said", "kind", "what", "advice"),
    [
        ("Host key verification failed.", failures.Refusal, *KEY),
        (
            "@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key for board has changed",
            failures.Refusal,
            *KEY,
        ),
        (
            "pi@board: Permission denied (publickey,password).",
            failures.Refusal,
            "did not let us in: pi@board: Permission denied (publickey,password).",
            LET_IN,
        ),
        (
            "Received disconnect: Too many authentication failures",
            failures.Refusal,
            "did not let us in: Received disconnect: Too many authentication failures",
            LET_IN,
        ),
        (
            "ssh: connect to host board port 22: Connection refused",
            failures.Lost,
            "not reached: ssh: connect to host board port 22: Connection refused",
            IS_ON,
        ),
        (
            "ssh: connect to host board port 22: Connection timed out",
            failures.Lost,
            "not reached: ssh: connect to host board port 22: Connection timed out",
            IS_ON,
        ),
        (
            "ssh: Could not resolve hostname board: Name or service not known",
            failures.Lost,
            "ssh: Could not resolve hostname board: Name or service not known",
            NAMED,
        ),
        (
            "config: line 1: Bad configuration option: hostnam",
            failures.Refusal,
            "config: line 1: Bad configuration option: hostnam",
            WORKS,
        ),
        ("", failures.Lost, "not reached: ssh ended without a word", IS_ON),
    ],
)
def test_what_ssh_says_becomes_an_error_with_what_leads_on(
    said: str, kind: type[EdgepackError], what: str, advice: str, near: Near
) -> None:
    (near.home / "said").write_text(f"{said}\n", encoding="utf-8")
    near.ssh('cat "$HOME/said" >&2; exit 255')
    with pytest.raises(kind) as error, connected():
        pass
    assert (error.value.where, error.value.what, error.value.advice) == ("pi", what, advice)
    assert error.value.exit_code == 5
    assert near.left() == ["said"]


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ("Host key verification failed.", KEY[1].replace("pi@board", "-p 2222 pi@board")),
        ("pi@board: Permission denied (publickey).", LET_IN.replace("pi@board", "-p 2222 pi@board")),
        ("ssh: connect to host board port 2222: Connection refused", IS_ON.replace("pi@board", "-p 2222 pi@board")),
    ],
)
def test_what_is_to_be_tried_by_hand_goes_to_the_same_port(said: str, advice: str, near: Near) -> None:
    near.ssh(f"echo '{said}' >&2; exit 255")
    with pytest.raises(EdgepackError) as error, link.connect(to(port=2222), patience=PATIENCE):
        pass
    assert error.value.advice == advice


def test_a_port_behind_a_colon_is_part_of_no_name(near: Near) -> None:
    near.ssh("echo 'ssh: Could not resolve hostname board:2222: Name or service not known' >&2; exit 255")
    with pytest.raises(failures.Lost) as error, link.connect(to(address="pi@board:2222"), patience=PATIENCE):
        pass
    assert error.value.advice == "a port is told as ssh://pi@board:2222, or as `port` in an inventory"


def test_an_account_without_a_shell_says_so_on_stdout(near: Near) -> None:
    near.ssh("echo This account is currently not available.; exit 1")
    with (
        pytest.raises(failures.Lost, match=r"^pi: not reached: This account is currently not available\.\n"),
        connected(),
    ):
        pass


def test_without_ssh_the_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeUnavailable) as error, connected():
        pass
    assert str(error.value) == "there is no ssh here\n  try: sudo apt install openssh-client"


def test_an_ssh_that_cannot_be_started_is_told(near: Near, monkeypatch: pytest.MonkeyPatch) -> None:
    (near.programs / "ssh").write_bytes(b"\x7fELF")
    monkeypatch.setenv("PATH", str(near.programs))
    with pytest.raises(RuntimeUnavailable) as error, connected():
        pass
    assert str(error.value) == "pi: ssh cannot be started: Exec format error"


@pytest.mark.parametrize(
    "greeting", ["echo Welcome", "printf Welcome", "echo '{'", "echo '{\"a\": 1}'; echo; echo '{}x'"]
)
def test_what_a_login_greets_with_is_passed_over(greeting: str, near: Near) -> None:
    near.ssh(f"{greeting}\n{RUNS}")
    with connected() as board:
        assert board.run(["true"], Listener()) == 0
    assert near.left() == []


def test_what_answers_in_another_tongue_is_not_spoken_to(near: Near) -> None:
    near.ssh("echo '{\"edgepack\": 2}'; cat > /dev/null")
    with pytest.raises(failures.Lost, match=r"^pi: what answers there is not edgepack's agent$"), connected():
        pass


def test_a_board_that_never_answers_is_given_up(near: Near) -> None:
    near.ssh('echo $$ > "$HOME/pid"; exec sleep 600')
    with pytest.raises(failures.Lost) as error, connected(replace(PATIENCE, hello_s=0.5)):
        pass
    assert str(error.value) == "pi: silent for 0.5 s\n  try: see what else it is doing"
    assert not runs(int((near.home / "pid").read_text()))


def test_a_board_that_falls_silent_in_a_run_is_given_up(near: Near) -> None:
    with (
        pytest.raises(failures.Lost, match=r"^pi: silent for 1 s\n"),
        connected(replace(PATIENCE, silence_s=1)) as board,
    ):
        board.run(["sh", "-c", "kill -STOP $PPID; sleep 600"], Listener())
    assert not runs(board.line.process.pid)
    until(lambda: near.left() == [])


def test_a_board_that_takes_nothing_more_is_given_up(near: Near, tmp_path: Path) -> None:
    large = tmp_path / "large"
    large.write_bytes(bytes(1 << 20))

    def stop(_: int) -> None:
        board.line.process.send_signal(signal.SIGSTOP)

    with (
        pytest.raises(failures.Lost, match=r"^pi: silent for 1 s\n"),
        connected(replace(PATIENCE, silence_s=1)) as board,
    ):
        board.put(large, "large", stop)


def test_a_sign_of_life_holds_a_silent_session(near: Near, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line, "BEAT_S", 0.05)
    with connected() as board:
        time.sleep(0.3)
        assert board.run(["true"], Listener()) == 0


def test_a_shared_connection_that_keeps_our_streams_open_does_not_hold_us(
    near: Near, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line, "HANG_UP_S", 0.2)
    near.ssh(f'sleep 60 > /dev/null < /dev/null & echo $! > "$HOME/master"\n{RUNS}')
    with connected() as board:
        assert board.run(["true"], Listener()) == 0
    master = int((near.home / "master").read_text())
    assert runs(master)
    os.kill(master, signal.SIGKILL)


def test_what_ends_the_line_later_is_no_matter_of_keys(near: Near) -> None:
    with pytest.raises(failures.Lost) as error, connected() as board:
        board.run(["sh", "-c", "echo Permission denied >&2; kill -9 $PPID; sleep 5"], Listener())
    advice = "see that it is on, and not short of memory"
    assert str(error.value) == f"pi: lost: the connection ended\n  try: {advice}"
    until(lambda: near.left() == [])
