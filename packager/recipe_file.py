"""Recipes as TOML: those that come with edgepack, by their names, and files of the user's own."""

from collections.abc import Mapping
from pathlib import Path

from packager.recipe import Recipe
from runner import codec, toml_file
from runner.errors import UsageError, nearest
from runner.manifest import Json

CATALOGUE = Path(__file__).parent / "recipes"


def names() -> Mapping[str, str]:
    """Return each recipe that comes with edgepack, with its title."""
    return {path.stem: _read(path).title for path in sorted(CATALOGUE.glob("*.toml"))}


def load(name: str) -> Recipe:
    """Return the recipe of that name, or the one in a TOML file. Raises UsageError with every problem."""
    own = CATALOGUE / f"{name}.toml"
    if "/" not in name and own.is_file():
        return _read(own)
    if not name.endswith(".toml"):
        known = [path.stem for path in CATALOGUE.glob("*.toml")]
        hint = nearest(name, known) or "a .toml file, or a name that `pack recipes` lists"
        raise UsageError(f"there is no recipe {name!r}; {hint}", where="--recipe")
    return _read(Path(name))


def _read(path: Path) -> Recipe:
    return toml_file.read(Recipe, path, advice="see `pack --help` and the README's recipe")


def to_toml(recipe: Recipe) -> str:
    """Return the recipe as the TOML that `load` reads; what is not set is left out."""
    import tomli_w  # noqa: PLC0415 - the host's alone

    return tomli_w.dumps(_without_none(codec.unstructure(recipe)))


def _without_none(table: dict[str, Json]) -> dict[str, Json]:
    return {key: _known(value) for key, value in table.items() if value is not None}


def _known(value: Json) -> Json:
    if isinstance(value, dict):
        return _without_none(value)
    return [_known(each) for each in value] if isinstance(value, list) else value
