"""Where a bundle comes from: the tool, its versions, the recipe and the data."""

import platform
import subprocess
from pathlib import Path

import runner
from packager.cache import versions
from packager.recipe import Recipe
from runner import codec
from runner.manifest import Provenance

GIT_TIMEOUT_S = 10


def provenance(recipe: Recipe, data_sha256: str) -> Provenance:
    """Return what the manifest says of a bundle's making. It holds no time and no path of this machine."""
    commit = _git("rev-parse", "HEAD")
    return Provenance(
        edgepack=runner.__version__,
        git_commit=commit,
        git_dirty=None if commit is None else bool(_git("status", "--porcelain", "--untracked-files=no")),
        python=platform.python_version(),
        platform=f"{platform.system()} {platform.machine()}",
        versions=versions(),
        seed=recipe.seed,
        data_sha256=data_sha256,
        recipe=codec.unstructure(recipe),
    )


def _git(*arguments: str) -> str | None:
    """Return what git says of the checkout that this tool runs from, or None where it runs from none."""
    folder = Path(runner.__file__).parent.parent
    if not (folder / ".git").exists():
        return None
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=GIT_TIMEOUT_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
