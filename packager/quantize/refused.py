"""What a library raises over a network that it cannot quantize becomes an error that leads on."""

import contextlib
from collections.abc import Iterator

from runner.errors import StepError, first_line


@contextlib.contextmanager
def refused(what: str, advice: str) -> Iterator[None]:
    """Run the body; raise StepError as `what: type: first line` for whatever a library raises in it."""
    try:
        yield
    except StepError:
        raise
    except Exception as error:
        raise StepError(f"{what}: {first_line(error)}", advice=advice) from error
