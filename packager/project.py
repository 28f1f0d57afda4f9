"""Import a file of the user's project as Python would if it were run there, though names of ours may be in its way.

The packages of edgepack are called models, packager, runner and targets; so may the user's be. While the user's file is
imported, ours are taken out of `sys.modules`, and names like these are looked up in the project first. Afterwards ours
are back, and what else the user's file imported stays for imports within its functions.
"""

import contextlib
import importlib
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

OURS = ("models", "packager", "runner", "targets")

# Names under which modules of a user's project stand in sys.modules. The next project may have others of that name.
_users: set[str] = set()
# The folders of that project at the end of sys.path. They would hide what the next one has as a folder without
# `__init__.py`.
_appended: list[str] = []


@dataclass(frozen=True, kw_only=True, slots=True)
class Imported:
    """A file of the user's, imported."""

    module: ModuleType
    sources: dict[str, str] = field(default_factory=dict)
    """The text of each file of the project that was read until `importing` was left, by module name."""


class _ProjectFinder:
    """Find names like ours in the user's project, even as folders without `__init__.py`, which else come last."""

    def __init__(self, folders: Sequence[str]) -> None:
        self.folders = folders

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if path is not None or name not in OURS:
            return None
        return PathFinder.find_spec(name, self.folders, target)


@contextlib.contextmanager
def importing(path: Path) -> Iterator[Imported]:
    """Import a Python file with its neighbours, as the body's own calls into it may do. Raises what its code raises."""
    path = path.resolve()
    root, name = _place(path)
    folders = list(dict.fromkeys(str(folder) for folder in (path.parent, root, Path.cwd())))
    with _in_the_place_of_ours(name.partition(".")[0], folders):
        before = set(sys.modules)
        imported = Imported(module=_execute(path, name))
        yield imported
        files = _files(set(sys.modules) - before, folders)
    # At the end, for what functions of the user's import later; ours and installed packages go first there.
    _appended.extend(folder for folder in folders if folder not in sys.path)
    sys.path.extend(_appended)
    imported.sources.update((key, file.read_text(encoding="utf-8", errors="replace")) for key, file in files.items())


def _place(path: Path) -> tuple[Path, str]:
    """Return the folder that the outermost package of the file lies in, and the file's module name from there."""
    root, name = path.parent, path.stem
    while (root / "__init__.py").is_file():
        root, name = root.parent, f"{root.name}.{name}"
    return root, name


def _execute(path: Path, name: str) -> ModuleType:
    if "." in name:
        return importlib.import_module(name)
    # By its place, for the file's name need not be one that an import statement can spell.
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@contextlib.contextmanager
def _in_the_place_of_ours(name: str, folders: Sequence[str]) -> Iterator[None]:
    """Let imports see the project first; then put back our modules, and any that `name` hides."""
    for user in _users:
        sys.modules.pop(user, None)
    _users.clear()
    sys.path[:] = [folder for folder in sys.path if folder not in _appended]
    _appended.clear()
    hidden = {*OURS, name} if name in sys.modules else set(OURS)
    aside = {key: module for key, module in sys.modules.items() if key.partition(".")[0] in hidden}
    before, path, finder = set(sys.modules), sys.path.copy(), _ProjectFinder(folders)
    for key in aside:
        del sys.modules[key]
    sys.path[:0] = folders
    sys.meta_path.insert(0, finder)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        sys.path[:] = path
        for key in [key for key in sys.modules if key.partition(".")[0] in hidden]:
            del sys.modules[key]
        sys.modules.update(aside)
        added = set(sys.modules) - before
        _users.update(_files(added, folders), _bare_folders(added, folders))


def _bare_folders(names: set[str], folders: Sequence[str]) -> set[str]:
    """Return those modules that are folders of the project without `__init__.py`, and so have no file."""
    return {
        name
        for name in names
        if getattr(sys.modules[name], "__file__", None) is None
        and any(
            Path(place).is_relative_to(folder)
            for place in getattr(sys.modules[name], "__path__", ())
            for folder in folders
        )
    }


def _files(names: set[str], folders: Sequence[str]) -> dict[str, Path]:
    """Return the files of those modules that lie in the project and are not installed there."""
    paths = {name: Path(getattr(sys.modules[name], "__file__", None) or "") for name in sorted(names)}
    return {
        name: path
        for name, path in paths.items()
        if path.suffix == ".py"
        and any(path.is_relative_to(folder) for folder in folders)
        and not {"site-packages", "dist-packages"} & set(path.parts)
    }
