"""What the tests of this folder have `pack` do, as a user would: in a process of its own, with real files."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from packager.remote.result import BoardResult
from runner import codec
from tests.device import cache, machines
from tests.device.machines import Board

COMMANDS = Path(sys.executable).parent
STORY_S = 1200


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """What a command said, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def results(self) -> dict[str, BoardResult]:
        """What `pack bench --json` found, by the boards' names."""
        found = [codec.structure(BoardResult, each) for each in json.loads(self.out)]
        return {each.name: each for each in found}


def command(name: str, *words: object) -> Told:
    """Run one of our commands. What it keeps for later goes where the boards' own downloads are, not to the user's."""
    argv = [str(COMMANDS / name), *map(str, words)]
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache.folder() / "host")}
    ended = subprocess.run(argv, capture_output=True, text=True, timeout=STORY_S, check=False, env=environment)
    return Told(code=ended.returncode, out=ended.stdout, err=ended.stderr)


def bench(bundle: Path, boards: Sequence[Board], folder: Path, *words: object) -> Told:
    """Have boards measure a bundle; their reports go into a folder."""
    on = [word for board in boards for word in ("--on", board.name)]
    config = folder / "ssh_config"
    machines.write_config(config, boards)
    return command("pack", "bench", bundle, *on, "--ssh-config", config, "-o", folder, *words)


def left_behind(board: Board) -> list[str]:
    """Return what is in a board's home beside its keys, and what runs there."""
    files = [str(path.relative_to(board.home)) for path in board.home.rglob("*") if ".ssh" not in path.parts]
    return [*files, *(" ".join(words) for words in board.running())]
