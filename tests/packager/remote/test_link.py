"""A session on a board: files go there, programs run there, and nothing is left."""

import hashlib
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from packager.remote import failures, line, link
from packager.remote.agent.channel import BLOCK_BYTES
from packager.remote.link import Board, Listener
from runner.errors import BundleError, EdgepackError
from tests.packager.remote.near import CAN_BE_CUT, PATIENCE, Near, connected, runs, to, until

MIB = 1 << 20


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A file of three blocks and a bit, no two of them alike."""
    path = tmp_path / "large"
    path.write_bytes(b"".join(bytes([number]) * MIB for number in range(3)) + b"the end")
    return path


def part(near: Near, file: Path) -> Path:
    """Return where a file is until it is whole."""
    return near.session / f".{hashlib.sha256(file.read_bytes()).hexdigest()[:16]}.part"


def ran(board: Board, *argv: str, timeout_s: float | None = None) -> tuple[int, list[str], list[str]]:
    """Return a program's exit code and its lines."""
    out: list[str] = []
    err: list[str] = []
    return board.run(argv, Listener(out=out.append, err=err.append), timeout_s), out, err


# Its facts


def test_a_board_tells_what_it_is(near: Near) -> None:
    with connected() as board:
        facts = board.facts
        assert board.folder == str(near.session)
    assert facts.python == ".".join(map(str, sys.version_info[:3]))
    assert facts.executable == f"{Path(sys.executable).parent}/python3"
    assert (facts.bits, facts.in_venv, facts.externally_managed) == (64, True, False)
    assert facts.cache == str(near.home / ".cache" / "edgepack")
    assert {"numpy", "onnxruntime", "torch"} <= set(facts.packages)
    assert facts.free_bytes > 0


# What is left


@pytest.mark.parametrize("before", [[], [".cache"], [".cache/edgepack/sessions"], [".cache/edgepack/sessions/other"]])
def test_a_session_leaves_the_home_as_it_was(before: list[str], near: Near, large: Path) -> None:
    for folder in before:
        (near.home / folder).mkdir(parents=True)
    found = near.left()
    with connected() as board:
        board.put(large, "large")
        ran(board, "sh", "-c", "mktemp; echo > note; mkdir folder; echo > folder/more")
        assert (near.session / "large").read_bytes() == large.read_bytes()
    assert near.left() == found


def test_a_cache_elsewhere_is_used_and_left_as_it_was(near: Near, tmp_path: Path) -> None:
    near.ssh(f'export XDG_CACHE_HOME={tmp_path}/elsewhere\nexec sh -c "exec $command"')
    with connected() as board:
        assert board.folder == f"{tmp_path}/elsewhere/edgepack/sessions/edgepack"
        assert ran(board, "sh", "-c", "echo $XDG_CACHE_HOME $TMPDIR")[1] == [
            f"{board.folder}/tmp/cache {board.folder}/tmp"
        ]
    assert not (tmp_path / "elsewhere").exists()


def test_keep_leaves_what_was_brought_and_nothing_else(near: Near, large: Path) -> None:
    folders = [".cache", ".cache/edgepack", ".cache/edgepack/sessions", ".cache/edgepack/sessions/edgepack"]
    with connected() as board:
        board.keep = ("large",)
        board.put(large, "large")
        board.put(large, "other")
        board.put(large, "folder/large")
        ran(board, "sh", "-c", 'echo > "$TMPDIR/note"; ln -s /etc link; echo > note')
    assert near.left() == [*folders, ".cache/edgepack/sessions/edgepack/large"]
    with connected() as board:
        assert board.put(large, "large") is True
    assert near.left() == folders[:-1]


def test_keep_leaves_no_folder_in_which_nothing_is(near: Near) -> None:
    with connected() as board:
        board.keep = ("large",)
    assert near.left() == []


def test_sessions_at_once_leave_the_home_as_it_was_whoever_ends_first(near: Near) -> None:
    first, second = connected(session="first"), connected(session="second")
    first.__enter__()
    second.__enter__()
    assert {".cache/edgepack/sessions/first", ".cache/edgepack/sessions/second"} <= set(near.left())
    first.__exit__(None, None, None)
    assert ".cache/edgepack/sessions/second" in near.left()
    second.__exit__(None, None, None)
    assert near.left() == []


