"""A board that is broken, or wants to do harm: what it says fills no memory here, and ends nothing but its own part."""

import json
import sys
from pathlib import Path

import pytest

from packager.remote import failures, line
from packager.remote.link import Listener
from runner import codec
from runner.install import LEAST_PYTHON
from tests.packager.remote.boards import board_facts
from tests.packager.remote.near import RUNS, Near, connected

UNFIT = r"^pi: what it answers does not fit what it was asked$"
AGENT = """
import json, sys
def say(**message):
    print(json.dumps(message), flush=True)
def hear():
    while (message := json.loads(sys.stdin.buffer.readline()))["do"] == "beat":
        pass
    return message
sys.stdin.buffer.read(int(sys.stdin.buffer.readline()))
say(edgepack=1, facts=json.loads({facts!r}))
hear()
say(folder="/there")
"""


def answers(near: Near, script: str, facts: dict[str, object] | None = None) -> None:
    """Let an agent answer that does what a script says once the session is open."""
    known = {**codec.unstructure(board_facts()), **(facts or {})}
    program = near.programs / "agent.py"
    program.write_text(AGENT.replace("{facts!r}", repr(json.dumps(known))) + script, encoding="utf-8")
    near.ssh(f"exec {sys.executable} {program}")


@pytest.mark.parametrize("size", [-1, -5, 1 << 40, 1 << 80])
def test_a_payload_without_bounds_is_not_waited_for(size: int, near: Near) -> None:
    answers(near, f"hear()\nsay(bytes={size})\nsys.stdin.read()\n")
    with pytest.raises(failures.Lost) as error, connected() as board:
        board.get("report.json")
    assert error.value.what == f"lost: the board wants to send {size} bytes at once"


def test_a_line_without_an_end_fills_no_memory(near: Near, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line, "MOST_LINE_BYTES", 1000)
    near.ssh(f"head -c 50000 /dev/zero | tr '\\0' '{{'; echo; {RUNS}")
    with connected() as board:
        assert board.run(["true"], Listener()) == 0
        assert max(map(len, board.line._greeting)) == 1000


def test_a_board_that_talks_while_nobody_listens_has_to_wait(near: Near, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line, "MOST_WAITING", 3)
    said: list[str] = []
    with connected() as board:
        assert board.run(["seq", "500"], Listener(out=said.append)) == 0
        assert board.line._inbox.maxsize == 3
    assert said == [str(number) for number in range(1, 501)]


@pytest.mark.parametrize(
    "script",
    [
        "hear()\nsay(have_bytes=-5)\nsys.stdin.read()",
        "hear()\nsay(have_bytes=99)\nsys.stdin.read()",
        "hear()\nsay(folder='')\nsys.stdin.read()",
        "hear()\nsay(have_bytes=0)\nhear()\nsys.stdin.buffer.read(7)\nsay(have_bytes=0)\nsys.stdin.read()",
        "hear()\nsay(have_bytes=7)\nsay(have_bytes=7)\nsys.stdin.read()",
    ],
)
def test_a_copy_whose_answers_do_not_fit_is_given_up(script: str, near: Near, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    answers(near, script)
    with pytest.raises(failures.Lost, match=UNFIT), connected() as board:
        board.put(tmp_path / "file", "file")


@pytest.mark.parametrize("wrong", [{"python": "new"}, {"python": "3"}, {"libc": "glibc new"}, {"libc": "glibc 2"}])
def test_versions_that_are_none_are_no_facts(wrong: dict[str, object], near: Near) -> None:
    answers(near, "sys.stdin.read()", wrong)
    with pytest.raises(failures.Lost, match=r"^pi: what answers there is not edgepack's agent$"), connected():
        pass


@pytest.mark.parametrize("libc", ["", "musl 1.2.5", "glibc 2.36"])
def test_a_board_with_any_libc_is_spoken_to(libc: str, near: Near) -> None:
    answers(near, "hear()\nsay(closed=True)\n", {"libc": libc})
    with connected() as board:
        assert board.facts.python.startswith(".".join(map(str, LEAST_PYTHON)))
