"""What the two sides of a comparison are called: host and device, or where they took turns the first and the second."""

from dataclasses import dataclass

from runner.compare.comparison import Place


@dataclass(frozen=True, kw_only=True, slots=True)
class Names:
    """What a person reads for `host` and for `device`."""

    host: str
    device: str
    preposition: str

    def of(self, place: Place) -> str:
        """Return the name of a side."""
        return self.host if place == "host" else self.device

    def at(self, place: Place) -> str:
        """Return where something is: `on the host`, `in the first`."""
        return f"{self.preposition} the {self.of(place)}"


APART = Names(host="host", device="device", preposition="on")
IN_TURN = Names(host="first", device="second", preposition="in")


def names(*, interleaved: bool) -> Names:
    """Return the names of two sides, measured apart or in turn."""
    return IN_TURN if interleaved else APART