def test_many_sessions_at_once_neither_disturb_each_other_nor_leave_anything(near: Near, large: Path) -> None:
    said: dict[int, list[str]] = {}

    def one(number: int) -> None:
        with connected(session=f"session-{number}") as board:
            board.put(large, "large")
            said[number] = ran(board, "sh", "-c", f"wc -c < large; echo {number}")[1]

    threads = [threading.Thread(target=one, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert said == {number: [str(3 * MIB + 7), str(number)] for number in range(6)}
    assert near.left() == []


def test_two_sessions_of_one_name_are_held_apart(near: Near) -> None:
    with connected() as board:
        with pytest.raises(failures.Lost) as error, connected():
            pass
        assert str(error.value) == (
            f"pi: the board says: another session is using {near.session}\n"
            "  try: wait until the other session has ended, or give each a name of its own in an inventory"
        )
        assert ran(board, "echo", "undisturbed")[1] == ["undisturbed"]
    assert near.left() == []


# put


def test_a_file_goes_there_and_is_told_block_by_block(near: Near, large: Path) -> None:
    told: list[int] = []
    with connected() as board:
        assert board.put(large, "a/b/large", told.append) is False
        assert (near.session / "a/b/large").read_bytes() == large.read_bytes()
        assert not list(near.session.glob("**/*.part"))
        assert board.put(large, "a/b/large", told.append) is True
    assert told == [0, MIB, 2 * MIB, 3 * MIB, 3 * MIB + 7, 3 * MIB + 7]


def test_an_empty_file_goes_there_too(near: Near, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    with connected() as board:
        assert board.put(tmp_path / "empty", "empty") is False
        assert board.get("empty") == b""
    assert near.left() == []


def test_a_copy_goes_on_from_the_part_that_is_there(near: Near, large: Path) -> None:
    told: list[int] = []
    with connected() as board:
        part(near, large).write_bytes(large.read_bytes()[: 2 * MIB + 5])
        board.put(large, "large", told.append)
        assert (near.session / "large").read_bytes() == large.read_bytes()
    assert told == [2 * MIB + 5, 3 * MIB + 5, 3 * MIB + 7]


def test_a_part_that_is_longer_than_the_whole_is_begun_anew(near: Near, large: Path) -> None:
    told: list[int] = []
    with connected() as board:
        part(near, large).write_bytes(bytes(4 * MIB))
        board.put(large, "large", told.append)
        assert (near.session / "large").read_bytes() == large.read_bytes()
    assert told[0] == 0


def test_what_is_changed_on_the_way_is_told_and_is_sent_again_whole(near: Near, large: Path) -> None:
    with connected() as board:
        part(near, large).write_bytes(b"x")
        with pytest.raises(failures.Changed) as error:
            board.put(large, "large")
        assert not (near.session / "large").exists()
        assert board.put(large, "large") is False
        assert (near.session / "large").read_bytes() == large.read_bytes()
    assert str(error.value) == (
        "pi: the board says: it arrived otherwise than it was sent\n"
        "  try: if it stays so, the memory or the disk of the board is failing"
    )
    assert error.value.exit_code == 3
    assert isinstance(error.value, failures.WORTH_ANOTHER)


def test_another_file_of_that_name_gives_way(near: Near, large: Path) -> None:
    with connected() as board:
        (near.session / "large").write_bytes(b"\1" * large.stat().st_size)
        assert board.put(large, "large") is False
        assert (near.session / "large").read_bytes() == large.read_bytes()


def test_a_file_that_becomes_shorter_while_it_is_sent_is_told(near: Near, large: Path) -> None:
    def shorten(done: int) -> None:
        if done == MIB:
            large.write_bytes(b"short")

    with pytest.raises(BundleError) as error, connected() as board:
        board.put(large, "large", shorten)
    assert str(error.value) == f"{large}: it became shorter while it was sent"
    assert near.left() == []


def test_a_full_disk_is_told_and_nothing_is_left(near: Near, large: Path) -> None:
    with pytest.raises(failures.Refusal) as error, connected() as board:  # noqa: PT012 - both in one session
        part(near, large).symlink_to("/dev/full")
        board.put(large, "large")
    assert str(error.value) == (
        "pi: the board says: No space left on device\n"
        "  try: free some space there: ~/.cache is where the bundle goes for the run"
    )
    assert error.value.exit_code == 5
    assert not isinstance(error.value, failures.WORTH_ANOTHER)
    assert near.left() == []


def test_a_limit_on_files_is_told_in_the_system_s_words(near: Near, large: Path) -> None:
    near.ssh('ulimit -f 2048; exec sh -c "exec $command"')
    with pytest.raises(failures.Refusal, match=r"^pi: the board says: File too large$"), connected() as board:
        board.put(large, "large")
    assert near.left() == []


@pytest.mark.parametrize("blocked", [".cache", ".cache/edgepack", ".cache/edgepack/sessions/edgepack"])
def test_a_home_in_which_nothing_can_be_made_is_told_and_left_alone(blocked: str, near: Near) -> None:
    (near.home / blocked).parent.mkdir(parents=True, exist_ok=True)
    (near.home / blocked).touch()
    before = near.left()
    with pytest.raises(failures.Refusal, match=rf"^pi: the board says: {near.home}/\.cache.*: "), connected():
        pass
    assert near.left() == before


def test_a_wish_to_end_in_a_copy_leaves_nothing(near: Near, large: Path) -> None:
    ending = threading.Event()
    with pytest.raises(link.Ended) as error, link.connect(to(), "edgepack", PATIENCE, ending.is_set) as board:
        board.put(large, "large", lambda done: ending.set() if done == MIB else None)
    assert str(error.value) == "pi: interrupted"
    assert error.value.exit_code == 130
    assert near.left() == []


# run


def test_a_program_s_lines_come_as_they_are_and_so_does_its_exit_code(near: Near) -> None:
    script = "printf 'one\\n\\n  two \\303\\050\\nlast'; echo wrong >&2; exit 7"
    with connected() as board:
        assert ran(board, "sh", "-c", script) == (7, ["one", "", "  two �(", "last"], ["wrong"])
        assert ran(board, "sh", "-c", "kill -9 $$")[0] == -9
    assert near.left() == []


def test_the_first_word_python_is_the_board_s_own(near: Near) -> None:
    with connected() as board:
        program = "import sys; print(sys.executable, sys.argv[1:]); sys.exit(3)"
        told = f"{board.facts.executable} ['python', '$HOME']"
        assert ran(board, "python", "-c", program, "python", "$HOME") == (3, [told], [])
        assert ran(board, "pwd")[1] == [str(near.session)]


def test_a_program_that_is_not_there_is_told_and_the_session_goes_on(near: Near) -> None:
    with connected() as board:
        with pytest.raises(failures.Refusal) as error:
            ran(board, "no-such-program")
        assert str(error.value) == "pi: the board says: no-such-program: not found"
        with pytest.raises(failures.Refusal, match=r"^pi: the board says: /etc/passwd: Permission denied$"):
            ran(board, "/etc/passwd")
        assert ran(board, "echo", "on")[1] == ["on"]


def test_a_great_many_lines_come_whole(near: Near) -> None:
    with connected() as board:
        _, out, err = ran(board, "sh", "-c", "seq 50000; seq 50000 >&2")
    assert out == err == [str(number) for number in range(1, 50001)]


def test_a_line_that_does_not_end_comes_in_pieces(near: Near) -> None:
    with connected() as board:
        code, out, _ = ran(board, "sh", "-c", "head -c 300000 /dev/zero | tr '\\0' x; echo; echo next")
    assert (code, "".join(out), out[-1]) == (0, "x" * 300_000 + "next", "next")
    assert len(out) > 2
    assert max(map(len, out)) < 2 * BLOCK_BYTES


def test_a_wish_to_end_reaches_the_program_once_and_its_report_comes_back(near: Near) -> None:
    ending = threading.Event()
    script = 'trap "echo asked; echo report > tmp/report; exit 130" INT; echo ready; while :; do sleep 0.05; done'
    said: list[str] = []

    def out(text: str) -> None:
        said.append(text)
        ending.set()

    with link.connect(to(), "edgepack", PATIENCE, ending.is_set) as board:
        assert board.run(["sh", "-c", script], Listener(out=out)) == 130
        assert board.get("tmp/report") == b"report\n"
    assert said == ["ready", "asked"]
    assert near.left() == []


def test_a_program_that_does_not_end_when_it_is_asked_to_is_killed(near: Near) -> None:
    said: list[str] = []
    patience = replace(PATIENCE, stop_s=0.3)
    with (
        pytest.raises(link.Ended, match=r"^pi: did not end when it was asked to$"),
        link.connect(to(), "edgepack", patience, lambda: bool(said)) as board,
    ):
        board.run(["sh", "-c", 'trap "" INT; echo $$; while :; do sleep 0.05; done'], Listener(out=said.append))
    assert not runs(int(said[0]))
    assert near.left() == []


def test_a_program_that_is_not_done_in_time_is_killed_with_its_children(near: Near) -> None:
    said: list[str] = []
    with pytest.raises(failures.TooSlow) as error, connected() as board:
        board.run(["sh", "-c", "sleep 600 & echo $$ $!; wait"], Listener(out=said.append), timeout_s=0.5)
    assert str(error.value) == "pi: not done within 0.5 s\n  try: a longer --timeout, or less --effort"
    (pids,) = said
    until(lambda: not any(runs(int(pid)) for pid in pids.split()))
    assert near.left() == []


def test_what_a_program_leaves_running_ends_with_it(near: Near, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line, "BEAT_S", 0.1)
    with connected() as board:
        code, (pid,), _ = ran(board, "sh", "-c", "sleep 600 & echo $!; exit 5")
        assert code == 5
        until(lambda: not runs(int(pid)))


def test_a_program_that_is_given_up_in_its_run_ends_at_once(near: Near) -> None:
    said: list[str] = []

    def give_up(text: str) -> None:
        said.append(text)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), connected() as board:
        board.run(["sh", "-c", "echo $$; exec sleep 600"], Listener(out=give_up))
    assert not runs(int(said[0]))
    assert near.left() == []


# get


def test_what_is_asked_for_comes_as_it_is(near: Near) -> None:
    with connected() as board:
        (near.session / "answer").write_bytes(b"\x00\n\xff{}" * 50_000)
        assert board.get("answer") == b"\x00\n\xff{}" * 50_000
        with pytest.raises(failures.Refusal) as error:
            board.get("nothing")
        assert str(error.value) == "pi: the board says: there is no nothing"


@pytest.mark.parametrize("name", ["../other/file", "/etc/passwd", "a/../../x", ".", "link/passwd"])
def test_what_is_outside_is_neither_given_nor_taken(name: str, near: Near, large: Path) -> None:
    with connected() as board:
        (near.session / "link").symlink_to("/etc")
        attempts: list[Callable[[], object]] = [lambda: board.get(name), lambda: board.put(large, name)]
        for attempt in attempts:
            with pytest.raises(failures.Refusal) as error:
                attempt()
            assert str(error.value) == f"pi: the board says: {name} is outside the session's folder"
    assert near.left() == []


# An end on the way


def test_an_error_here_ends_the_session_in_order(near: Near, large: Path) -> None:
    def fail(_: int) -> None:
        raise EdgepackError("of ours")

    with pytest.raises(EdgepackError, match=r"^of ours$"), connected() as board:
        board.put(large, "large", fail)
    assert near.left() == []


def test_what_is_in_hand_is_kept_where_the_line_ends_with_the_session(near: Near) -> None:
    near.ssh(CAN_BE_CUT)
    with connected() as board:
        code, _, _ = ran(board, "true")
        board.line.process.kill()
    assert code == 0
    until(lambda: near.left() == [])
