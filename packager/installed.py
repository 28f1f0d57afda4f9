"""What makes files of a format, an extra each: what of it is missing is named, with the command that installs it."""

from importlib.util import find_spec

from runner.errors import StepError
from runner.manifest import Format


def hold(form: Format, *packages: str) -> None:
    """Raise StepError where a package is missing that makes files of a format."""
    if absent := [name for name in packages if find_spec(name) is None]:
        what = f"{' and '.join(absent)} {'are' if absent[1:] else 'is'} not installed"
        raise StepError(what, advice=f"pip install 'edgepack[pack-{form}]'")
