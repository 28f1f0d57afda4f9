"""What makes files of a format, an extra each: what of it is missing is named, with the command that installs it."""

from importlib.util import find_spec

from runner.errors import StepError
from runner.manifest import Format


def hold(form: Format, *packages: str) -> None:
    """Raise StepError where a package is missing that makes files of a format."""
    if absent := [name for name in packages if find_spec(name) is None]:
        raise missing(form, *absent)


def missing(form: Format, *packages: str) -> StepError:
    """Return the error of packages that are missing."""
    what = f"{' and '.join(packages)} {'are' if packages[1:] else 'is'} not installed"
    return StepError(what, advice=f"pip install 'edgepack[pack-{form}]'")
