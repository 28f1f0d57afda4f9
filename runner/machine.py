"""What the command does that only looks at this machine: it needs no numpy, for that may be what is missing."""

from runner import device
from runner.output import Look, Output
from runner.render import device_page


def show_device(look: Look) -> Output:
    """Show what this machine is."""
    facts, state = device.facts(), device.state()
    return Output(text=look.show({"facts": facts, "state": state}, device_page(facts, state)))
