"""Where there can be no board, the first thing in the way is named."""

import os
from pathlib import Path

import pytest

from tests.device import cache, host


def test_who_is_not_root_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(host.UnavailableError, match=r"^needs root on Linux: the machines are made of mounts and name"):
        host.prepare()


def test_a_missing_tool_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(host.UnavailableError, match=r"^needs Debian's tools, and there is no apt-get$"):
        host.prepare()


def test_of_what_a_failing_command_said_the_line_that_tells_is_given() -> None:
    script = "echo Reading; echo 'E: Unable to locate package nothing' >&2; echo Bye >&2; exit 100"
    with pytest.raises(host.UnavailableError) as told:
        host.run("nothing", ["sh", "-c", script])
    assert str(told.value) == "could not get nothing: sh ended with 100: E: Unable to locate package nothing"


def test_a_download_that_failed_is_begun_anew_and_one_that_is_whole_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    calls: list[Path] = []

    def make(folder: Path) -> None:
        (folder / f"part{len(calls)}").touch()
        calls.append(folder)
        if len(calls) == 1:
            raise host.UnavailableError("no network")

    with pytest.raises(host.UnavailableError, match="no network"):
        cache.built("thing", "recipe", make)
    found = [cache.built("thing", "recipe", make) for _ in range(2)]
    assert (len(calls), found[0] == found[1]) == (2, True)
    assert [path.name for path in found[0].iterdir()] == ["part1"]
    assert cache.built("thing", "another recipe", make) != found[0]
