"""Why a board did not do its part, and whether it is worth trying again."""

import re

from packager.remote.messages import NoPython
from runner import install
from runner.errors import BundleError, EdgepackError, MeasurementError, RuntimeUnavailable


class Lost(MeasurementError):  # noqa: N818 - a state of a board
    """A board that was not reached, or is gone: another attempt may well find it."""


class Refusal(MeasurementError):  # noqa: N818 - an answer of a board
    """What another attempt would meet again."""


class Changed(BundleError):  # noqa: N818 - what happened to a bundle
    """What arrived is not what was sent: sent again, it may well be."""


class TooSlow(Refusal):
    """A program that was not done in time."""


class NoPythonError(RuntimeUnavailable):
    """A board that has no Python that suffices; `found` is what its shell said."""

    def __init__(self, found: NoPython, where: str) -> None:
        self.found = found
        seen = f"its Python is {found.found}" if found.found else "it has no Python"
        least = ".".join(map(str, install.LEAST_PYTHON))
        ways = [install.NEWER_PYTHON if found.found else "sudo apt install python3", "`python = ...` in an inventory"]
        if found.bits == "32":
            ways.append(f"for a runtime {install.LARGER_SYSTEM}")
        kind = f"{found.machine}, {found.bits} bits" if found.bits else found.machine
        super().__init__(f"{seen}, and Python {least} or newer is needed ({kind})", where=where, advice="; ".join(ways))


WORTH_ANOTHER = (Lost, Changed)
REFUSED: dict[str, tuple[type[EdgepackError], str]] = {
    "busy": (Lost, "wait until the other session has ended, or give each a name of its own in an inventory"),
    "changed": (Changed, "if it stays so, the memory or the disk of the board is failing"),
    "no-space": (Refusal, "free some space there: ~/.cache is where the bundle goes for the run"),
    "missing": (Refusal, ""),
    "outside": (Refusal, ""),
    "system": (Refusal, ""),
}
"""What the agent answers, by its code: the error, and what leads on."""
HOST_KEY = ("Host key verification failed", "REMOTE HOST IDENTIFICATION HAS CHANGED")
NOT_LET_IN = ("Permission denied", "Too many authentication failures", "no mutual signature")
NO_NAME = ("Could not resolve hostname", "Name or service not known")
HOST_AND_PORT = re.compile(r"(?P<host>[^:/]+):(?P<port>\d+)")
MISUSED = ("Bad configuration option", "terminating, ", "Bad owner or permissions", "percent_expand")


def refused(code: str, what: str, where: str) -> EdgepackError:
    """Return the error for what the agent on a board refused."""
    kind, advice = REFUSED.get(code, (Refusal, ""))
    return kind(f"the board says: {what}", where=where, advice=advice)


def of_ssh(said: str, words: str, where: str) -> EdgepackError:
    """Return the error for an ssh that ended before the agent answered, by what it said.

    `words` are those that ssh is given by hand for this board.
    """
    last = next((line.strip() for line in reversed(said.splitlines()) if line.strip()), "ssh ended without a word")
    if any(sign in said for sign in HOST_KEY):
        what = "its host key is not the one that is known here, or none is known: nothing was sent"
        advice = f"ssh {words} once by hand, which shows the key; after a new installation: ssh-keygen -R HOST before"
        return Refusal(what, where=where, advice=advice)
    if any(sign in said for sign in NOT_LET_IN):
        advice = f"a key that it accepts: ssh-copy-id {words}; passwords are never asked for here"
        return Refusal(f"did not let us in: {last}", where=where, advice=advice)
    if any(sign in said for sign in MISUSED):
        return Refusal(last, where=where, advice=f"see that `ssh {words}` works")
    if any(sign in said for sign in NO_NAME):
        return Lost(last, where=where, advice=_named(words))
    return Lost(f"not reached: {last}", where=where, advice=f"see that it is on, and that `ssh {words}` works")


def _named(words: str) -> str:
    """Return what leads on where ssh does not know a name."""
    with_port = HOST_AND_PORT.fullmatch(words.rsplit(maxsplit=1)[-1])
    if with_port:
        return f"a port is told as ssh://{with_port['host']}:{with_port['port']}, or as `port` in an inventory"
    return "its address, or its name in your ssh configuration or the inventory"
