"""A session that is cut off: what ran there ends, and what was brought is gone after a while, unless somebody comes."""

import hashlib
import os
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from packager.remote import failures, line, ssh
from packager.remote.line import Patience
from packager.remote.link import Board, Listener
from tests.packager.remote.near import CAN_BE_CUT, PATIENCE, Near, connected, runs, until

MIB = 1 << 20
LONG = replace(PATIENCE, lease_s=3)
GROUP = "sleep 600 & (sleep 600 & echo $!; wait) & echo $$ $!; wait"
"""A program, its child and its grandchild; it says who they are."""
Cut = Callable[[Board, int], None]


def kill_agent(_: Board, agent: int) -> None:
    """Kill the agent, as a board does where memory runs out."""
    os.kill(agent, signal.SIGKILL)


def kill_ssh(board: Board, _: int) -> None:
    """Kill ssh, as a connection ends that is cut."""
    os.killpg(board.line.process.pid, signal.SIGKILL)


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "large"
    path.write_bytes(b"".join(bytes([number]) * MIB for number in range(4)))
    return path


@pytest.fixture(autouse=True)
def real_cut(near: Near) -> None:
    """The agent is not of ssh's group: it goes on when that is killed, as on a real board."""
    near.ssh(CAN_BE_CUT)


def agent_of(board: Board) -> int:
    """Return the agent's process."""
    said: list[str] = []
    board.run(["sh", "-c", "echo $PPID"], Listener(out=said.append))
    return int(said[0])


def cut_run(cut: Cut, script: str, processes: int, patience: Patience) -> list[int]:
    """Cut a session in the middle of a run that says so many processes, and return these and the agent."""
    pids: list[int] = []

    def hear(text: str) -> None:
        pids.extend(int(word) for word in text.split())
        if len(pids) == processes:
            cut(board, agent)

    with pytest.raises(failures.Lost), connected(patience) as board:  # noqa: PT012 - both in one session
        agent = agent_of(board)
        board.run(["sh", "-c", script], Listener(out=hear))
    return [*pids, agent]


def cut_copy(cut: Cut, file: Path, patience: Patience) -> None:
    """Cut a session when two blocks of a copy are there."""
    with pytest.raises(failures.Lost), connected(patience) as board:  # noqa: PT012 - as above
        agent = agent_of(board)
        board.put(file, "large", lambda done: cut(board, agent) if done == 2 * MIB else None)


def comes_back(work: Callable[[Board], None], patience: Patience = PATIENCE) -> None:
    """Come back as soon as the board lets somebody in: what was cut off may need a moment to end."""
    while True:
        try:
            with connected(patience) as board:
                work(board)
        except failures.Lost as lost:
            if "another session is using" not in lost.what:
                raise
            time.sleep(0.05)
        else:
            return


@pytest.mark.parametrize("cut", [kill_agent, kill_ssh])
def test_a_cut_in_a_run_ends_all_that_it_started_and_leaves_nothing(cut: Cut, near: Near) -> None:
    pids = cut_run(cut, GROUP, 3, PATIENCE)
    until(lambda: not any(runs(pid) for pid in pids))
    until(lambda: near.left() == [])


@pytest.mark.parametrize("cut", [kill_agent, kill_ssh])
def test_a_cut_in_a_copy_leaves_nothing(cut: Cut, near: Near, large: Path) -> None:
    cut_copy(cut, large, PATIENCE)
    until(lambda: near.left() == [])


@pytest.mark.parametrize("cut", [kill_agent, kill_ssh])
def test_who_comes_back_in_time_goes_on_and_is_disturbed_by_nobody(cut: Cut, near: Near, large: Path) -> None:
    cut_copy(cut, large, replace(PATIENCE, lease_s=1))
    part = near.session / f".{hashlib.sha256(large.read_bytes()).hexdigest()[:16]}.part"
    assert part.stat().st_size == 2 * MIB
    told: list[int] = []

    def go_on(board: Board) -> None:
        board.put(large, "large", told.append)
        time.sleep(1.5)  # until the first session's janitor has come and gone
        assert (near.session / "large").read_bytes() == large.read_bytes()

    comes_back(go_on)
    assert told == [2 * MIB, 3 * MIB, 4 * MIB]
    assert near.left() == []


def test_who_comes_back_finds_nothing_that_a_program_wrote(near: Near) -> None:
    cut_run(kill_agent, "echo old > tmp/report.json; echo $$; sleep 600", 1, LONG)
    assert (near.session / "tmp/report.json").read_text() == "old\n"

    def ask(board: Board) -> None:
        with pytest.raises(failures.Refusal, match=r"^pi: the board says: there is no tmp/report\.json$"):
            board.get("tmp/report.json")

    comes_back(ask)
    assert near.left() == []


def test_nobody_measures_beside_what_a_cut_has_left_running(near: Near) -> None:
    ends = "while [ -e hold ]; do sleep 0.05; done; exit"
    script = f'exec 2> /dev/null; touch hold; trap "{ends}" TERM; echo $$; while :; do sleep 0.05; done'
    program, _ = cut_run(kill_agent, script, 1, LONG)
    with pytest.raises(failures.Lost, match="another session is using"), connected():
        pass
    assert runs(program)
    (near.session / "hold").unlink()
    ran: list[bool] = []
    comes_back(lambda _: ran.append(runs(program)))
    assert ran == [False]
    assert near.left() == []


def test_what_was_left_on_purpose_in_the_meantime_is_left(near: Near, large: Path) -> None:
    cut_copy(kill_agent, large, replace(PATIENCE, lease_s=1))

    def keep(board: Board) -> None:
        board.keep = ("large",)
        board.put(large, "large")

    comes_back(keep)
    time.sleep(1.5)
    assert (near.session / "large").read_bytes() == large.read_bytes()


def test_a_cut_session_leaves_the_folders_to_another_that_is_open(near: Near) -> None:
    with connected(session="other") as other:
        cut_run(kill_agent, "echo $$; sleep 600", 1, PATIENCE)
        until(lambda: not near.session.exists())
        assert Path(other.folder).is_dir()
    assert near.left() == []


@pytest.mark.parametrize("script", [None, "echo $$; sleep 600"])
def test_the_agent_takes_a_host_for_gone_that_says_nothing(
    script: str | None, near: Near, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shutil.copytree(ssh.FOLDER, tmp_path / "agent")
    channel = tmp_path / "agent" / "channel.py"
    channel.write_text(channel.read_text().replace("SILENCE_S = 30.0", "SILENCE_S = 0.5"))
    monkeypatch.setattr(ssh, "FOLDER", tmp_path / "agent")
    monkeypatch.setattr(line, "BEAT_S", 600)
    pids: list[int] = []
    with pytest.raises(failures.Lost), connected() as board:  # noqa: PT012 - as above
        if script:
            board.run(["sh", "-c", script], Listener(out=lambda text: pids.append(int(text))))
        time.sleep(1)
        board.get("anything")
    assert len(pids) == (1 if script else 0)
    until(lambda: not any(runs(pid) for pid in pids))
    until(lambda: near.left() == [])
